"""The business rule in ServiceNow that sends us webhooks: which script it runs, as far as its webhooks tell.

Our own script (``im integration webhook-script``) names its version in each of them. A rule of another make is welcome;
what it leaves out and why that matters is said in ``sync-status``, and never more: a webhook is a hint.
"""

from typing import Final

from syncd.core.model import Integration, Rule

RULE_VERSION: Final = "2"


def rule_seen(version: str, operation: str, sys_mod_count: int | None) -> Rule:
    """What one webhook says of the rule that sent it.

    Without an operation we hear of no deletion, and without a count of changes two webhooks cannot be told apart.
    """
    lacks = {"operation": not operation, "sys_mod_count": sys_mod_count is None}
    return Rule(version, tuple(key for key, is_lacking in lacks.items() if is_lacking))


def remarks(integration: Integration) -> list[str]:
    """What there is to do about the deployed rules; empty when they are as they should be, or none has called."""
    way_out = f"run: im integration webhook-script {integration.settings.handle}"
    found = []
    for rule in integration.rules.values():
        if rule.version and rule.version != RULE_VERSION:
            found.append(
                f"the business rule in ServiceNow is version {rule.version}, the present one is {RULE_VERSION}: "
                f"{way_out}"
            )
        elif rule.lacks:
            found.append(f"the business rule in ServiceNow does not send {' and '.join(rule.lacks)}: {way_out}")
    return list(dict.fromkeys(found))
