"""Walking through many records of one table, page by page, in an order that neither repeats nor skips a row.

Each page begins behind the last row of the one before (keyset), never at a number of rows: rows that change meanwhile
would shift all later ones. An answer that does not move on, or is out of order, is not used: ServiceNow drops the
clauses that it does not understand or allow.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal

from syncd.core.importing import Candidate, Candidates
from syncd.core.model import Cursor, Observation, Page
from syncd.errors import ExternalFailed
from syncd.systems.answers import Row, observation, plain, stamp_text

RECORDS_A_PAGE: Final = 200
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
        rows, is_last, _ = await self._first_shown(f"{query}^ORDERBY{column}^ORDERBYsys_id", ())
        page = Page(tuple(seen for seen, _ in rows), is_last)
        keys = keys_of(page.rows, column)
        # Out of order, the last row is no place to go on from: what lies before it would never be seen.
        if any(key <= after for key in keys) or keys != sorted(keys):
            raise widened(column)
        return page

    async def matching(self, query: str, extra: Sequence[str], after: str) -> Candidates:
        """The records that match an encoded query, by id, after this one; ``extra``: columns to be shown, too."""
        ours = f"sys_id>{after}^" if after else ""  # ours goes first: what follows can only narrow it
        rows, is_last, total = await self._first_shown(f"{ours}{query}^ORDERBYsys_id", extra)
        ids = [seen.external_id for seen, _ in rows]
        if any(name <= after for name in ids) or ids != sorted(set(ids)):
            raise widened("sys_id")
        return Candidates(tuple(Candidate(seen, _named(row, extra)) for seen, row in rows), is_last, total)

    async def _first_shown(self, query: str, extra: Sequence[str]) -> tuple[list[tuple[Observation, Row]], bool, int]:
        """The first page that shows anything: one whose rows are all hidden from us is not the end.

        Whether it is the last one, and how many rows match in all.
        """
        columns, offset = tuple(dict.fromkeys((*SYSTEM_COLUMNS, *self._columns, *extra))), 0
        while True:
            rows, total = await self._ask(query, columns, RECORDS_A_PAGE, offset)
            shown = [(seen, row) for row in rows if (seen := observation(row, self._columns)) is not None]
            offset += RECORDS_A_PAGE
            is_last = offset >= total and (total > 0 or not shown)
            if shown or is_last:
                return shown, is_last, total


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
