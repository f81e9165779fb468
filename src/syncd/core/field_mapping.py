"""Which column stands for which field under an integration: what people may set, and what would do harm.

A mapping is taken only if both laws of a lens hold for it (``lens.py``). Refused are, with the values named: one that
leaves a value of the platform without a place, one that could not be read back, and one that two fields would fight
over. A change is a change of settings like any other; what it does to links is ``fold_mapping.py``'s part.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final, TypeVar, get_args

from msgspec import Struct
from msgspec.structs import replace

from syncd.core import finding
from syncd.core.events import Change, IntegrationChanged
from syncd.core.fields import Fields, Form, given, one_line_fault, shown, text_form, word_form
from syncd.core.lens import columns_of
from syncd.core.mapping import SEVERITY_OF_PRIORITY, STATE_OF_STATUS, STATUS_OF_STATE
from syncd.core.model import SEVERITIES, STATUSES, SYNCABLE_FIELDS, FieldDirection, FieldMapping, Settings, Transform
from syncd.core.people import PERSON_COLUMN
from syncd.core.state import State
from syncd.errors import Invalid, Problem, Unknown

T = TypeVar("T")
Decide = Callable[[State, float], Change[T]]

VALUE_LETTERS_MAX: Final = 200
_VALUES_OF: Final[Mapping[str, tuple[str, ...]]] = {"severity": SEVERITIES, "status": STATUSES}
_COLUMN: Final = re.compile(r"[a-z][a-z0-9_]{0,79}")
_COLUMN_FORM: Final[Form] = {**word_form(_COLUMN), "description": "A column of the record, such as u_service."}
_TEXT_FORM: Final = text_form(VALUE_LETTERS_MAX)
_TEXTS_FORM: Final[Form] = {"anyOf": [_TEXT_FORM, {"type": "array", "items": _TEXT_FORM, "minItems": 1}]}
_VALUES_FORM: Final[Form] = {
    "description": "What stands there for each value of the field; of several texts the first is written.",
    "type": "object",
    "additionalProperties": _TEXTS_FORM,
}
# ServiceNow derives these, or the sync needs them for something else.
_TAKEN: Final = frozenset(
    [
        *("number", "priority", "active", "incident_state", "correlation_id", "correlation_display"),
        *("work_notes", "comments", "comments_and_work_notes", "assigned_to", "assignment_group"),
        *("close_code", "close_notes", "hold_reason", "reopen_count", "reassignment_count"),
    ]
)
_NUMBERS: Final = frozenset(("state", "impact", "urgency"))  # columns of whole numbers
_NUMBER: Final = re.compile(r"0|-?[1-9][0-9]{0,8}")
_STAMPS: Final = ("sys_", "opened_", "resolved_", "closed_", "reopened_")


class WantedMapping(Struct, frozen=True):
    """What a request asks for; ``values``: the texts for each value."""

    external_field: str
    values: dict[str, tuple[str, ...]]
    transform: Transform
    direction: FieldDirection


class MappingView(Struct, frozen=True):
    """Where a field stands; ``external_field`` None: it is not synced. ``default``: nobody has set another mapping.

    ``values``: what stands there for each value, the first written.
    """

    field: str
    external_field: str | None
    values: dict[str, list[str]]
    transform: str
    direction: str
    default: bool


def views(settings: Settings) -> list[MappingView]:
    """Every field's mapping, ``service`` among them, which stands nowhere by default."""
    return [_view(settings, field) for field in SYNCABLE_FIELDS]


def _view(settings: Settings, field: str) -> MappingView:
    one = _of(settings, field)
    values = one.values if one is not None else _default_values(field)
    return MappingView(
        field=field,
        external_field=columns_of(settings).get(field),
        values={value: list(texts) for value, texts in values},
        transform=one.transform if one is not None else "",
        direction=one.direction if one is not None else "bidirectional",
        default=one is None,
    )


def _default_values(field: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if field not in _VALUES_OF:
        return ()
    meant = SEVERITY_OF_PRIORITY if field == "severity" else STATUS_OF_STATE
    first = {} if field == "severity" else STATE_OF_STATUS
    texts = {value: sorted(text for text, one in meant.items() if one == value) for value in _VALUES_OF[field]}
    return tuple(
        (value, tuple(sorted(found, key=lambda one: one != first.get(value)))) for value, found in texts.items()
    )


def _of(settings: Settings, field: str) -> FieldMapping | None:
    return next((one for one in settings.field_mapping if one.field == field), None)


def read(body: Fields) -> WantedMapping:
    """A mapping from a request's object; ``Invalid`` with every fault. Whether it does harm is judged by ``put``."""
    transforms: tuple[Transform, ...] = ("upper", "lower")
    directions: tuple[FieldDirection, ...] = get_args(FieldDirection)
    column = body.word("external_field", _COLUMN_FORM, _column_fault, required=True)
    wanted = WantedMapping(
        given(column, ""),
        _texts(body),
        given(body.choice("transform", transforms), ""),
        given(body.choice("direction", directions), "bidirectional"),
    )
    body.done("the mapping")
    return wanted


def _column_fault(column: str) -> str | None:
    if _COLUMN.fullmatch(column):
        return None
    return f"{shown(column)} is not a column of the record; write its name as ServiceNow has it, such as u_service"


def _texts(body: Fields) -> dict[str, tuple[str, ...]]:
    part = body.part("values", _VALUES_FORM)
    found: dict[str, tuple[str, ...]] = {}
    if part is None:
        return found
    for value in part.names():
        raw = part.raw(value, _TEXTS_FORM)
        sent = raw if isinstance(raw, list) else [raw]
        faults = [fault for text in sent if (fault := _text_fault(text)) is not None]
        if not sent:
            faults = ['has nothing in its list; give a text such as "1", or several']
        for fault in dict.fromkeys(faults):
            part.fault(value, fault)
        found[value] = tuple(text.strip() for text in sent if isinstance(text, str) and _text_fault(text) is None)
    return found


def _text_fault(text: object) -> str | None:
    """Why this cannot stand in a column for a value; None when it can."""
    if not isinstance(text, str):
        return f'{shown(text)} is no text; put it in quotes, such as "1"'
    if not text.strip():
        return f'{shown(text)} is empty; give what stands there, such as "1"'
    if len(text) > VALUE_LETTERS_MAX:
        return f"{shown(text)} has {len(text)} letters, the limit is {VALUE_LETTERS_MAX}; shorten it"
    fault = one_line_fault(text.strip())
    return None if fault is None else f"{shown(text)} {fault}"


def put(word: str, field: str, wanted: WantedMapping) -> Decide[MappingView]:
    """Map a field, in the place of the mapping it had; ``Invalid`` with everything that would do harm."""

    def decide(state: State, _at_s: float) -> Change[MappingView]:
        within = finding.integration(state, word)
        check_field(field)
        values = tuple((value, wanted.values[value]) for value in _VALUES_OF.get(field, ()) if value in wanted.values)
        mapping = FieldMapping(field, wanted.external_field, values, wanted.transform, wanted.direction)
        others = tuple(one for one in within.settings.field_mapping if one.field != field)
        settings = replace(within.settings, field_mapping=(*others, mapping))
        faults = Fields({})
        for name, message in _harm(settings, field, wanted):
            faults.fault(name, message)
        faults.done("the mapping")
        changed = () if settings == within.settings else (IntegrationChanged(within.id, settings),)
        return Change(settings.organization_id, changed, _view(settings, field))

    return decide


def _harm(settings: Settings, field: str, wanted: WantedMapping) -> Iterator[tuple[str, str]]:
    """What is wrong with a mapping for this field, and where."""
    column, known = wanted.external_field, _VALUES_OF.get(field)
    if field == "status":  # closing, its data and its locks hang on the state
        if column != "state":
            yield "external_field", f"is {shown(column)}, and a status stands in state; its values can be set"
    elif column != PERSON_COLUMN or field != "assigned_to":
        yield from _taken(field, column)
    if (fight := _fight(settings, field)) is not None:
        taken, name = fight
        message = f"{taken} stands for {name} already, and two fields would fight over it; take another column"
        yield "external_field", message
    if known is None:
        if wanted.values:
            yield "values", f"cannot be total, since {field} takes any text; leave them out"
        if wanted.transform and field == "assigned_to":
            yield "transform", "is for text, and a person is written as the sys_id of a user; leave it out"
        return
    if wanted.transform:
        yield "transform", f"is for text, and {field} has values; leave it out"
    if missing := [value for value in known if value not in wanted.values]:
        yield "values", f"are not total: {', '.join(missing)} would have no place; give each of them a text"
    yield from _ambiguous(field, known, wanted)


def _ambiguous(field: str, known: Collection[str], wanted: WantedMapping) -> Iterator[tuple[str, str]]:
    """What of the values could not be read back from the column."""
    owners: dict[str, str] = {}
    for value, texts in wanted.values.items():
        if value not in known:
            yield f"values.{value}", f"is no {field}; there are {', '.join(known)}"
        for text in texts:
            if wanted.external_field in _NUMBERS and not _NUMBER.fullmatch(text):
                only = f"{wanted.external_field} holds nothing else"
                yield f"values.{value}", f"{shown(text)} is no whole number, and {only}, so it could not be read back"
            if text in owners:
                both = f"{owners[text]} and {value}" if owners[text] != value else f"{value} twice"
                yield f"values.{value}", f"{shown(text)} stands for {both}, so it could not be read back"
            owners.setdefault(text, value)


def _taken(field: str, column: str) -> Iterator[tuple[str, str]]:
    if column in _TAKEN or column == "state" or column.startswith(_STAMPS):
        message = f"{shown(column)} is set by ServiceNow or by the sync itself; take a column of your own, such as "
        yield "external_field", f"{message}u_{field}"


def delete(word: str, field: str) -> Decide[MappingView]:
    """Take a mapping back: the field stands where it does by default, or is not synced any more."""

    def decide(state: State, _at_s: float) -> Change[MappingView]:
        within = finding.integration(state, word)
        check_field(field)
        others = tuple(one for one in within.settings.field_mapping if one.field != field)
        settings = replace(within.settings, field_mapping=others)
        if field in columns_of(settings) and (fight := _fight(settings, field)) is not None:
            taken, name = fight
            message = f"cannot go back to its default: {taken} stands for {name}, and two fields would fight over it"
            way_out = f"free it first: im integration field-mapping delete {settings.handle} {name}"
            raise Invalid(f"{field} {message}", problems=(Problem("field", message),), hint=way_out)
        changed = () if settings == within.settings else (IntegrationChanged(within.id, settings),)
        return Change(settings.organization_id, changed, _view(settings, field))

    return decide


def check_field(field: str) -> None:
    """``Unknown`` for a field that cannot be mapped."""
    if field not in SYNCABLE_FIELDS:
        raise Unknown(f"{shown(field)} cannot be mapped", hint=f"these can: {', '.join(SYNCABLE_FIELDS)}")


def _fight(settings: Settings, field: str) -> tuple[str, str] | None:
    """The column that this field and another would write in turn, and the other; None when there is none."""
    columns = {name: {column} for name, column in columns_of(settings).items()}
    if columns["severity"] == {"priority"}:
        columns["severity"] = {"priority", "impact", "urgency"}
    for name, taken in columns.items():
        if name != field and (both := taken & columns[field]):
            return min(both), name
    return None
