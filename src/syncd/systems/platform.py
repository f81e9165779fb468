"""The incident store: what may happen to a platform incident, as decisions for ``Journal.transact``.

Each function returns a decision ``(state, at_s) -> Change`` that runs in one step with the fold, so ``If-Match`` and
``Idempotency-Key`` are checked against the very version they change. As a module it fulfils ``Platform`` of
``actors/ports.py``; it keeps nothing of its own and never waits.
"""

from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from syncd.core import finding, views
from syncd.core.events import AnswerKept, Change, Event, IncidentDeclared, IncidentEdited, NoteAdded
from syncd.core.model import Incident, KeptAnswer, Note
from syncd.core.requests import Declared, NewIncident, NewNote
from syncd.core.state import ANSWERS_KEPT_S, State
from syncd.credentials import is_same
from syncd.errors import Invalid, Problem, Stale

T = TypeVar("T")
Decide = Callable[[State, float], Change[T]]


class _Identified(Struct):
    """The one key of a kept answer that is read again."""

    id: str


def declare(
    wanted: NewIncident, *, incident_id: str, by: str, key: str = "", body_digest: str = ""
) -> Decide[Declared]:
    """Declare an incident. A ``key`` of the last 24 h: the first answer again, or ``Invalid`` for another body."""

    def decide(state: State, at_s: float) -> Change[Declared]:
        kept = state.answers.get(key) if key else None
        if kept is not None and at_s - kept.kept_at_s < ANSWERS_KEPT_S:
            return Change(wanted.organization_id, (), _first_answer(kept, body_digest))
        incident = Incident(
            id=incident_id,
            organization_id=wanted.organization_id,
            title=wanted.title,
            description=wanted.description,
            severity=wanted.severity,
            status="open",
            assigned_to=wanted.assigned_to,
            service=wanted.service,
            created_at_s=at_s,
            updated_at_s=at_s,
            updated_by=by,
        )
        answer = msgspec.json.encode(views.incident(state, incident)).decode()
        declared = IncidentDeclared(
            incident_id=incident_id,
            title=wanted.title,
            severity=wanted.severity,
            description=wanted.description,
            assigned_to=wanted.assigned_to,
            service=wanted.service,
        )
        events: tuple[Event, ...] = (declared,)
        if key:
            events = (declared, AnswerKept(key, KeptAnswer(body_digest, answer, at_s)))
        return Change(wanted.organization_id, events, Declared(answer, incident_id))

    return decide


def _first_answer(kept: KeptAnswer, body_digest: str) -> Declared:
    if not is_same(kept.body_digest, body_digest):
        problem = Problem("Idempotency-Key", "was used with another body; take a new key for another incident")
        raise Invalid("this Idempotency-Key was used with another body", problems=(problem,), hint="use a new key")
    return Declared(kept.answer, msgspec.json.decode(kept.answer, type=_Identified).id, repeated=True)


def edit(
    incident_id: str, changes: dict[str, str | None], *, by: str, version: int | None = None
) -> Decide[views.IncidentView]:
    """Change fields; what has its wanted value already is no change. ``Stale`` for another ``version``."""

    def decide(state: State, at_s: float) -> Change[views.IncidentView]:
        incident = finding.incident(state, incident_id)
        if version is not None and version != incident.version:
            raise Stale(
                f"{incident_id} has version {incident.version}, and If-Match names {version}: it changed meanwhile",
                hint=f"read it again, then repeat the change with If-Match: {incident.version} "
                f"(--if-match {incident.version})",
            )
        effective = {field: value for field, value in changes.items() if incident.value(field) != value}
        stream = incident.organization_id
        if not effective:
            return Change(stream, (), views.incident(state, incident))
        values: dict[str, object] = dict(effective)
        after = replace(incident, **values, version=incident.version + 1, updated_at_s=at_s, updated_by=by)
        return Change(stream, (IncidentEdited(incident_id, effective),), views.incident(state, after))

    return decide


def add_note(incident_id: str, wanted: NewNote, *, note_id: str, by: str) -> Decide[Note]:
    """Append a work note. The author is whoever asks, unless another name was given."""

    def decide(state: State, at_s: float) -> Change[Note]:
        incident = finding.incident(state, incident_id)
        note = Note(note_id, wanted.text, wanted.author or by, at_s, "platform")
        event = NoteAdded(incident_id, note.id, note.text, note.author, note.origin)
        return Change(incident.organization_id, (event,), note)

    return decide
