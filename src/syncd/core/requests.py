"""What callers ask of incidents and their links: the API's bodies as checked values (contract sections 2 and 9).

It owns the rules for an incident's fields: lengths, forms, what null means. The same rules serve a declaration, an edit
and a conflict's ``value``. Nothing here looks at State.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from syncd.core.fields import BLANK, Fields, Form, given, shown, whole, word_form
from syncd.core.mapping import canonical_text, canonical_title
from syncd.core.model import (
    DESCRIPTION_LETTERS_MAX,
    EDITABLE_FIELDS,
    SEVERITIES,
    STATUSES,
    TITLE_LETTERS_MAX,
    Severity,
)

DEFAULT_ORGANIZATION: Final = "default"
NOTE_LETTERS_MAX: Final = 100_000
WORD_LETTERS_MAX: Final = 500
NOTES_LETTERS_MAX: Final = 100_000
_Check = Callable[[Fields], str | UnsetType | None]
_SYS_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
_NUMBER: Final = re.compile(r"[A-Za-z]{2,6}[0-9]{5,12}")  # such as INC0010023
_SYS_ID_FORM: Final[Form] = {**word_form(_SYS_ID), "not": {"pattern": f"^{_NUMBER.pattern}$"}}
_RESERVED_ORGANIZATIONS: Final = ("daemon",)  # the name of the journal's other stream
_ORGANIZATION: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SEVERITY: Final = re.compile(f"[{BLANK}]*(?:[Ss][Ee][Vv]-)?([1-4])[{BLANK}]*")
SEVERITY_TEXT: Final[Form] = word_form(_SEVERITY)
_SEVERITY_FORM: Final[Form] = {
    "description": "SEV-1 to SEV-4 in any case, or 1 to 4.",
    "anyOf": [SEVERITY_TEXT, {"type": "integer", "minimum": 1, "maximum": 4}],
}


class NewIncident(Struct, frozen=True, kw_only=True):
    """A declaration. Text is canonical: line ends as one character, no white space at the end."""

    organization_id: str
    title: str
    severity: Severity
    description: str = ""
    assigned_to: str | None = None
    service: str | None = None


class Declared(Struct, frozen=True):
    """The answer to a declaration. ``body``: the incident as JSON, byte for byte the first answer when ``repeated``."""

    body: str
    incident_id: str
    repeated: bool = False


class Pair(Struct, frozen=True):
    """An incident and the record it is to be linked with, by its sys_id."""

    incident_id: str
    external_id: str


class NewNote(Struct, frozen=True):
    """A work note; ``author`` empty: whoever asks."""

    text: str
    author: str = ""


def organization(body: Fields) -> str | UnsetType:
    """``organization_id``: letters, digits, dot, hyphen and underscore; UNSET when absent or faulty."""
    return body.word("organization_id", word_form(_ORGANIZATION, *_RESERVED_ORGANIZATIONS), _organization_fault)


def _organization_fault(word: str) -> str | None:
    if _ORGANIZATION.fullmatch(word) and word not in _RESERVED_ORGANIZATIONS:
        return None
    return f"{shown(word)} cannot be used; write 1 to 64 letters, digits, '.', '-' and '_' only"


def severity_of(word: str) -> Severity | None:
    """The severity that a person wrote: ``SEV-2``, ``sev-2`` or ``2``; None when it is none."""
    match = _SEVERITY.fullmatch(word)
    return SEVERITIES[int(match[1]) - 1] if match else None


def severity(body: Fields, *, required: bool = False) -> Severity | UnsetType:
    """``severity``: SEV-1 to SEV-4 in any case, or 1 to 4 as text or number."""
    way_out = "give SEV-1, SEV-2, SEV-3 or SEV-4"
    value = body.raw("severity", _SEVERITY_FORM, missing=way_out if required else "")
    if isinstance(value, UnsetType):
        return value
    number = whole(value)
    if number is not None and 1 <= number <= len(SEVERITIES):
        return SEVERITIES[number - 1]
    graded = severity_of(value) if isinstance(value, str) else None
    if graded is None:
        body.fault("severity", f"{shown(value)} is not a severity; {way_out}")
        return UNSET
    return graded


def _title(body: Fields, *, required: bool = False) -> str | UnsetType:
    value = body.text("title", letters_max=TITLE_LETTERS_MAX, required=required)
    return value if isinstance(value, UnsetType) else canonical_title(value)


def _description(body: Fields) -> str | UnsetType:
    value = body.optional_text("description", letters_max=DESCRIPTION_LETTERS_MAX, lines=True)
    return value if isinstance(value, UnsetType) else canonical_text(value or "")


def _resolution_notes(body: Fields) -> str | UnsetType | None:
    value = body.optional_text("resolution_notes", letters_max=NOTES_LETTERS_MAX, lines=True)
    return canonical_text(value) if isinstance(value, str) else value


def _word(name: str) -> _Check:
    return lambda body: body.optional_text(name, letters_max=WORD_LETTERS_MAX)


_CHECKS: Final[Mapping[str, _Check]] = {
    "title": _title,
    "description": _description,
    "severity": severity,
    "status": lambda body: body.choice("status", STATUSES),
    "assigned_to": _word("assigned_to"),
    "service": _word("service"),
    "resolution_code": _word("resolution_code"),
    "resolution_notes": _resolution_notes,
}


def new_incident(body: Fields) -> NewIncident:
    """A declaration from a request's object; ``Invalid`` with every fault."""
    title = _title(body, required=True)
    graded = severity(body, required=True)
    description = _description(body)
    assigned_to = _CHECKS["assigned_to"](body)
    service = _CHECKS["service"](body)
    where = organization(body)
    body.done("the incident")
    return NewIncident(
        organization_id=given(where, DEFAULT_ORGANIZATION),
        title=given(title, ""),
        severity=given(graded, "SEV-3"),
        description=given(description, ""),
        assigned_to=given(assigned_to, None),
        service=given(service, None),
    )


def incident_changes(body: Fields) -> dict[str, str | None]:
    """The wanted values of an edit, canonical, by field; ``Invalid`` with every fault, also when nothing is wanted."""
    changes: dict[str, str | None] = {}
    for name in EDITABLE_FIELDS:
        value = _CHECKS[name](body)
        if not isinstance(value, UnsetType):
            changes[name] = value
    body.done("the change", least=1)
    return changes


def checked_value(field: str, value: object) -> str:
    """A conflict's ``value``, held to the same rules as an edit of that field; ``Invalid`` otherwise."""
    body = Fields({field: value})
    checked = _CHECKS[field](body)
    body.done("the value")
    return checked if isinstance(checked, str) else ""


def new_note(body: Fields) -> NewNote:
    """A note from a request's object; ``Invalid`` with every fault."""
    text = body.text("text", letters_max=NOTE_LETTERS_MAX, lines=True, required=True)
    author = body.optional_text("author", letters_max=WORD_LETTERS_MAX)
    body.done("the note")
    return NewNote(canonical_text(given(text, "")), given(author, None) or "")


def read_pair(body: Fields) -> Pair:
    """The pair to be linked from a request's object; ``Invalid`` with every fault."""
    incident_id = body.text("incident_id", letters_max=WORD_LETTERS_MAX, required=True)
    external_id = body.word("external_id", _SYS_ID_FORM, _sys_id_fault, required=True)
    body.done("the link")
    return Pair(given(incident_id, ""), given(external_id, ""))


def _sys_id_fault(word: str) -> str | None:
    if _NUMBER.fullmatch(word):
        return f"{shown(word)} is a number; give the record's sys_id"
    return None if _SYS_ID.fullmatch(word) else f"{shown(word)} is not a sys_id; it has 32 letters and digits"


def no_fields(body: Fields) -> None:
    """The body of a request that takes nothing: an empty one, or an empty object."""
    body.done("the request")
