"""How each field of the platform is read from a ServiceNow incident and written to it (docs/sync.md, "Field mapping").

``get`` reads a platform value out of a record, ``put`` says which columns to write so that ``get`` gives that value.
An integration's own lens, with the mappings that people set, is ``lens.py``. A lens is sticky: a record that already
means the wanted value is left alone, so In Progress survives while the platform says ``open``, and an impact/urgency
pair that already gives the priority is kept.
"""

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import UNSET, Struct

from syncd.core.model import TITLE_LETTERS_MAX, Half, Side
from syncd.core.people import PERSON_COLUMN, person_columns, person_meant, raw_person

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
    *person_columns(PERSON_COLUMN),
    "assignment_group",
)
DEFAULT_OWNER: Final[Mapping[str, Side]] = {
    "title": "platform",
    "description": "platform",
    "severity": "platform",
    "status": "platform",
    "assigned_to": "external",
    "work_notes": "external",
    "service": "platform",
}
DEFAULT_COLUMN: Final = {
    "title": "short_description",
    "description": "description",
    "severity": "priority",
    "status": "state",
    "assigned_to": PERSON_COLUMN,
}


def canonical_text(text: str) -> str:
    r"""Line ends as ``\n``, no white space at the end: the form in which text is compared."""
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip()


def canonical_title(text: str) -> str:
    """One line, at most 500 letters, no white space at its ends."""
    return " ".join(canonical_text(text).split("\n")).strip()[:TITLE_LETTERS_MAX].rstrip()


def title_meant(raw: str) -> Half:
    """What a text means as a title; an incident must have one, so an empty one says nothing."""
    return canonical_title(raw) or UNSET


class FieldLens(Struct, frozen=True):
    """One synced field: how a record shows it, what that means, and what must be written to make it so.

    ``raw``: the text that stands for it, UNSET when the record lacks it. ``get``: what such a text means, where the
    platform says the second; of two ways to say one thing it keeps the platform's. ``put`` gets the wanted value and
    the record as it is, and is only asked when ``get`` gives another value. ``written``: the raw text right after that,
    with nothing cut or rewritten; UNSET where only ServiceNow knows. ``is_text``: it may come back cut at the column's
    limit; part of another value is another value. ``fills``: an empty column is no value yet, and takes ours.
    """

    raw: Callable[[Columns], Half]
    get: Callable[[str, str], Half]
    put: Callable[[str, Columns], dict[str, str]]
    written: Callable[[str], Half]
    is_text: bool = False
    fills: bool = False


def column(name: str) -> Callable[[Columns], Half]:
    """The raw half of a field that one column shows."""
    return lambda record: record.get(name, UNSET)


def _put_severity(severity: str, record: Columns) -> dict[str, str]:
    stored = (record.get("impact", ""), record.get("urgency", ""))
    wanted = PAIR_OF_SEVERITY[severity]
    if SEVERITY_OF_PRIORITY.get(PRIORITY_OF_PAIR.get(stored, "")) == severity:
        wanted = (
            stored  # ServiceNow derived another priority from this pair: send it again, and adopt what it makes of it
        )
    return {"impact": wanted[0], "urgency": wanted[1]}


def put_state(state: str, status: str, record: Columns) -> dict[str, str]:
    """The columns of another state. Whoever leaves On Hold has no reason for it any more."""
    columns = {"state": state}
    if record.get("hold_reason") and status != "mitigated":
        columns["hold_reason"] = ""
    return columns


def _as_it_is(value: str) -> str:
    return value


def person_lens(name: str) -> FieldLens:
    """A person in a column that refers to users. The name becomes a sys_id by a look-up before it is sent."""
    return FieldLens(
        lambda record: raw_person(record, name),
        person_meant,
        lambda value, _: {name: value},
        lambda value: UNSET if value else "",
    )


LENSES: Final[Mapping[str, FieldLens]] = {
    "title": FieldLens(
        column("short_description"),
        lambda raw, _: title_meant(raw),
        lambda value, _: {"short_description": value},
        _as_it_is,
        is_text=True,
    ),
    "description": FieldLens(
        column("description"),
        lambda raw, _: canonical_text(raw),
        lambda value, _: {"description": value},
        _as_it_is,
        is_text=True,
    ),
    "severity": FieldLens(
        column("priority"),
        lambda raw, _: SEVERITY_OF_PRIORITY.get(raw, UNSET),
        _put_severity,
        lambda value: PRIORITY_OF_PAIR[PAIR_OF_SEVERITY[value]],
    ),
    "status": FieldLens(
        column("state"),
        lambda raw, _: STATUS_OF_STATE.get(raw, UNSET),
        lambda value, record: put_state(STATE_OF_STATUS[value], value, record),
        lambda value: NEW_STATE if value == "open" else STATE_OF_STATUS[value],
    ),
    "assigned_to": person_lens(PERSON_COLUMN),
}


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
