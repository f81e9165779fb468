"""Assignee and assignment group, which belong together: what to do where ServiceNow takes only members of the group.

The group is ServiceNow's, and the platform has none. It is written in one case alone: an assignee was refused in the
record's own group, and belongs to exactly one other, so that nothing has to be guessed (docs/sync.md, "People").
"""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from syncd.core.model import Attempt, Failure, Reroute

GROUP_COLUMN: Final = "assignment_group"
NAMES_SHOWN: Final = 10
NAME_LETTERS_MAX: Final = 60


class Group(Struct, frozen=True):
    """A group of ServiceNow's users."""

    sys_id: str
    name: str


def is_about_the_person(attempt: Attempt, failure: Failure) -> bool:
    """The refusal of this attempt may be for the sake of the group: it was to assign somebody, and nothing else.

    Never a matter of our own account's rights, nor where the person stands in another column.
    """
    is_assignment = tuple(attempt.sent) == ("assigned_to",) and bool(attempt.columns.get("assigned_to"))
    return is_assignment and attempt.kind == "update" and "ACL Exception" not in failure.detail


def is_cleared(attempt: Attempt, record: Mapping[str, str]) -> bool:
    """ServiceNow answered success, and the record shows nobody as assigned."""
    return bool(attempt.columns.get("assigned_to")) and record.get("assigned_to") == ""


def reroute(attempt: Attempt, record: Mapping[str, str], groups: Sequence[Group] | None) -> Reroute | None:
    """The one group that may go along with a refused assignee; None where there is none, or any doubt.

    ``groups``: all of the person's; None when they cannot be read.
    """
    if groups is None or len(groups) != 1 or GROUP_COLUMN in attempt.columns:
        return None
    shown = record.get(GROUP_COLUMN)
    if shown is None or shown == groups[0].sys_id:  # hidden from us, or he is in it: it was for another reason
        return None
    return Reroute(attempt.columns["assigned_to"], groups[0].sys_id, groups[0].name, shown)


def along(wanted: Reroute | None, person: str) -> dict[str, str]:
    """The columns that go along with this assignee."""
    return {GROUP_COLUMN: wanted.group} if wanted is not None and wanted.person == person else {}


def in_words(groups: Sequence[Group] | None, record: Mapping[str, str], who: str) -> str:
    """What the groups say about a refused assignee; empty when they say nothing."""
    group = record.get(GROUP_COLUMN)
    if groups is None or group is None or any(one.sys_id == group for one in groups):
        return ""
    names = ", ".join(repr(one.name[:NAME_LETTERS_MAX]) for one in groups[:NAMES_SHOWN]) or "no group at all"
    more = " and others" if len(groups) > NAMES_SHOWN else ""
    stands = f"{who!r} is not in the record's assignment group" if group else "the record has no assignment group"
    return f"{stands}; {who!r} is in {names}{more}"
