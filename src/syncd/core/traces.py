"""Trace ids: one word for each change, on everything that happens for it.

Changes that wait together go on together: what is done for several has all of their ids, with ``+`` between them, so
that looking for any one of them finds the whole way of its change.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from syncd.core import events as e
from syncd.core.state import State, link_id

IDS_MAX: Final = 8  # the first, and the newest; a record told of five hundred times has a burst, not a story
BETWEEN: Final = "+"
TRACED: Final = frozenset({e.IncidentDeclared, e.LinkOpened, e.LinkJoined, e.NoteAdded, e.Observed})


def join(before: str, trace: str) -> str:
    """The ids of both, each once, the oldest first."""
    if not before or before == trace:
        return trace
    ids = list(dict.fromkeys(one for one in (*before.split(BETWEEN), *trace.split(BETWEEN)) if one))
    return BETWEEN.join(ids if len(ids) <= IDS_MAX else [ids[0], *ids[1 - IDS_MAX :]])


def of_event(record: e.Record, event: e.Event) -> e.Record:
    """The record as far as one of its events goes: a record that tells of several changes names each one's own id."""
    if type(event) not in TRACED or not (own := getattr(event, "trace", "")):
        return record
    return replace(record, trace=own)


def named(
    events: Sequence[e.Event], traces: Mapping[str, str], state: State, integration_id: str
) -> tuple[e.Event, ...]:
    """The events that one answer gave, each with the id of its own change. ``traces``: by record; empty: it is one."""
    if not traces:
        return tuple(events)
    record_of = {one.incident_id: one.observation.external_id for one in events if isinstance(one, e.LinkJoined)}
    found: list[e.Event] = []
    for event in events:
        if isinstance(event, e.Observed | e.LinkJoined):
            found.append(replace(event, trace=traces.get(event.observation.external_id, "")))
        elif isinstance(event, e.IncidentDeclared | e.NoteAdded):
            link = state.links.get(link_id(integration_id, event.incident_id))
            record = record_of.get(event.incident_id, link.external_id if link is not None else "")
            found.append(replace(event, trace=traces.get(record, "")))
        else:
            found.append(event)
    return tuple(found)
