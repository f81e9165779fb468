"""Who owns a field under an integration: the rules that people set, and the defaults that stand where none is set.

It owns the reading, setting and restoring of rules. What a rule decides is ``merge.py``'s; a changed rule has no say
over what was settled before it.
"""

from collections.abc import Callable
from typing import Final, TypeVar

from msgspec import Struct

from syncd.core import finding, mapping
from syncd.core.events import Change, OwnershipChanged
from syncd.core.fields import Fields, given, shown
from syncd.core.lens import lens_of
from syncd.core.model import Integration, OwnershipRule, Side
from syncd.core.state import State
from syncd.errors import Unknown

T = TypeVar("T")
Decide = Callable[[State, float], Change[T]]

FIELDS: Final = tuple(mapping.DEFAULT_OWNER)
PRIORITY_MAX: Final = 1000
SIDES: Final[tuple[Side, ...]] = ("platform", "external")


class OwnershipView(Struct, frozen=True):
    """A field's rule. `default`: nobody set one. `effect`: why it changes nothing; null where it does."""

    field: str
    owner: Side
    priority: int
    exclusive: bool
    default: bool
    effect: str | None


def rule_of(integration: Integration, field: str) -> OwnershipRule:
    """The rule that holds for a field."""
    return integration.ownership.get(field) or OwnershipRule(mapping.DEFAULT_OWNER[field])


def read(body: Fields) -> OwnershipRule:
    """A rule from a request's object; ``Invalid`` with every fault."""
    owner = body.choice("owner", SIDES, required=True)
    priority = body.count("priority", least=0, most=PRIORITY_MAX)
    exclusive = body.flag("exclusive")
    body.done("the rule")
    return OwnershipRule(given(owner, "platform"), given(priority, 1), given(exclusive, False))


def change(word: str, field: str, rule: OwnershipRule | None) -> Decide[OwnershipView]:
    """Replace a field's rule, or with None restore the default; ``Unknown`` for a field that has none."""

    def decide(state: State, _at_s: float) -> Change[OwnershipView]:
        within = finding.integration(state, word)
        if field not in FIELDS:
            raise Unknown(
                f"there is no field {shown(field)} that is owned",
                hint=f"give one of {', '.join(FIELDS)}",
            )
        is_same = within.ownership.get(field) == rule
        events = () if is_same else (OwnershipChanged(within.id, field, rule),)
        after = rule or OwnershipRule(mapping.DEFAULT_OWNER[field])
        return Change(within.settings.organization_id, events, _view(within, field, after, is_default=rule is None))

    return decide


def views(integration: Integration) -> list[OwnershipView]:
    """The rules of all fields, in the order of docs/sync.md."""
    return [
        _view(integration, field, rule_of(integration, field), is_default=field not in integration.ownership)
        for field in FIELDS
    ]


def _view(integration: Integration, field: str, rule: OwnershipRule, *, is_default: bool) -> OwnershipView:
    effect = None
    if field == "work_notes":
        effect = "none: work notes are added on both sides, and never replaced"
    elif field not in lens_of(integration.settings).fields:
        effect = "none: the field is not synced until it is mapped to a column"
    return OwnershipView(field, rule.owner, rule.priority, rule.exclusive, is_default, effect)
