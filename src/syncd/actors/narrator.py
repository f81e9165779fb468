"""Tells the log what became durable: one line at info for each change, where its way ends.

A change of the platform ends with ServiceNow's answer, a change of ServiceNow with the incident that has it. What goes
wrong on the way is a warning, each step is a line at debug, and all of them are told by the sync trace. A view of the
journal, so the log never says what a crash could take back. Owns nothing, decides nothing.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import UnsetType

from syncd.core import events as e
from syncd.core.model import Failure, Observation
from syncd.core.state import State
from syncd.core.traces import of_event
from syncd.telemetry import trace

log: Final = logging.getLogger("syncd.sync")

Told = tuple[int, str, dict[str, object]]


class Narrator:
    """``state`` gives the handles of integrations, and nothing else."""

    def __init__(self, state: Callable[[], State]) -> None:
        self._state = state

    def narrate(self, records: Sequence[e.Record]) -> None:
        """A line or none for each event, with the id of its change. Never waits."""
        for record in records:
            for event in record.events:
                level, words, told = _told(event)
                about = {**self._about(event), **told}
                change = of_event(record, event).trace
                trace(change, type(event).__name__, position=record.position, **about)
                if words:
                    log.log(level, words, extra={"trace": change, **about})

    def _about(self, event: e.Event) -> dict[str, object]:
        """The incident and the integration, by the name that people use."""
        link_id = event.letter.link_id if isinstance(event, e.DeadLettered) else getattr(event, "link_id", "")
        integration_id, _, incident_id = link_id.partition("/")
        incident_id = incident_id or getattr(event, "incident_id", "")
        integration_id = integration_id or getattr(event, "integration_id", "") or _origin(event)
        integration = self._state().integrations.get(integration_id)
        handle = integration.settings.handle if integration is not None else integration_id
        return {**({"incident": incident_id} if incident_id else {}), **({"integration": handle} if handle else {})}


def _origin(event: e.Event) -> str:
    """The integration that a note or an incident came through."""
    origin: str = getattr(event, "origin", "")
    return "" if origin == "platform" else origin


def _told(event: e.Event) -> Told:
    """How loud, in which words, and what else an operator wants to know; no words for what is only worth a trace."""
    match event:
        case e.SendSettled():
            crossed = {"unseen_writes": event.unseen_writes} if event.unseen_writes else {}
            changed = {"record": _record(event.observation), "changed": ",".join(event.halves)}
            return logging.INFO, "delivered", {**changed, **crossed}
        case e.NoteSent():
            return logging.INFO, "note delivered", {"note": event.note_id}
        case e.Merged():
            return _merged(event)
        case e.NoteAdded() if event.origin != "platform":
            return logging.INFO, "note taken over", {"note": event.note_id}
        case e.LinkJoined():
            return logging.INFO, "record linked", {"record": _record(event.observation)}
        case e.RunEnded():
            return _run_ended(event)
        case e.LinkParked():
            return logging.WARNING, "link parked", {"reason": event.reason}
        case e.SendFailed():
            return logging.WARNING, "delivery failed", {**_failed(event.failure), "ambiguous": event.ambiguous}
        case e.NoteSendFailed():
            told: dict[str, object] = {"note": event.note_id, **_failed(event.failure), "ambiguous": event.ambiguous}
            return logging.WARNING, "note delivery failed", told
        case e.DeadLettered():
            letter = event.letter
            told = {"entry": letter.id, "changed": ",".join(letter.fields), **_failed(letter.error)}
            return logging.WARNING, "dead letter", told
        case e.RunEnded():
            run: dict[str, object] = {"run": event.run_id, "status": event.status, "drifts": sum(event.found.values())}
            loud = logging.WARNING if event.status in ("stopped", "interrupted") else logging.INFO
            return loud, "reconcile run ended", {**run, **({"reason": event.reason} if event.reason else {})}
        case _:
            return _step(event)


def _merged(event: e.Merged) -> Told:
    """The end of an edit in ServiceNow, or of one that a person must decide on; else a step."""
    decisions: dict[str, object] = {}
    if event.decided:
        decisions["decisions"] = ", ".join(f"{one.field}: {one.reason}" for one in event.decided)
    taken = [one.field for one in event.decided if not isinstance(one.value, UnsetType)]
    held = [one.id for one in event.conflicts if one.status == "pending"]
    if taken:
        return logging.INFO, "taken over", {"changed": ",".join(taken), **decisions}
    if held:
        return logging.INFO, "held for review", {"conflicts": ",".join(held), **decisions}
    return logging.DEBUG, "decided" if decisions else "", decisions


def _run_ended(event: e.RunEnded) -> Told:
    """A run that did what it was to do, or one that somebody should look at."""
    level = logging.INFO if event.status == "finished" else logging.WARNING
    found = ",".join(f"{cause}:{count}" for cause, count in event.found.items())
    told: dict[str, object] = {"run": event.run_id, "status": event.status}
    return (
        level,
        "run ended",
        told | ({"found": found} if found else {}) | ({"reason": event.reason} if event.reason else {}),
    )


def _step(event: e.Event) -> Told:
    """What lies on the way of a change."""
    match event:
        case e.IncidentDeclared():
            return logging.DEBUG, "incident declared", {"origin": event.origin or "platform"}
        case e.IncidentEdited():
            return logging.DEBUG, "incident edited", {"changed": ",".join(event.changes)}
        case e.NoteAdded():
            return logging.DEBUG, "note added", {"note": event.note_id}
        case e.Hinted():
            return logging.DEBUG, "told of a change", {"record": event.external_id, "is_new": event.hint is not None}
        case e.Observed():
            seen = event.observation
            return logging.DEBUG, "seen", {"record": _record(seen), "count": seen.mod_count, "by": seen.updated_by}
        case e.SendStarted():
            attempt = event.attempt
            return logging.DEBUG, "being sent", {"kind": attempt.kind, "changed": ",".join(attempt.sent)}
        case e.RunStarted():
            run = event.run
            return logging.DEBUG, "reconcile run started", {"run": run.id, "mode": run.mode, "trigger": run.trigger}
        case e.DeadLetterRetried():
            return logging.DEBUG, "dead letter tried again", {"entry": event.letter_id}
        case e.ConflictSettled():
            winner = event.winner or "nobody"
            return logging.DEBUG, "conflict settled", {"conflict": event.conflict_id, "winner": winner}
        case _:
            return logging.DEBUG, "", {}


def _record(seen: Observation) -> str:
    return seen.number or seen.external_id


def _failed(failure: Failure) -> dict[str, object]:
    return {"kind": failure.kind, "reason": failure.message}
