"""An incident's timeline: journal records as CloudEvents 1.0, one for each thing that happened to that incident.

A view: it reads the journal's facts and keeps nothing. ``im.incident.*`` is what people did here, ``im.sync.*`` what
the sync saw, decided and sent. Ids are ``<position>-<index>``, so the same event has the same id in every answer.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from msgspec import UNSET, Struct, UnsetType

from syncd.core import events as e
from syncd.core.model import Half, Observation
from syncd.core.state import State
from syncd.core.views import Time, rfc3339

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"
Found: TypeAlias = tuple[str, dict[str, "Json"]]


class CloudEvent(Struct, frozen=True, kw_only=True):
    """CloudEvents 1.0, structured mode. The extension attributes: `position`, `by`, `trace`, and who asked.

    `principal` and `address` are there when a caller asked for it: which token or user, and from where.
    """

    specversion: str = "1.0"
    id: str
    source: str
    type: str
    time: Time
    subject: str
    datacontenttype: str = "application/json"
    position: int
    by: str
    trace: str
    principal: str | UnsetType = UNSET
    address: str | UnsetType = UNSET
    data: Mapping[str, object]


def entries(state: State, records: Sequence[e.Record], incident_id: str) -> list[CloudEvent]:
    """What these records say about one incident, in their order."""
    # A delivered or discarded letter is no longer in State; the record that made it is among these.
    letters = {
        event.letter.id: event.letter.incident_id
        for record in records
        for event in record.events
        if isinstance(event, e.DeadLettered)
    }
    return [one for record in records for one in _entries(state, record, incident_id, letters)]


def _entries(state: State, record: e.Record, incident_id: str, letters: Mapping[str, str]) -> Iterator[CloudEvent]:
    for index, event in enumerate(record.events):
        if _concerns(state, event, letters) != incident_id:
            continue
        for number, (kind, told) in enumerate(_told(event)):
            link_name = getattr(event, "link_id", "")
            handle = _handle(state, link_name, told)
            yield CloudEvent(
                id=f"{record.position}-{index}" + (f"-{number}" if number else ""),
                source=f"/integrations/{handle}" if handle else f"/organizations/{record.stream}",
                type=f"im.{kind}",
                time=rfc3339(record.at_s),
                subject=incident_id,
                position=record.position,
                by=record.by,
                trace=record.trace,
                principal=record.source.principal if record.source else UNSET,
                address=record.source.address if record.source else UNSET,
                data=told,
            )


def _concerns(state: State, event: e.Event, letters: Mapping[str, str]) -> str:
    """The incident an event is about; empty when it is about none."""
    match event:
        case e.IncidentDeclared() | e.IncidentEdited() | e.NoteAdded() | e.LinkOpened() | e.LinkJoined():
            return event.incident_id
        case e.DeadLettered():
            return event.letter.incident_id
        case e.ConflictSettled():
            conflict = state.conflicts.get(event.conflict_id)
            return conflict.incident_id if conflict is not None else ""
        case e.DeadLetterRetried() | e.DeadLetterDiscarded():
            return letters.get(event.letter_id, "")
        case _:
            # A link's name is ``<integration>/<incident>``, so it can be read when the link is long gone.
            return str(getattr(event, "link_id", "")).partition("/")[2]


def _handle(state: State, link_name: str, told: Mapping[str, Json]) -> str:
    integration_id = link_name.partition("/")[0] or str(told.get("integration_id", ""))
    integration = state.integrations.get(integration_id)
    return integration.settings.handle if integration is not None else integration_id


def _told(event: e.Event) -> Iterator[Found]:
    """What one event tells: its type after ``im.``, and its data. A merge tells one thing for each decision."""
    match event:
        case e.IncidentDeclared():
            fields = ("title", "description", "severity", "status", "assigned_to", "service", "origin")
            yield "incident.declared", {name: getattr(event, name) for name in fields}
        case e.IncidentEdited():
            yield "incident.updated", {"changes": dict(event.changes)}
        case e.NoteAdded():
            yield (
                "incident.noted",
                {"id": event.note_id, "text": event.text, "author": event.author, "origin": event.origin},
            )
        case e.Merged():
            yield from _merged(event)
        case e.ConflictSettled():
            value = event.value if isinstance(event.value, str) else None
            verdict: dict[str, Json] = {"conflict": event.conflict_id, "winner": event.winner, "value": value}
            yield "sync.conflict_resolved" if event.winner else "sync.conflict_ignored", verdict
        case e.DeadLettered():
            yield "sync.dead_letter", _dead_letter(event)
        case e.DeadLetterRetried():
            yield "sync.dead_letter_retried", {"id": event.letter_id}
        case e.DeadLetterDiscarded():
            yield "sync.dead_letter_discarded", {"id": event.letter_id}
        case _:
            yield from _told_of_link(event)


def _told_of_link(event: e.Event) -> Iterator[Found]:
    match event:
        case e.LinkOpened():
            yield "sync.link_opened", {"integration_id": event.integration_id}
        case e.LinkJoined():
            yield "sync.linked", {"integration_id": event.integration_id, **_seen(event.observation)}
        case e.LinkRemoved():
            yield "sync.unlinked", {}
        case e.LinkParked():
            yield "sync.parked", {"reason": event.reason}
        case e.LinkReleased():
            yield "sync.released", {}
        case e.DifferenceAccepted():
            yield "sync.accepted", {"fields": list(event.halves), "reason": event.reason}
        case e.Observed():
            yield "sync.observed", _seen(event.observation)
        case e.SendStarted():
            attempt = event.attempt
            yield (
                "sync.send_started",
                {
                    "attempt": attempt.number,
                    "operation": attempt.kind,
                    "fields": list(attempt.sent),
                    "sent": {**attempt.sent},
                },
            )
        case e.SendSettled():
            told: dict[str, Json] = {
                "attempt": event.attempt,
                "fields": list(event.halves),
                "unseen_writes": event.unseen_writes,
            }
            yield "sync.sent", {**told, **_seen(event.observation)}
        case e.SendFailed():
            yield "sync.failed", _failed(event)
        case e.NoteSendStarted():
            yield "sync.note_started", {"note_id": event.note_id, "text": event.attempt.text}
        case e.NoteSent():
            yield "sync.note_sent", {"note_id": event.note_id, "found": event.mod_count is None}
        case e.NoteSendFailed():
            yield "sync.note_failed", {"note_id": event.note_id, **_failed(event)}
        case _:
            return


def _failed(event: e.SendFailed | e.NoteSendFailed) -> dict[str, Json]:
    failure = event.failure
    return {
        "kind": failure.kind,
        "message": failure.message,
        "status": failure.status,
        "detail": failure.detail,
        "ambiguous": event.ambiguous,
        "next_attempt_at": rfc3339(event.next_at_s),
    }


def _merged(event: e.Merged) -> Iterator[Found]:
    for decided in event.decided:
        base = decided.halves
        yield (
            "sync.decided",
            {
                "field": decided.field,
                "reason": decided.reason,
                "value": _text(decided.value),
                "base": {"platform": _text(base.platform), "external": _text(base.external)},
            },
        )
    for conflict in event.conflicts:
        yield (
            "sync.conflict",
            {
                "id": conflict.id,
                "integration_id": conflict.integration_id,
                "field": conflict.field,
                "platform": conflict.platform,
                "external": conflict.external,
                "strategy": conflict.strategy,
                "status": conflict.status,
                "decided": conflict.decided,
            },
        )


def _dead_letter(event: e.DeadLettered) -> dict[str, Json]:
    letter = event.letter
    return {
        "id": letter.id,
        "integration_id": letter.integration_id,
        "operation": letter.operation,
        "fields": list(letter.fields),
        "error": {
            "kind": letter.error.kind,
            "status": letter.error.status,
            "message": letter.error.message,
            "detail": letter.error.detail,
        },
        "remedy": letter.remedy,
    }


def _seen(seen: Observation) -> dict[str, Json]:
    return {
        "external_id": seen.external_id,
        "external_number": seen.number,
        "values": {**seen.columns},
        "sys_mod_count": seen.mod_count,
        "updated_by": seen.updated_by,
        "updated_at": None if seen.updated_at_s is None else rfc3339(seen.updated_at_s),
    }


def _text(half: Half | str | UnsetType) -> str | None:
    return half if isinstance(half, str) else None
