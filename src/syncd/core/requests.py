"""What callers ask of incidents and their links: the API's bodies as checked values (contract sections 2 and 9).

It owns the rules for an incident's fields: lengths, forms, what null means. The same rules serve a declaration, an edit
and a conflict's ``value``. Nothing here looks at State.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from syncd.core.fields import Fields, given, shown
from syncd.core.mapping import canonical_text, canonical_title
from syncd.core.model import DESCRIPTION_LETTERS_MAX, EDITABLE_FIELDS, STATUSES, TITLE_LETTERS_MAX, Severity
from syncd.errors import Invalid

DEFAULT_ORGANIZATION: Final = "default"
NOTE_LETTERS_MAX: Final = 100_000
WORD_LETTERS_MAX: Final = 500
NOTES_LETTERS_MAX: Final = 100_000
DECLARED_FIELDS: Final = ("organization_id", "title", "description", "severity", "assigned_to", "service")
_Check = Callable[[Fields], str | UnsetType | None]
_SEVERITY_OF: Final[Mapping[str, Severity]] = {
    "1": "SEV-1",
    "2": "SEV-2",
    "3": "SEV-3",
    "4": "SEV-4",
    "SEV-1": "SEV-1",
    "SEV-2": "SEV-2",
    "SEV-3": "SEV-3",
    "SEV-4": "SEV-4",
}
_SYS_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
_NUMBER: Final = re.compile(r"[A-Za-z]{2,6}[0-9]{5,12}")  # such as INC0010023
_RESERVED_ORGANIZATIONS: Final = frozenset({"daemon"})  # the name of the journal's other stream
_ORGANIZATION_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


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


def organization(body: Fields, *, required: bool = False) -> str | UnsetType:
    """``organization_id``: letters, digits, dot, hyphen and underscore; UNSET when absent or faulty."""
    value = body.text("organization_id", letters_max=64, required=required)
    if isinstance(value, str) and (not _ORGANIZATION_LETTERS.issuperset(value) or value in _RESERVED_ORGANIZATIONS):
        body.fault("organization_id", f"{shown(value)} cannot be used; write letters, digits, '.', '-' and '_' only")
    return value


def severity(body: Fields, *, required: bool = False) -> Severity | UnsetType:
    """``severity``: SEV-1 to SEV-4 in any case, or 1 to 4 as text or number."""
    value = body.raw("severity")
    if isinstance(value, UnsetType):
        if required:
            body.fault("severity", "is missing; give SEV-1, SEV-2, SEV-3 or SEV-4")
        return value
    word = str(value).strip().upper() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if word not in _SEVERITY_OF:
        body.fault("severity", f"{shown(value)} is not a severity; give SEV-1, SEV-2, SEV-3 or SEV-4")
        return UNSET
    return _SEVERITY_OF[word]


def _title(body: Fields) -> str | UnsetType:
    value = body.text("title", letters_max=TITLE_LETTERS_MAX)
    return value if isinstance(value, UnsetType) else canonical_title(value)


def _description(body: Fields) -> str | UnsetType:
    if body.raw("description") is None:
        return ""
    value = body.text("description", letters_max=DESCRIPTION_LETTERS_MAX, lines=True, blank=True)
    return value if isinstance(value, UnsetType) else canonical_text(value)


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


def new_incident(raw: Mapping[str, object]) -> NewIncident:
    """A declaration from a request's object; ``Invalid`` with every fault."""
    body = Fields(raw, DECLARED_FIELDS)
    where = organization(body)
    title = body.text("title", letters_max=TITLE_LETTERS_MAX, required=True)
    graded = severity(body, required=True)
    description = _description(body)
    assigned_to = _CHECKS["assigned_to"](body)
    service = _CHECKS["service"](body)
    body.done("the incident")
    return NewIncident(
        organization_id=given(where, DEFAULT_ORGANIZATION),
        title=canonical_title(given(title, "")),
        severity=given(graded, "SEV-3"),
        description=given(description, ""),
        assigned_to=given(assigned_to, None),
        service=given(service, None),
    )


def incident_changes(raw: Mapping[str, object]) -> dict[str, str | None]:
    """The wanted values of an edit, canonical, by field; ``Invalid`` with every fault, also when nothing is wanted."""
    body = Fields(raw, EDITABLE_FIELDS)
    changes: dict[str, str | None] = {}
    for name in EDITABLE_FIELDS:
        value = _CHECKS[name](body)
        if not isinstance(value, UnsetType):
            changes[name] = value
    body.done("the change")
    if not changes:
        raise Invalid("the change names no field", hint=f"give at least one of {', '.join(EDITABLE_FIELDS)}")
    return changes


def checked_value(field: str, value: object) -> str:
    """A conflict's ``value``, held to the same rules as an edit of that field; ``Invalid`` otherwise."""
    body = Fields({field: value}, EDITABLE_FIELDS)
    checked = _CHECKS[field](body)
    body.done("the value")
    return checked if isinstance(checked, str) else ""


def new_note(raw: Mapping[str, object]) -> NewNote:
    """A note from a request's object; ``Invalid`` with every fault."""
    body = Fields(raw, ("text", "author"))
    text = body.text("text", letters_max=NOTE_LETTERS_MAX, lines=True, required=True)
    author = body.optional_text("author", letters_max=WORD_LETTERS_MAX)
    body.done("the note")
    return NewNote(canonical_text(given(text, "")), given(author, None) or "")


def read_pair(raw: Mapping[str, object]) -> Pair:
    """The pair to be linked from a request's object; ``Invalid`` with every fault."""
    body = Fields(raw, ("incident_id", "external_id"))
    incident_id = body.text("incident_id", letters_max=WORD_LETTERS_MAX, required=True)
    external_id = body.text("external_id", letters_max=WORD_LETTERS_MAX, required=True)
    if isinstance(external_id, str):
        if _NUMBER.fullmatch(external_id):
            body.fault("external_id", f"{shown(external_id)} is a number; give the record's sys_id")
        elif not _SYS_ID.fullmatch(external_id):
            body.fault("external_id", f"{shown(external_id)} is not a sys_id; it has 32 letters and digits")
    body.done("the link")
    return Pair(given(incident_id, ""), given(external_id, ""))
