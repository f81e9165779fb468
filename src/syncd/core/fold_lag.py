"""Measures lag as the fold goes by: each event that ends a change's way, looked at before it changes State.

Part of the fold (``fold.py``), with the same promise: no clock, no chance, no input or output. What a change waited for
that was no edit (a person's verdict, a new pair, a value put back) does not count from the edit, but from that.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from msgspec import UnsetType

from syncd.core import events as e
from syncd.core.lag import Lags
from syncd.core.model import FieldBase, Incident, Link
from syncd.core.state import State
from syncd.core.state import link_id as name_of

STAMP_S: Final = 1.0  # an edit's span ends with the second of its stamp, and its lag begins with it
# Rules by which a value goes out that nobody has just edited: there the rule's own time counts.
OCCASIONS: Final = frozenset({"decided-by-person", "exclusive", "first-link", "one-empty", "put-back-too-often"})
# Rules by which an edit comes in.
EDITS: Final = frozenset({"one-side-changed", "later-edit", "owner", "order-unknown"})


def _settled(state: State, record: e.Record, event: e.SendSettled) -> None:
    link = state.links[event.link_id]
    incident = state.incidents[link.incident_id]
    begun_s = link.in_flight.started_at_s if link.in_flight is not None else record.at_s
    _outbound(state, record, link, (_edited_at_s(link, incident, field, begun_s) for field in event.halves))


def _edited_at_s(link: Link, incident: Incident, field: str, begun_s: float) -> float:
    """When what is delivered now was edited. An edit that came after the request left is none that it carried."""
    base, stamp = link.base.get(field, FieldBase()), incident.stamps.get(field)
    if base.rule in OCCASIONS:
        return base.ruled_at_s
    edited_at_s = stamp.at_s if stamp is not None else incident.created_at_s
    if edited_at_s > begun_s:
        edited_at_s = link.outbox.since_s if link.outbox is not None else begun_s
    is_made = link.state == "pending"  # a record that is made from the incident has the incident's own past
    return edited_at_s if is_made else max(edited_at_s, link.created_at_s)


def _joined(state: State, record: e.Record, event: e.LinkJoined) -> None:
    incident, link = state.incidents[event.incident_id], state.links.get(event.link_id)
    if link is not None and link.state == "pending":  # a create whose outcome was not clear has been found
        _outbound(state, record, link, (stamp.at_s for stamp in incident.stamps.values()))
        return
    first_s = state.integrations[event.integration_id].first_enabled_at_s
    created_at_s = event.observation.created_at_s
    is_new = incident.begun_at == record.position
    if is_new and first_s is not None and created_at_s is not None and created_at_s - event.offset_s >= first_s:
        _put(state, event.integration_id, inbound_s=record.at_s - (created_at_s - event.offset_s), at_s=record.at_s)


def _merged(state: State, record: e.Record, event: e.Merged) -> None:
    link = state.links[event.link_id]
    moved = [one for one in event.decided if not isinstance(one.value, UnsetType) and one.reason in EDITS]
    spans = [base.edited for one in moved if (base := link.base.get(one.field)) is not None]
    begun = [
        max(span.hi_s - STAMP_S, link.created_at_s)
        for span in spans
        if span is not None and span.hi_s >= link.created_at_s  # else it is older than the pair
    ]
    if begun:
        _put(state, link.integration_id, inbound_s=record.at_s - min(begun), at_s=record.at_s)


def _note_sent(state: State, record: e.Record, event: e.NoteSent) -> None:
    link = state.links[event.link_id]
    _outbound(state, record, link, (note.since_s for note in link.notes if note.note_id == event.note_id))


def _note_added(state: State, record: e.Record, event: e.NoteAdded) -> None:
    link = state.links.get(name_of(event.origin, event.incident_id))
    if link is not None and event.written_at_s is not None and event.written_at_s >= link.created_at_s:
        _put(state, link.integration_id, inbound_s=record.at_s - event.written_at_s, at_s=record.at_s)


def _outbound(state: State, record: e.Record, link: Link, edited_at_s: Iterable[float]) -> None:
    """One change for each write: the oldest edit that it carried."""
    oldest_s = min(edited_at_s, default=None)
    if oldest_s is not None:
        _put(state, link.integration_id, outbound_s=record.at_s - oldest_s, at_s=record.at_s)


def _put(
    state: State, integration_id: str, *, at_s: float, outbound_s: float | None = None, inbound_s: float | None = None
) -> None:
    lags = state.lags.get(integration_id, Lags())
    if outbound_s is not None:
        lags = Lags(lags.outbound.after(outbound_s, at_s), lags.inbound)
    if inbound_s is not None:
        lags = Lags(lags.outbound, lags.inbound.after(inbound_s, at_s))
    state.lags[integration_id] = lags


MEASURES: Final[Mapping[type, Callable[..., None]]] = {
    e.SendSettled: _settled,
    e.LinkJoined: _joined,
    e.Merged: _merged,
    e.NoteSent: _note_sent,
    e.NoteAdded: _note_added,
}
