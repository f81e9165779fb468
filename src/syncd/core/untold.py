"""Values that the other side never had: whatever takes their place, they are kept in a conflict record.

A value stays where it was made when the direction keeps it there, when ServiceNow does not keep what was written, and
when a closed record does not take it. Both halves are settled then, so nothing else would remember it. A side that
replaces its own such value loses nothing.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import UnsetType
from msgspec.structs import replace

from syncd.core.events import FieldDecided
from syncd.core.looks import READ_AGAIN
from syncd.core.merge import HELD
from syncd.core.model import FieldBase, Link, Side, Span

_STAYS: Final[dict[str, Side]] = {"not-inbound": "external", "not-outbound": "platform"}
_SETTLES_NOTHING: Final = HELD | {"unchanged", "unreadable", "same-meaning", READ_AGAIN}


def after(before: FieldBase, decided: FieldDecided) -> tuple[Side, ...]:
    """The sides whose values the other one has never had, after a decision."""
    if decided.reason in _SETTLES_NOTHING:
        return before.untold
    side = _STAYS.get(decided.reason)
    if side is not None:
        return tuple(dict.fromkeys((*before.untold, side)))
    here = decided.halves.platform
    if decided.reason == "one-empty" and isinstance(decided.value, UnsetType) and isinstance(here, str):
        return ("platform",) if here else ("external",)  # the side that has something may not spread
    return ()


def kept_here(link: Link, fields: Iterable[str]) -> Link:
    """The link with the platform's values of these fields known to be nowhere else."""
    base = dict(link.base)
    for field in fields:
        if field in base:
            base[field] = replace(base[field], untold=("platform",))
    return replace(link, base=base)


def is_lost_with(winner: Side | None, base: FieldBase, platform: Span) -> bool:
    """If this side's value stands, the other's goes, and nobody but a record would have it.

    ``platform``: when the platform was last edited. Who has edited a value away and back since it stayed, or since the
    other one did, means it.
    """
    if winner is None or not base.untold or base.platform == base.external:
        return False
    edited = platform if winner == "external" else base.edited
    is_meant = edited is not None and edited.hi_s > base.ruled_at_s
    return is_meant or any(side != winner for side in base.untold)
