"""One ServiceNow instance over the Table API: reads by id, look-ups by correlation id, creates and updates.

What is asked, and what an answer shows; how a request gets there and back is the ``Line``'s part. Every call raises
``ExternalFailed`` or ends in a value.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import httpx
import trio

from syncd.core.encoded_query import parse
from syncd.core.groups import Group
from syncd.core.importing import Candidates
from syncd.core.mapping import READ_COLUMNS
from syncd.core.model import Cursor, Observation, Page, SeenNote
from syncd.core.people import Person
from syncd.errors import ExternalFailed
from syncd.seams import Clock
from syncd.systems.accounts import Terms
from syncd.systems.answers import Row, observation, plain, stamp_text, total_of
from syncd.systems.line import RECORD_BYTES_MAX, Line
from syncd.systems.notes import Notes
from syncd.systems.people import groups_of, look_up
from syncd.systems.signin import Credentials
from syncd.systems.walks import SYSTEM_COLUMNS, Walks, keys_of, widened

ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024
PAGE_BYTES_MAX: Final = 4 * 1024 * 1024
WRITTEN_SHOWN: Final = 50
OURS_A_PAGE: Final = 2500
TABLES: Final = "/api/now/v2/table"
TABLE: Final = f"{TABLES}/incident"
CHOICE_TABLE: Final = "/api/now/v2/table/sys_choice"
CODES_READ_MAX: Final = 200
CODES_KNOWN_S: Final = 60.0
_ACTIVE_CODE: Final = ("close_code", "false")
NO_RECORD: Final = "0" * 32
FAR_FUTURE: Final = "2999-01-01 00:00:00"
ORDER_ROWS: Final = 20
NAME_LETTERS_MAX: Final = 255


class ServiceNow(Line):
    """A client for one integration. ``columns``: what is read of a record, beside what the system needs itself."""

    def __init__(
        self,
        base_url: str,
        credentials: Credentials,
        transport: httpx.AsyncBaseTransport,
        clock: Clock,
        *,
        rate: float,
        concurrency: int,
        columns: Sequence[str] = READ_COLUMNS,
        terms: Terms | None = None,
    ) -> None:
        super().__init__(base_url, credentials, transport, clock, rate=rate, concurrency=concurrency, terms=terms)
        self._columns = tuple(columns)
        self._walks = Walks(self._counted, self._columns)
        self._notes = Notes(self._shown)
        self._codes: tuple[str, ...] = ()
        self._codes_known_until = -math.inf

    async def read(self, external_ids: Sequence[str]) -> list[Observation]:
        """The records that are shown of these (at most 200); a missing one is gone or hidden, which look the same."""
        wanted = frozenset(external_ids)
        query = f"sys_idIN{','.join(external_ids)}"
        shown = await self._list(query, len(external_ids), bytes_max=PAGE_BYTES_MAX)
        if any(seen.external_id not in wanted for seen in shown):
            raise widened("sys_id")
        return shown

    async def passing(self, external_ids: Sequence[str], import_query: str) -> frozenset[str]:
        """Which of these records an integration's import query lets in."""
        if not import_query or not external_ids:
            return frozenset(external_ids)
        wanted = frozenset(external_ids)
        among = f"sys_idIN{','.join(external_ids)}"
        groups = [f"{among}^{group}" for group in import_query.split("^NQ")]  # what is common stands in each group
        query = parse(import_query)
        columns = tuple(dict.fromkeys(("sys_id", "number", *query.columns)))
        parameters = _list_parameters("^NQ".join(groups), columns, len(external_ids))
        found = await self._exchange("GET", TABLE, parameters, None, ANSWER_BYTES_MAX)
        rows = [{name: plain(value) for name, value in row.items()} for row in found]
        if any(row.get("sys_id") not in wanted for row in rows):
            raise widened("sys_id")
        for row in rows:
            if fault := query.fault_of(row):
                raise ExternalFailed("refused", f"import_query lets nothing in: {fault}")
        return frozenset(row["sys_id"] for row in rows)

    async def with_correlation(self, correlation_id: str) -> list[Observation]:
        """The records that carry this correlation id, compared exactly on our side."""
        shown = await self._list(f"correlation_id={correlation_id}^ORDERBYsys_created_on", 10)
        return [seen for seen in shown if seen.correlation_id == correlation_id]

    async def written_since(self, prefix: str, account: str, since_s: float) -> list[Observation]:
        """Up to 50 records that were made since with a correlation id that begins so, or were last changed by us."""
        since = stamp_text(since_s)
        query = f"correlation_idSTARTSWITH{prefix}^sys_created_on>={since}"
        if account and "^" not in account:
            query += f"^NQsys_updated_by={account}^sys_updated_on>={since}"
        return await self._list(f"{query}^ORDERBYDESCsys_updated_on", WRITTEN_SHOWN)

    async def created_after(self, cursor: Cursor) -> Page:
        """One page of records created after ``cursor``, oldest first; one that shows nothing is the end."""
        return await self._walks.by_stamp("sys_created_on", cursor)

    async def matching(self, query: str, after: str) -> Candidates:
        """One page of the records that match an encoded query, by id, after this one."""
        return await self._walks.matching(query, parse(query).columns, after)

    async def changed_after(self, cursor: Cursor) -> Page:
        """One page of records changed after ``cursor``, the longest unchanged first."""
        return await self._walks.by_stamp("sys_updated_on", cursor)

    async def notes_since(self, since_s: float) -> list[SeenNote]:
        """The work notes of any record that were written since, on the instance's clock, oldest first.

        Their table is hidden from many accounts, which looks like no notes.
        """
        return await self._notes.of_any_since(since_s)

    async def ours(self, prefix: str, after: str) -> list[Observation]:
        """One page of records whose correlation id begins with ``prefix``, by id behind ``after``: ids and no values.

        An empty page is the last.
        """
        query = f"correlation_idSTARTSWITH{prefix}^sys_id>{after}^ORDERBYsys_id"
        parameters = _list_parameters(query, ("sys_id", "number", "correlation_id"), OURS_A_PAGE)
        rows = await self._exchange("GET", TABLE, parameters, None, ANSWER_BYTES_MAX)
        shown = [seen for row in rows if (seen := observation(row, ())) is not None]
        ids = [seen.external_id for seen in shown]
        if any(one <= after for one in ids) or ids != sorted(ids):
            raise widened("sys_id")
        if any(not seen.correlation_id.casefold().startswith(prefix.casefold()) for seen in shown):
            raise widened("correlation_id")
        return shown

    async def shows_any(self) -> bool:
        """Whether our account is shown any incident at all, of the newest."""
        return bool(await self._list("ORDERBYDESCsys_created_on", ORDER_ROWS, with_values=False))

    async def find_person(self, text: str) -> Person:
        """Whom an e-mail address or a user name belongs to."""
        return await look_up(self._rows, text)

    async def groups_of(self, sys_id: str) -> Sequence[Group] | None:
        """The groups that a person is in; None when that cannot be known."""
        return await groups_of(self._rows_counted, sys_id)

    async def create(self, columns: Mapping[str, str]) -> Observation:
        """Create a record; the echo shows what ServiceNow made of it."""
        return await self._write("POST", TABLE, columns)

    async def update(self, external_id: str, columns: Mapping[str, str]) -> Observation:
        """Change some columns of a record; the echo shows what ServiceNow made of it."""
        echo = await self._write("PATCH", f"{TABLE}/{external_id}", columns)
        if echo.external_id != external_id:
            raise ExternalFailed("ambiguous", f"the answer shows record {echo.external_id} instead of {external_id}")
        return echo

    async def close_codes(self) -> Sequence[str]:
        """The close codes that the instance has, as of a minute ago; none when our account may not read them."""
        if trio.current_time() >= self._codes_known_until:
            query = "nameINincident,task^element=close_code^inactive=false^ORDERBYvalue"
            parameters = _list_parameters(query, ("element", "value", "inactive"), CODES_READ_MAX)
            rows = await self._exchange("GET", CHOICE_TABLE, parameters, None, ANSWER_BYTES_MAX)
            found = (row for row in rows if (plain(row.get("element")), plain(row.get("inactive"))) == _ACTIVE_CODE)
            self._codes = tuple(dict.fromkeys(plain(row.get("value")) for row in found))  # once for each language
            self._codes_known_until = trio.current_time() + CODES_KNOWN_S
        return self._codes

    async def add_note(self, external_id: str, text: str) -> Observation:
        """Append a work note, and nothing else: fields may be sent again, a note may not."""
        return await self.update(external_id, {"work_notes": text})

    async def count_notes(self, external_id: str, text: str, author: str) -> int | None:
        """How many work notes of a record say exactly this, written by ``author``; None when they cannot be read."""
        return await self._notes.count(external_id, text, author)

    async def notes(self, external_ids: Sequence[str], since_s: float) -> list[SeenNote]:
        """The work notes of these records (at most 50) that were written since, on the instance's clock."""
        return await self._notes.since(external_ids, since_s)

    async def rows(
        self, table: str, query: str, columns: Sequence[str], limit: int, *, display: bool = False
    ) -> list[dict[str, str]]:
        """Rows of any table, as they are shown; whoever asks compares them with the query."""
        shown = await self._shown(table, query, columns, limit, display=display)
        return [{name: plain(value) for name, value in row.items()} for row in shown]

    async def _shown(
        self, table: str, query: str, columns: Sequence[str], limit: int, *, display: bool = False
    ) -> list[Row]:
        parameters = _list_parameters(query, columns, limit)
        if display:
            parameters["sysparm_display_value"] = "true"
        return await self._exchange("GET", f"{TABLES}/{table}", parameters, None, ANSWER_BYTES_MAX)

    async def instance_name(self) -> str:
        """What the instance calls itself; empty when our account may not see that."""
        try:
            rows = await self.rows("sys_properties", "name=instance_name", ("name", "value"), 2)
        except ExternalFailed as error:
            if error.status in (400, 403, 404):  # this table is closed to us, whatever holds for the others
                return ""
            raise
        names = [row.get("value", "") for row in rows if row.get("name") == "instance_name"]
        return names[0].strip()[:NAME_LETTERS_MAX] if len(names) == 1 == len(rows) else ""

    async def query_faults(self) -> list[str]:
        """Try what the search for new records rests on: ranges, and order. ``ExternalFailed`` when ids are ignored."""
        await self.probe()
        faults = [
            f"ServiceNow ignores the range in a query on {column}"
            for column in ("sys_created_on", "sys_updated_on")
            if await self._is_ignored(f"{column}>{FAR_FUTURE}", 1, lambda shown: not shown)
        ]
        order = "ORDERBYDESCsys_created_on^ORDERBYDESCsys_id"
        if await self._is_ignored(order, ORDER_ROWS, _is_newest_first):
            faults.append("ServiceNow ignores the order in a query by sys_created_on")
        return faults

    async def _is_ignored(self, query: str, limit: int, is_kept: Callable[[list[Observation]], bool]) -> bool:
        """Whether a clause is dropped, or refused for want of query rights."""
        try:
            return not is_kept(await self._list(query, limit, with_values=False))
        except ExternalFailed as error:
            if error.outcome == "refused":
                return True
            raise

    async def probe(self) -> None:
        """Ask for a record that cannot be there, which must give no rows."""
        if await self._list(f"sys_id={NO_RECORD}", 1):
            raise widened("sys_id")

    async def _rows(self, table: str, query: str, columns: Sequence[str], limit: int) -> list[Row]:
        return await self._exchange("GET", table, _list_parameters(query, columns, limit), None, RECORD_BYTES_MAX)

    async def _list(
        self, query: str, limit: int, bytes_max: int = ANSWER_BYTES_MAX, *, with_values: bool = True
    ) -> list[Observation]:
        """``with_values`` False: a record whose values cannot be read does not spoil it."""
        parameters = _list_parameters(query, (*SYSTEM_COLUMNS, *(self._columns if with_values else ())), limit)
        bytes_max = RECORD_BYTES_MAX if limit == 1 else bytes_max
        rows = await self._exchange("GET", TABLE, parameters, None, bytes_max)
        return [seen for row in rows if (seen := observation(row, self._columns)) is not None]

    async def _write(self, method: str, path: str, columns: Mapping[str, str]) -> Observation:
        parameters = {
            "sysparm_fields": ",".join((*SYSTEM_COLUMNS, *self._columns)),
            "sysparm_exclude_reference_link": "true",
        }
        rows = await self._exchange(method, path, parameters, dict(columns), RECORD_BYTES_MAX)
        echo = observation(rows[0], self._columns) if len(rows) == 1 else None
        if echo is None:
            raise ExternalFailed("ambiguous", "the answer does not show the record that was written")
        return echo

    async def _rows_counted(self, table: str, query: str, columns: Sequence[str], limit: int) -> tuple[list[Row], int]:
        parameters = _list_parameters(query, columns, limit)
        del parameters["sysparm_no_count"]
        rows, answer = await self._answered("GET", table, parameters, None, RECORD_BYTES_MAX)
        return rows, total_of(answer.headers)

    async def _counted(self, query: str, columns: Sequence[str], limit: int, offset: int) -> tuple[list[Row], int]:
        """Incidents from an offset on, and how many match in all, hidden ones included; 0: not told."""
        parameters = _list_parameters(query, columns, limit)
        del parameters["sysparm_no_count"]
        page = {**parameters, "sysparm_offset": str(offset)} if offset else parameters
        rows, answer = await self._answered("GET", TABLE, page, None, ANSWER_BYTES_MAX)
        return rows, total_of(answer.headers)


def _list_parameters(query: str, columns: Sequence[str], limit: int) -> dict[str, str]:
    return {
        "sysparm_query": query,
        "sysparm_fields": ",".join(columns),
        "sysparm_limit": str(limit),
        "sysparm_exclude_reference_link": "true",
        "sysparm_no_count": "true",
    }


def _is_newest_first(shown: list[Observation]) -> bool:
    keys = keys_of(shown, "sys_created_on")
    return keys == sorted(keys, reverse=True)
