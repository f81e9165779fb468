"""Tells the log what became durable: one line at info for each change, every event when the sync trace is on.

A view of the journal, so the log never says what a crash could take back. Owns nothing, decides nothing.
"""

import logging
from collections.abc import Sequence
from typing import Final

from syncd.core import events as e
from syncd.telemetry import trace

log: Final = logging.getLogger("syncd.sync")


def narrate(records: Sequence[e.Record]) -> None:
    """One line or more for each record, tied together by its trace id. Never waits."""
    for record in records:
        for event in record.events:
            told = _told(event)
            link = getattr(event, "link_id", "")
            trace(record.trace, type(event).__name__, position=record.position, link=link, **told)
            if told:
                where = {"trace": record.trace, "link": link} if link else {"trace": record.trace}
                is_trouble = isinstance(event, e.SendFailed | e.NoteSendFailed | e.DeadLettered | e.LinkParked)
                level = logging.WARNING if is_trouble else logging.INFO
                log.log(level, _WORDS[type(event)], extra={**where, **told})


_WORDS: Final[dict[type, str]] = {
    e.IncidentDeclared: "incident declared",
    e.IncidentEdited: "incident edited",
    e.LinkJoined: "record linked",
    e.LinkParked: "link parked",
    e.Merged: "decided",
    e.SendSettled: "delivered",
    e.SendFailed: "delivery failed",
    e.NoteSent: "note delivered",
    e.NoteSendFailed: "note delivery failed",
    e.DeadLetterRetried: "dead letter tried again",
    e.DeadLettered: "dead letter",
}


def _told(event: e.Event) -> dict[str, object]:
    """What an operator wants to know of an event; empty for what is only worth a trace."""
    match event:
        case e.IncidentDeclared():
            return {"incident": event.incident_id, "origin": event.origin or "platform"}
        case e.IncidentEdited():
            return {"incident": event.incident_id, "changed": ",".join(event.changes)}
        case e.LinkJoined():
            return {"record": event.observation.number or event.observation.external_id}
        case e.LinkParked():
            return {"reason": event.reason}
        case e.Merged() if event.decided:
            return {"decisions": ", ".join(f"{one.field}: {one.reason}" for one in event.decided)}
        case e.SendSettled():
            crossed = {"unseen_writes": event.unseen_writes} if event.unseen_writes else {}
            return {"record": event.observation.number, "changed": ",".join(event.halves), **crossed}
        case e.NoteSent():
            return {"note": event.note_id}
        case e.DeadLetterRetried():
            return {"entry": event.letter_id}
        case e.NoteSendFailed():
            return {"note": event.note_id, "kind": event.failure.kind, "reason": event.failure.message}
        case e.SendFailed():
            return {"kind": event.failure.kind, "reason": event.failure.message, "ambiguous": event.ambiguous}
        case e.DeadLettered():
            return {"entry": event.letter.id, "changed": ",".join(event.letter.fields), "kind": event.letter.error.kind}
        case _:
            return {}
