"""Looks a person up in one ServiceNow instance, by e-mail address or user name; ``core.people`` judges the rows.

And the groups that a person is in, for whoever was refused as an assignee.

A look-up that ServiceNow refuses finds nobody: it says nothing about the instance. Remembers nothing.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from syncd.core.groups import Group
from syncd.core.people import Candidate, Person, chosen, columns_to_ask, fault_of_name, nobody
from syncd.errors import ExternalFailed
from syncd.systems.answers import Row, plain

USER_TABLE: Final = "/api/now/v2/table/sys_user"
USER_COLUMNS: Final = ("sys_id", "email", "user_name", "active")
MEMBER_TABLE: Final = "/api/now/v2/table/sys_user_grmember"
MEMBER_COLUMNS: Final = ("user", "group", "group.name", "group.active")
GROUPS_READ_MAX: Final = 50
REFUSED: Final = frozenset({400, 403, 404})

Ask = Callable[[str, str, Sequence[str], int], Awaitable[list[Row]]]
AskCounted = Callable[[str, str, Sequence[str], int], Awaitable[tuple[list[Row], int]]]
"""The same, with how many rows match in all, those hidden from us included; 0: not told."""


async def look_up(ask: Ask, text: str) -> Person:
    """Whom this text names. ``ask(table, query, columns, limit)`` makes one request, or raises ``ExternalFailed``."""
    fault = fault_of_name(text)
    if fault is not None:
        return Person(problem=fault)
    for column in columns_to_ask(text):
        try:
            rows = await ask(USER_TABLE, f"{column}={text}^active=true", USER_COLUMNS, 2)
        except ExternalFailed as error:
            if error.status not in REFUSED:
                raise
            return Person(problem=f"our account may not look people up: {error.message} {error.detail}".rstrip())
        # ServiceNow drops clauses that it does not understand or allow; whoever then comes along is not exact.
        person = chosen(text, column, [_candidate(row, column) for row in rows])
        if person is not None:
            return person
    return nobody(text)


def _candidate(row: Row, column: str) -> Candidate:
    return Candidate(plain(row.get("sys_id")), plain(row.get(column)), plain(row.get("active")) == "true")


async def groups_of(ask: AskCounted, sys_id: str) -> tuple[Group, ...] | None:
    """The active groups that a person is in, by name; None when they are not known to be all.

    Rows that are hidden from our account are missing without a trace but for the count: one group that is shown may be
    one of many.
    """
    try:
        rows, total = await ask(MEMBER_TABLE, f"user={sys_id}", MEMBER_COLUMNS, GROUPS_READ_MAX)
    except ExternalFailed as error:
        if error.status not in REFUSED:
            raise
        return None
    if not rows or len(rows) != total or any(plain(row.get("user")) != sys_id for row in rows):
        return None
    active = [row for row in rows if plain(row.get("group")) and plain(row.get("group.active")) != "false"]
    found = {plain(row.get("group")): plain(row.get("group.name")) for row in active}
    return tuple(Group(group, name or group) for group, name in sorted(found.items(), key=lambda one: one[1]))
