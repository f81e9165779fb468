"""Tables, columns and rows: what the instance stores.

Owns the rows and their sys_ids. A row is a dict of raw strings, as the database holds them: empty is ``""``, there is
no null. Never decides what a write means: rules, policies and stamps are in ``records.py`` and ``rules.py``.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import md5
from random import Random
from typing import Literal

__all__ = ["Column", "ColumnType", "Row", "Store", "Table", "fixed_sys_id", "is_sys_id"]

Row = dict[str, str]

ColumnType = Literal["string", "integer", "boolean", "reference", "glide_date_time", "journal_input", "journal_list"]


@dataclass(frozen=True)
class Column:
    """One column. ``length_max``: longer text is cut to it. ``owner``: the table that defines it (task or incident)."""

    name: str
    label: str
    type: ColumnType = "string"
    length_max: int = 40
    reference: str = ""
    default: str = ""
    has_choices: bool = False
    owner: str = ""

    @property
    def is_journal(self) -> bool:
        """True for work notes and comments: appended to, never stored in the row."""
        return self.type in {"journal_input", "journal_list"}


class Table:
    """One table: its columns by name and its rows by sys_id, in the order in which they were inserted."""

    def __init__(self, name: str, display: str, columns: Iterable[Column]) -> None:
        self.name = name
        self.display = display
        self.columns = {column.name: column for column in columns}
        self.rows: dict[str, Row] = {}
        self.schema_version = 0

    def add_column(self, column: Column) -> None:
        """Add a column (a customer's ``u_…`` field, or a new limit for an old one); rows get its default."""
        self.columns[column.name] = column
        self.schema_version += 1
        for row in self.rows.values():
            row.setdefault(column.name, column.default)

    def blank_row(self) -> Row:
        """A row with every column at its default."""
        return {column.name: column.default for column in self.columns.values()}


class Store:
    """All tables of one instance."""

    def __init__(self, tables: Iterable[Table], random: Random) -> None:
        self.tables = {table.name: table for table in tables}
        self._random = random

    def table(self, name: str) -> Table | None:
        """The table, or None when there is none of that name."""
        return self.tables.get(name)

    def new_sys_id(self) -> str:
        """A fresh sys_id: 32 lower-case hex characters."""
        return f"{self._random.getrandbits(128):032x}"

    def put(self, table: str, **values: str) -> Row:
        """Insert a row as it is, without rules or stamps; a fixture's way in."""
        target = self.tables[table]
        row = {**target.blank_row(), **values}
        row["sys_id"] = row["sys_id"] or self.new_sys_id()
        target.rows[row["sys_id"]] = row
        return row

    def display_value(self, table: str, sys_id: str) -> str:
        """The display value of a referenced row, ``""`` when it does not exist (a dangling reference)."""
        target = self.tables.get(table)
        row = target.rows.get(sys_id) if target is not None else None
        return row.get(target.display, "") if row is not None and target is not None else ""

    def find(self, table: str, column: str, value: str) -> Iterator[Row]:
        """Rows whose column equals the value without regard to case, as the database compares."""
        wanted = value.casefold()
        return (row for row in self.tables[table].rows.values() if row[column].casefold() == wanted)


def fixed_sys_id(*words: str) -> str:
    """A sys_id that is the same in every instance: the fixtures' way to refer to one another."""
    return md5(".".join(words).encode(), usedforsecurity=False).hexdigest()


def is_sys_id(text: str) -> bool:
    """True for 32 lower-case hex characters."""
    return len(text) == 32 and not text.strip("0123456789abcdef")
