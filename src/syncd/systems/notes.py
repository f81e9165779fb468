"""The work notes of records: read from the journal table, or, where that is hidden, from the records themselves.

Remembers which of the two holds, and since when. A note is told by its own id, or counted by its words (``core``'s
``SeenNote``); comments, which the caller sees, are never asked for.
"""

import math
from collections.abc import Sequence
from typing import Final, Protocol

import trio

from syncd.core.model import SeenNote
from syncd.systems.answers import (
    Row,
    is_same_note,
    notes_in_record,
    notes_shown,
    plain,
    seen_note,
    stamp_text,
)
from syncd.systems.walks import widened

JOURNAL_TABLE: Final = "sys_journal_field"
RECORD_TABLE: Final = "incident"
NOTES_READ_MAX: Final = 200  # a page; of those that are counted, the newest
NOTES_PAGES_MAX: Final = 200
JOURNAL_KNOWN_S: Final = 3600.0


class Rows(Protocol):
    """One page of a table: raw values, or as they are displayed."""

    async def __call__(
        self, table: str, query: str, columns: Sequence[str], limit: int, *, display: bool = False
    ) -> list[Row]:
        """Raises ``ExternalFailed``."""
        ...


class Notes:
    """The notes of one instance's records."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._is_journal_open = False
        self._journal_known_until = -math.inf
        self._witness = ""

    async def count(self, external_id: str, text: str, author: str) -> int | None:
        """How many work notes of a record say exactly this; None when our account may not read them.

        Counts the rows of the journal table that ``author`` wrote (empty: anybody). That table is hidden from many
        accounts, which looks like a record without notes; then the notes in the record itself are counted, which name
        nobody's account.
        """
        query = f"element_id={external_id}^element=work_notes^ORDERBYDESCsys_created_on^ORDERBYDESCsys_id"
        rows = await self._rows(
            JOURNAL_TABLE, query, ("element_id", "element", "value", "sys_created_by"), NOTES_READ_MAX
        )
        if any(plain(row.get("element_id")) != external_id for row in rows):
            raise widened("element_id")
        if rows:
            written = [row for row in rows if not author or plain(row.get("sys_created_by")) == author]
            return sum(is_same_note(plain(row.get("value")), text) for row in written)
        shown = await self._rows(RECORD_TABLE, f"sys_id={external_id}", ("sys_id", "work_notes"), 1, display=True)
        if len(shown) != 1 or plain(shown[0].get("sys_id")) != external_id or "work_notes" not in shown[0]:
            return None
        return sum(is_same_note(note, text) for note in notes_shown(plain(shown[0]["work_notes"])))

    async def since(self, external_ids: Sequence[str], since_s: float) -> list[SeenNote]:
        """The work notes of these records (at most 50) that were written since, on the instance's clock, oldest first.

        The journal table is hidden from many accounts, which looks like records without notes. So the records are asked
        first, until one has a note and shows whether the table has it as well. That it has is believed for an hour,
        and only while a row of it that was seen is shown with each answer.
        """
        shown: list[SeenNote] = []
        if trio.current_time() >= self._journal_known_until or not self._is_journal_open:
            shown = await self._notes_in_records(external_ids)
        if trio.current_time() >= self._journal_known_until:
            if not shown:
                return []
            rows, _ = await self._notes_in_table(external_ids, 0.0)
            self._is_journal_open, self._witness = bool(rows), rows[0].id if rows else ""
            self._journal_known_until = trio.current_time() + JOURNAL_KNOWN_S
            return rows or shown
        if not self._is_journal_open:
            return shown
        rows, is_open = await self._notes_in_table(external_ids, since_s, self._witness)
        if is_open:
            return rows
        self._journal_known_until = -math.inf  # hidden since, or that row has gone: found out anew
        return await self.since(external_ids, since_s)

    async def of_any_since(self, since_s: float) -> list[SeenNote]:
        """The work notes of any record that were written since, on the instance's clock, oldest first.

        Their table is hidden from many accounts, which looks like no notes.
        """
        rows, _ = await self._notes_in_table(None, since_s)
        return rows

    async def _notes_in_table(
        self, external_ids: Sequence[str] | None, since_s: float, witness: str = ""
    ) -> tuple[list[SeenNote], bool]:
        """The notes of these records, or of any, and whether the table also showed the row ``witness``."""
        found: list[SeenNote] = []
        whose = "nameINincident,task" if external_ids is None else f"element_idIN{','.join(external_ids)}"
        among, wanted = f"{whose}^element=work_notes", None if external_ids is None else frozenset(external_ids)
        after = (float(math.floor(max(0.0, since_s))), "")
        is_open = witness == ""
        for _ in range(NOTES_PAGES_MAX):
            page, is_full, is_there = await self._notes_after(among, wanted, after, witness)
            found += page
            is_open, witness = is_open or is_there, ""
            if not is_full or not page:
                break
            after = (page[-1].created_at_s or after[0], page[-1].id)
        return found, is_open

    async def _notes_after(
        self, among: str, wanted: frozenset[str] | None, after: tuple[float, str], witness: str
    ) -> tuple[list[SeenNote], bool, bool]:
        """A page of them, whether it is full, and whether it also has the row ``witness``, if that is asked for."""
        at = stamp_text(after[0])
        query = f"{among}^sys_created_on>={at}"
        if after[1]:
            query = f"{among}^sys_created_on>{at}^NQ{among}^sys_created_on={at}^sys_id>{after[1]}"
        if witness:
            query = f"{query}^NQsys_id={witness}"
        columns = ("sys_id", "element_id", "element", "value", "sys_created_by", "sys_created_on")
        rows = await self._rows(JOURNAL_TABLE, f"{query}^ORDERBYsys_created_on^ORDERBYsys_id", columns, NOTES_READ_MAX)
        seen = [seen_note(row) for row in rows]

        def is_wanted(note: SeenNote) -> bool:
            return wanted is None or note.external_id in wanted

        found = [note for note in seen if note.id != witness or (is_wanted(note) and _key(note) > after)]
        if not all(is_wanted(note) for note in found) or any(plain(row.get("element")) != "work_notes" for row in rows):
            raise widened("element_id")
        stamps = [_key(note) for note in found]
        if any(stamp <= after for stamp in stamps) or stamps != sorted(stamps):
            raise widened("sys_created_on")
        return found, len(rows) >= NOTES_READ_MAX, any(note.id == witness for note in seen)

    async def _notes_in_records(self, external_ids: Sequence[str]) -> list[SeenNote]:
        """All notes as the records themselves show them; who reads them sees names and the reader's own time."""
        query = f"sys_idIN{','.join(external_ids)}"
        rows = await self._rows(RECORD_TABLE, query, ("sys_id", "work_notes"), len(external_ids), display=True)
        shown = {plain(row.get("sys_id")): plain(row.get("work_notes")) for row in rows}
        if not shown.keys() <= frozenset(external_ids):
            raise widened("sys_id")
        return [note for external_id, text in shown.items() for note in notes_in_record(external_id, text)]


def _key(note: SeenNote) -> tuple[float, str]:
    return note.created_at_s or 0.0, note.id
