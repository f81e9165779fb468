"""Walking through many records of one table, page by page, in an order that neither repeats nor skips a row.

Each page begins behind the last row of the one before (keyset), never at a number of rows: rows that change meanwhile
would shift all later ones. An answer that does not move on, or is out of order, is not used: ServiceNow drops the
clauses that it does not understand or allow.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal

from msgspec import Struct

from syncd.core.importing import Candidate, Candidates
from syncd.core.model import Cursor, Observation, Page
from syncd.errors import ExternalFailed, ExternalUnreadable
from syncd.systems.answers import Row, observation, plain, stamp_text

RECORDS_A_PAGE: Final = 200
TRIES_ALONE: Final = 3  # answers break by accident, too
SYSTEM_COLUMNS: Final = (
    "sys_id",
    "number",
    "sys_mod_count",
    "sys_updated_on",
    "sys_updated_by",
    "sys_created_on",
    "sys_created_by",
    "correlation_id",
)
Ask = Callable[[str, Sequence[str], int, int], Awaitable[tuple[list[Row], int]]]
"""Query, columns, limit and offset to rows, and how many match in all, those hidden from us included; 0: not told."""
Stamp = Literal["sys_created_on", "sys_updated_on"]


class Walks:
    """The walks through the records of one instance. ``columns``: what is read of each beside what the system needs."""

    def __init__(self, ask: Ask, columns: tuple[str, ...]) -> None:
        self._ask = ask
        self._columns = columns

    async def by_stamp(self, column: Stamp, cursor: Cursor) -> Page:
        """The records stamped after ``cursor``, oldest first."""
        after = (float(math.floor(cursor.at_s)), cursor.external_id)  # stamps are whole seconds
        at = stamp_text(after[0])
        query = f"{column}>={at}"
        if cursor.external_id:
            query = f"{column}>{at}^NQ{column}={at}^sys_id>{cursor.external_id}"
        shown = await self._first_shown(f"{query}^ORDERBY{column}^ORDERBYsys_id", ())
        page = Page(tuple(seen for seen, _ in shown.rows), shown.is_last, shown.unreadable)
        keys = keys_of([page.unreadable] if page.unreadable is not None else page.rows, column)
        # Out of order, the last row is no place to go on from: what lies before it would never be seen.
        if any(key <= after for key in keys) or keys != sorted(keys):
            raise widened(column)
        return page

    async def matching(self, query: str, extra: Sequence[str], after: str) -> Candidates:
        """The records that match an encoded query, by id, after this one; ``extra``: columns to be shown, too."""
        ours = f"sys_id>{after}^" if after else ""  # ours goes first: what follows can only narrow it
        shown = await self._first_shown(f"{ours}{query}^ORDERBYsys_id", extra)
        seen_ids = [shown.unreadable.external_id] if shown.unreadable is not None else []
        ids = [seen.external_id for seen, _ in shown.rows] or seen_ids
        if any(name <= after for name in ids) or ids != sorted(set(ids)):
            raise widened("sys_id")
        rows = tuple(Candidate(seen, _named(row, extra)) for seen, row in shown.rows)
        return Candidates(rows, shown.is_last, shown.total, shown.unreadable)

    async def _first_shown(self, query: str, extra: Sequence[str]) -> "_Shown":
        """The first page that shows anything: one whose rows are all hidden from us is not the end.

        A page that cannot be read is asked for in smaller parts, down to the record that cannot.
        """
        columns, limit, offset = tuple(dict.fromkeys((*SYSTEM_COLUMNS, *self._columns, *extra))), RECORDS_A_PAGE, 0
        alone = 0
        while True:
            try:
                rows, total = await self._ask(query, columns, limit, offset)
            except ExternalUnreadable:
                alone += limit == 1
                if alone == TRIES_ALONE:
                    if (left := await self._unreadable(query, offset)) is not None:
                        return left
                    offset, limit, alone = offset + 1, RECORDS_A_PAGE, 0  # hidden by now, or gone: no end either
                    continue
                limit = max(1, limit // 8)
                continue
            shown = [(seen, row) for row in rows if (seen := observation(row, self._columns)) is not None]
            offset += limit
            is_last = offset >= total and (total > 0 or not shown)
            if shown or is_last:
                return _Shown(shown, is_last, total)

    async def _unreadable(self, query: str, offset: int) -> "_Shown | None":
        """Which record it is that cannot be read, so that a walk can go on behind it; None when it is not shown."""
        rows, total = await self._ask(query, SYSTEM_COLUMNS, 1, offset)
        seen = observation(rows[0], ()) if rows else None
        return None if seen is None else _Shown([], is_last=False, total=total, unreadable=seen)


class _Shown(Struct, frozen=True):
    """What the first page with anything in it shows. ``total``: how many rows match in all."""

    rows: list[tuple[Observation, Row]]
    is_last: bool
    total: int
    unreadable: Observation | None = None


def _named(row: Row, columns: Sequence[str]) -> dict[str, str]:
    return {name: plain(row[name]) for name in columns if name in row}


def keys_of(shown: Sequence[Observation], column: Stamp) -> list[tuple[float, str]]:
    """Where each record stands in the order by this stamp."""
    if column == "sys_created_on":
        return [(seen.created_at_s or 0.0, seen.external_id) for seen in shown]
    return [(seen.updated_at_s or 0.0, seen.external_id) for seen in shown]


def widened(column: str) -> ExternalFailed:
    """ServiceNow drops clauses it does not understand or allow, and answers with more rows than were asked for."""
    return ExternalFailed(
        "unavailable",
        f"the answer holds records that the query on {column} does not match, so it is not used",
        detail="the account may lack query rights on that column",
    )
