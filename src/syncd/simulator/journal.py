"""Work notes and comments: entries that are only ever appended.

Owns the rows of ``sys_journal_field`` and their text form. Never touches the incident itself: that a note raises its
stamp and count is ``records.py``'s doing.
"""

from syncd.simulator.accounts import Accounts
from syncd.simulator.clock import local_text
from syncd.simulator.tables import Row, Store, Table

__all__ = ["Journal"]


class Journal:
    """The journal entries of all records, found by the record they belong to."""

    def __init__(self, store: Store, accounts: Accounts) -> None:
        self._store = store
        self._accounts = accounts
        self._by_record: dict[str, list[Row]] = {}

    def add(self, table: str, sys_id: str, element: str, text: str, *, author: str, stamp: str) -> Row:
        """Append one entry; the same text twice is two entries."""
        row = self._store.put(
            "sys_journal_field",
            name=table,
            element=element,
            element_id=sys_id,
            value=text,
            sys_created_on=stamp,
            sys_created_by=author,
            sys_updated_on=stamp,
            sys_updated_by=author,
        )
        self._by_record.setdefault(sys_id, []).append(row)
        return row

    def entries(self, sys_id: str, *elements: str) -> list[Row]:
        """The entries of a record, oldest first; of all elements when none is named."""
        rows = self._by_record.get(sys_id, [])
        return [row for row in rows if row["element"] in elements] if elements else list(rows)

    def find_entries(self) -> None:
        """Find all entries anew in ``sys_journal_field``, after its rows were replaced."""
        self._by_record = {}
        for row in self._store.tables["sys_journal_field"].rows.values():
            self._by_record.setdefault(row["element_id"], []).append(row)

    def remove_all(self, sys_id: str) -> None:
        """Delete the entries of a record that was deleted."""
        rows = self._store.tables["sys_journal_field"].rows
        for row in self._by_record.pop(sys_id, []):
            rows.pop(row["sys_id"], None)

    def text(self, table: Table, sys_id: str, element: str, zone: str) -> str:
        """What a display value shows: all entries, newest first, each under a header in the reader's zone."""
        elements = ("work_notes", "comments") if element == "comments_and_work_notes" else (element,)
        parts = []
        # Newest first; of one second the one that was written last. A late commit may be the older one.
        oldest_first = sorted(self.entries(sys_id, *elements), key=lambda one: one["sys_created_on"])
        for entry in oldest_first[::-1]:
            label = table.columns[entry["element"]].label
            author = self._accounts.actor(entry["sys_created_by"]).name
            parts.append(f"{local_text(entry['sys_created_on'], zone)} - {author} ({label})\n{entry['value']}\n\n")
        return "".join(parts)
