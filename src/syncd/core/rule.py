"""The business rule in ServiceNow that sends us webhooks: which script it runs, as far as its webhooks tell.

Our own script (``im integration webhook-script``) names its version in each of them. A rule of another make is welcome;
what it leaves out and why that matters is said in ``sync-status``, and never more: a webhook is a hint.
"""

from collections.abc import Collection
from typing import Final

from syncd.core.model import Integration, Rule, Settings

RULE_VERSION: Final = "3"


def mapped_columns(settings: Settings) -> tuple[str, ...]:
    """The columns of the record that people have mapped, in their order: the script sends them too."""
    return tuple(dict.fromkeys(one.external_field for one in settings.field_mapping))


def rule_seen(version: str, operation: str, keys: Collection[str], settings: Settings) -> Rule:
    """What one webhook says of the rule that sent it. ``keys``: those of its body that say something.

    Without an operation we hear of no deletion, and without a count of changes two webhooks cannot be told apart. A
    deletion says which record is gone and need not say more.
    """
    wanted = ("operation", "sys_mod_count", *(() if operation == "delete" else mapped_columns(settings)))
    return Rule(version, tuple(key for key in wanted if key not in keys))


def remarks(integration: Integration) -> list[str]:
    """What there is to do about the deployed rules; empty when they are as they should be, or none has called."""
    way_out = f"run: im integration webhook-script {integration.settings.handle}"
    wanted = {"operation", "sys_mod_count", *mapped_columns(integration.settings)}
    found = []
    for rule in integration.rules.values():
        lacks = [key for key in rule.lacks if key in wanted]
        if rule.version and rule.version != RULE_VERSION:
            found.append(
                f"the business rule in ServiceNow is version {rule.version}, the present one is {RULE_VERSION}: "
                f"{way_out}"
            )
        elif lacks:
            found.append(f"the business rule in ServiceNow does not send {' and '.join(lacks)}: {way_out}")
    return list(dict.fromkeys(found))
