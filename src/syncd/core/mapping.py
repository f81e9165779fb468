"""The lens between a ServiceNow incident and the platform's fields (docs/sync.md, "Field mapping").

``get`` reads a platform value out of a record, ``put`` says which columns to write so that ``get`` gives that value.
The lens is sticky: a record that already means the wanted value is left alone, so In Progress survives while the
platform says ``open``, and an impact/urgency pair that already gives the priority is kept. Both laws, GetPut and
PutGet, are tested over the whole product of values. Never raises on what ServiceNow sends: what it cannot read is
``UNSET``.
"""

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from syncd.core.model import SYNCED_FIELDS, TITLE_LETTERS_MAX, Half, Side

Columns = Mapping[str, str]

# One row per ServiceNow state: what it means here. 4 and 5 are the states of models older than Helsinki; they read as
# On Hold and are never written (docs/servicenow.md, "States").
STATUS_OF_STATE: Final = {
    "1": "open",
    "2": "open",
    "3": "mitigated",
    "4": "mitigated",
    "5": "mitigated",
    "6": "resolved",
    "7": "closed",
    "8": "canceled",
}
# The state that is written when a record does not already mean the status.
STATE_OF_STATUS: Final = {"open": "2", "mitigated": "3", "resolved": "6", "closed": "7", "canceled": "8"}
NEW_STATE: Final = "1"

SEVERITY_OF_PRIORITY: Final = {"1": "SEV-1", "2": "SEV-2", "3": "SEV-3", "4": "SEV-4", "5": "SEV-4"}
# Priority is derived by ServiceNow; impact and urgency are what can be written (docs/servicenow.md, "Priority").
PRIORITY_OF_PAIR: Final = {
    ("1", "1"): "1",
    ("1", "2"): "2",
    ("1", "3"): "3",
    ("2", "1"): "2",
    ("2", "2"): "3",
    ("2", "3"): "4",
    ("3", "1"): "3",
    ("3", "2"): "4",
    ("3", "3"): "5",
}
PAIR_OF_SEVERITY: Final = {"SEV-1": ("1", "1"), "SEV-2": ("1", "2"), "SEV-3": ("2", "2"), "SEV-4": ("2", "3")}

# Fields that move together are held, sent, refused and retried together. State travels with its close data.
GROUP_COLUMNS: Final = {
    "title": ("short_description",),
    "description": ("description",),
    "severity": ("impact", "urgency"),
    "status": ("state", "close_code", "close_notes", "hold_reason"),
}
TEXT_FIELDS: Final = frozenset({"title", "description"})
READ_COLUMNS: Final = (
    "short_description",
    "description",
    "state",
    "impact",
    "urgency",
    "priority",
    "close_code",
    "close_notes",
    "hold_reason",
)
DEFAULT_OWNER: Final[Mapping[str, Side]] = {
    "title": "platform",
    "description": "platform",
    "severity": "platform",
    "status": "platform",
    "assigned_to": "external",
    "work_notes": "external",
}


def canonical_text(text: str) -> str:
    r"""Line ends as ``\n``, no white space at the end: the form in which text is compared."""
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip()


def canonical_title(text: str) -> str:
    """One line, at most 500 letters, no white space at its ends."""
    return " ".join(canonical_text(text).split("\n")).strip()[:TITLE_LETTERS_MAX].rstrip()


def _title(raw: str) -> Half:
    return canonical_title(raw) or UNSET  # an incident must have a title: an empty one says nothing


class FieldLens(Struct, frozen=True):
    """One synced field: the column that shows it, what that means, and what must be written to make it so.

    ``put`` gets the wanted value and the record as it is, and is only asked when ``get`` gives another value.
    """

    shown_in: str
    get: Callable[[str], Half]
    put: Callable[[str, Columns], dict[str, str]]


def _put_severity(severity: str, record: Columns) -> dict[str, str]:
    stored = (record.get("impact", ""), record.get("urgency", ""))
    wanted = PAIR_OF_SEVERITY[severity]
    if SEVERITY_OF_PRIORITY.get(PRIORITY_OF_PAIR.get(stored, "")) == severity:
        wanted = (
            stored  # ServiceNow derived another priority from this pair: send it again, and adopt what it makes of it
        )
    return {"impact": wanted[0], "urgency": wanted[1]}


def _put_status(status: str, record: Columns) -> dict[str, str]:
    columns = {"state": STATE_OF_STATUS[status]}
    if record.get("hold_reason") and status != "mitigated":
        columns["hold_reason"] = ""
    return columns


LENSES: Final[Mapping[str, FieldLens]] = {
    "title": FieldLens("short_description", _title, lambda value, _: {"short_description": value}),
    "description": FieldLens("description", canonical_text, lambda value, _: {"description": value}),
    "severity": FieldLens("priority", lambda raw: SEVERITY_OF_PRIORITY.get(raw, UNSET), _put_severity),
    "status": FieldLens("state", lambda raw: STATUS_OF_STATE.get(raw, UNSET), _put_status),
}


def raw_of(field: str, record: Columns) -> Half:
    """The raw external half of a field: the text of the column that shows it, UNSET when the record lacks it."""
    return record.get(LENSES[field].shown_in, UNSET)


def meaning(field: str, raw: Half) -> Half:
    """A raw external value in platform terms; UNSET when it is absent or has no mapping."""
    return UNSET if isinstance(raw, UnsetType) else LENSES[field].get(raw)


def raw_as_written(field: str, value: str) -> str:
    """The raw value that a record shows right after ``value`` was written to it, with nothing cut or rewritten."""
    if field == "severity":
        return PRIORITY_OF_PAIR[PAIR_OF_SEVERITY[value]]
    if field == "status":
        return NEW_STATE if value == "open" else STATE_OF_STATUS[value]
    return value


def get(record: Columns) -> dict[str, Half]:
    """Every synced field of a record, in platform terms."""
    return {field: meaning(field, raw_of(field, record)) for field in SYNCED_FIELDS}


def put(wanted: Mapping[str, str], record: Columns) -> dict[str, str]:
    """The columns to write so that ``get`` gives ``wanted``; empty when the record already means it."""
    columns: dict[str, str] = {}
    for field, value in wanted.items():
        if meaning(field, raw_of(field, record)) != value:
            columns |= LENSES[field].put(value, record)
    return columns


def unmapped(field: str, record: Columns) -> str | None:
    """The raw value that is there but has no mapping, to be shown to a person; None otherwise."""
    raw = raw_of(field, record)
    return raw if isinstance(raw, str) and isinstance(meaning(field, raw), UnsetType) else None


Defaults = Mapping[str, str | dict[str, str]]
_TRANSITION_OF_STATUS: Final = {"mitigated": "hold", "resolved": "resolve", "closed": "close", "canceled": "cancel"}
_FLAT_COLUMNS: Final = {
    "hold": ("hold_reason",),
    "resolve": ("close_code", "close_notes"),
    "close": ("close_code", "close_notes"),
    "cancel": ("close_code", "close_notes"),
}


def transition_defaults(defaults: Defaults, transition: str) -> dict[str, str]:
    """The columns that ``external_defaults`` adds to one transition (contract section 9); nested values come first."""
    flat = {column: value for column, value in defaults.items() if isinstance(value, str)}
    own = defaults.get(transition, {})
    if transition == "create":
        reserved = {column for columns in _FLAT_COLUMNS.values() for column in columns}
        chosen = {column: value for column, value in flat.items() if column not in reserved}
    else:
        chosen = {column: flat[column] for column in _FLAT_COLUMNS[transition] if column in flat}
    return chosen | (own if isinstance(own, dict) else {})


def close_data(
    status: str, record: Columns, defaults: Defaults, resolution_code: str | None, resolution_notes: str | None
) -> dict[str, str]:
    """What must travel with a state: the incident's own words first, then what the record has, then the defaults."""
    transition = _TRANSITION_OF_STATUS.get(status)
    if transition is None:
        return {}
    columns = {
        column: value
        for column, value in transition_defaults(defaults, transition).items()
        if not record.get(column, "")
    }
    if transition != "hold":
        own = {"close_code": resolution_code, "close_notes": resolution_notes}
        columns |= {column: value for column, value in own.items() if value}
    return columns
