"""What happened, as CloudEvents 1.0: an incident's timeline, and the live stream of everything.

A view: it reads the journal's facts and keeps nothing. Ids are ``<position>-<index>``, so the same event is the same in
every answer, and a reader knows where it stands. What each event tells is in ``telling.py``.
"""

import re
from collections.abc import Iterable, Mapping
from math import inf
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from syncd.core import events as e
from syncd.core.model import Incident
from syncd.core.state import State
from syncd.core.telling import told
from syncd.core.traces import of_event
from syncd.core.views import Time, rfc3339

Place = tuple[int, float, float]

PLACE_PATTERN: Final = r"([0-9]{1,18})(?:-([0-9]{1,6})(?:-([0-9]{1,6}))?)?"
_PLACE: Final = re.compile(PLACE_PATTERN)


class CloudEvent(Struct, frozen=True, kw_only=True):
    """CloudEvents 1.0, structured mode. `subject`: the incident, or else the integration or token it is about.

    The extension attributes: `position`, `by`, `trace`; `integration`, a handle, where one is concerned; `principal`
    and `address` when a caller asked for it: which token or user, and from where.
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
    integration: str | UnsetType = UNSET
    principal: str | UnsetType = UNSET
    address: str | UnsetType = UNSET
    data: Mapping[str, object]


def entries(state: State, records: Iterable[e.Record], incident_id: str) -> list[CloudEvent]:
    """What these records say about one incident, in their order. With an integration its links go, and it is told."""
    return [
        one
        for record in records
        for one in happened(state, record)
        if one.subject == incident_id or one.type == "im.integration.deleted"
    ]


def beginning(incident: Incident, oldest: e.Record, removed: int) -> CloudEvent:
    """What stands before the rest where history was removed: from when on it is kept.

    Its id is the place from which a stream tells all that is kept.
    """
    return CloudEvent(
        id=str(oldest.position - 1),
        source=f"/organizations/{incident.organization_id}",
        type="im.incident.history_begins",
        time=rfc3339(oldest.at_s),
        subject=incident.id,
        position=oldest.position - 1,
        by="syncd",
        trace="",
        data={"kept_from": oldest.position, "removed_records": removed},
    )


def happened(state: State, record: e.Record) -> list[CloudEvent]:
    """Everything that one record says. ``state`` gives the names of integrations, and nothing else."""
    found = []
    for index, event in enumerate(record.events):
        of = of_event(record, event)
        incident_id, integration_id = _concerned(event)
        integration = state.integrations.get(integration_id)
        for number, (kind, content) in enumerate(told(event)):
            found.append(
                CloudEvent(
                    id=f"{record.position}-{index}" + (f"-{number}" if number else ""),
                    source=f"/integrations/{integration_id}" if integration_id else f"/organizations/{record.stream}",
                    type=f"im.{kind}",
                    time=rfc3339(record.at_s),
                    subject=incident_id or integration_id or _name(event),
                    position=record.position,
                    by=record.by,
                    trace=of.trace,
                    integration=integration.settings.handle if integration is not None else integration_id or UNSET,
                    principal=record.source.principal if record.source else UNSET,
                    address=record.source.address if record.source else UNSET,
                    data=content,
                )
            )
    return found


def _concerned(event: e.Event) -> tuple[str, str]:
    """The incident and the integration that an event is about; empty for what it is not about."""
    match event:
        case e.DeadLettered():
            link_id = event.letter.link_id
        case e.IntegrationConfigured():
            return "", event.integration.id
        case e.RunStarted():
            return "", event.run.integration_id
        case _:
            # A link's name is ``<integration>/<incident>``, so it can be read when the link is long gone.
            link_id = getattr(event, "link_id", "")
    integration_id, _, incident_id = link_id.partition("/")
    return incident_id or getattr(event, "incident_id", ""), integration_id or getattr(event, "integration_id", "")


def _name(event: e.Event) -> str:
    """What an event is about that is about no incident and no integration."""
    match event:
        case e.TokenCreated():
            return event.token.id
        case e.TokenRevoked() | e.TokenUsed():
            return event.token_id
        case _:
            return e.DAEMON_STREAM


def place_of(event_id: str) -> Place | None:
    """Where an event stands; of a bare position: behind its whole record. None for what is neither."""
    match = _PLACE.fullmatch(event_id)
    if match is None:
        return None
    position, index, number = match.groups()
    return int(position), inf if index is None else int(index), inf if index is None else int(number or 0)
