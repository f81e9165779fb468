"""Where each field stands in a record, and what it shows there, by this test's own reading of docs/sync.md.

Told by the journal which mappings there are. Of a mapped severity an empty column says nothing.
"""

from collections.abc import Mapping
from typing import Final

from syncd.core.model import Settings
from syncd.simulator.tables import Row

STATUS_SHOWN: Final = {
    "1": "open",
    "2": "open",
    "3": "mitigated",
    "4": "mitigated",
    "5": "mitigated",
    "6": "resolved",
    "7": "closed",
    "8": "canceled",
}
SEVERITY_SHOWN: Final = {"1": "SEV-1", "2": "SEV-2", "3": "SEV-3", "4": "SEV-4", "5": "SEV-4"}
COLUMN: Final = {
    "title": "short_description",
    "description": "description",
    "severity": "priority",
    "status": "state",
    "assigned_to": "assigned_to",
}
OWN_COLUMNS: Final = ("u_details", "u_sev")
SPREADS: Final = {"inbound": frozenset({"in"}), "outbound": frozenset({"out"})}
BOTH_WAYS: Final = frozenset({"in", "out"})


class Places:
    """``columns``: where each field stands now; ``ways``: in which directions the mapping lets its edits spread."""

    def __init__(self) -> None:
        self.columns: dict[str, str] = dict(COLUMN)
        self.ways: dict[str, frozenset[str]] = {}
        self.texts: dict[str, Mapping[str, str]] = {}

    def forget(self) -> None:
        """Back to where the fields stand by default."""
        self.columns, self.ways, self.texts = dict(COLUMN), {}, {}

    def turned(self, settings: Settings) -> set[str]:
        """Hear of other settings; the fields that stand in another column from now on."""
        mapped = {one.field: one for one in settings.field_mapping}
        columns = {**COLUMN, **{field: one.external_field for field, one in mapped.items() if field in COLUMN}}
        moved = {field for field in COLUMN if columns[field] != self.columns[field]}
        self.columns = columns
        self.ways = {field: SPREADS.get(one.direction, BOTH_WAYS) for field, one in mapped.items()}
        self.texts = {
            field: {text: value for value, texts in one.values for text in texts}
            for field, one in mapped.items()
            if one.values
        }
        return moved

    def may_spread(self, field: str, way: str) -> bool:
        """The field's own direction lets its edits go this way."""
        return way in self.ways.get(field, BOTH_WAYS)

    def shown(self, row: Row, field: str) -> str:
        """A record's field in platform terms."""
        return self.meant(field, row.get(self.columns[field], ""))

    def meant(self, field: str, raw: str) -> str:
        """A raw value in platform terms."""
        if field in self.texts:
            return self.texts[field].get(raw, raw)
        return default_meaning(field, raw)

    def says_nothing(self, field: str, row: Row) -> bool:
        """An empty column of a mapped severity takes the platform's value sooner or later, and is no difference."""
        return field in self.texts and not row.get(self.columns[field], "")


def default_meaning(field: str, raw: str) -> str:
    """A raw value in the column where the field stands by default."""
    if field == "severity":
        return SEVERITY_SHOWN.get(raw, raw)
    return STATUS_SHOWN.get(raw, raw) if field == "status" else raw.strip()


def shown(row: Row, field: str) -> str:
    """A record's field in platform terms, where it stands by default."""
    return default_meaning(field, row[COLUMN[field]])
