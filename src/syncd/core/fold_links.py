"""How a link's events change State: decisions, attempts and conflicts, and the incidents they touch.

Part of the fold (``fold.py``), with the same promise: no clock, no chance, no input or output. What an event does to
the link alone is in ``links.py``; here it meets the rest of State.
"""

from collections.abc import Iterable

from msgspec import UnsetType
from msgspec.structs import replace

from syncd.core import events as e
from syncd.core import links, untold
from syncd.core.behind import doubted
from syncd.core.closing import waits_for_autoclose
from syncd.core.lens import lens_of
from syncd.core.looks import looked
from syncd.core.model import DeadLetter, Link, LinkState, Note, NoteEntry, OutboxEntry, Stamp
from syncd.core.outbox import next_entries
from syncd.core.pasts import with_position
from syncd.core.queues import Line, Outbox
from syncd.core.state import State
from syncd.core.state import link_id as name_of
from syncd.core.traces import join
from syncd.core.worknotes import maybe_there

NULLABLE = frozenset({"assigned_to", "service", "resolution_code", "resolution_notes"})  # empty is null there
_NOTHING_TO_WRITE = frozenset({"converged", "not-outbound"})  # so decided, ServiceNow's value may stay as it is
CLOSE_DATA = frozenset({"resolution_code", "resolution_notes"})  # they travel with the status, and may be its remedy


def change_incident(state: State, record: e.Record, incident_id: str, changes: dict[str, str | None]) -> None:
    """Apply effective changes and make the incident's links dirty."""
    incident = state.incidents[incident_id]
    stamp = Stamp(record.at_s, record.by, record.position)
    values: dict[str, object] = {
        field: value or None if field in NULLABLE else value for field, value in changes.items()
    }
    state.incidents[incident_id] = replace(
        incident,
        **values,
        version=incident.version + 1,
        updated_at_s=record.at_s,
        updated_by=record.by,
        stamps=incident.stamps | dict.fromkeys(changes, stamp),
    )
    for link_id in state.links_of.get(incident_id, ()):
        stain(state, record, link_id)
        link = state.links[link_id]
        mended = changes.keys() | ({"status"} if changes.keys() & CLOSE_DATA else frozenset())
        freed = {field: letter for field, letter in link.held.items() if field not in mended}
        if len(freed) != len(link.held):
            state.links[link_id] = link = replace(link, held=freed)
        if link.state == "pending" and link.outbox is None:  # its create was refused: the edit may be the remedy
            enqueue(state, record, link)
        else:
            put_link(state, link)  # another severity is another place in the outbox


def mark(state: State, record: e.Record, incident_id: str) -> None:
    """Remember that this record says something about the incident, for its timeline."""
    incident = state.incidents.get(incident_id)
    if incident is not None:
        state.incidents[incident_id] = with_position(incident, record.position, state.history_from)


def stain(state: State, record: e.Record, name: str) -> None:
    """Make a link dirty: it must be merged. A parked one is tried again, since something about it is new."""
    link = state.links[name]
    if link.state == "parked":
        put_link(state, _released(link))
    dirty = state.dirty.setdefault(link.integration_id, {})
    dirty[name] = join(dirty.get(name, ""), record.trace)


def wake(state: State, record: e.Record, name: str) -> None:
    """Try a link again, if it is parked."""
    if state.links[name].state == "parked":
        stain(state, record, name)


def _released(link: Link) -> Link:
    state: LinkState = "active" if link.external_id else "pending"
    return replace(link, state=state, reason="", closed_there=False, gone_there=False)


def ask_no_more(state: State, record: e.Record, link_id: str, field: str, why: str) -> None:
    """Ignore the conflict that waits for a person over this field, if there is one: what it was about is gone."""
    number = state.waiting.pop((link_id, field), None)
    if number is not None:
        one = state.conflicts[number]
        state.conflicts[number] = replace(
            one,
            status="ignored",
            decided=why,
            version=one.version + 1,
            resolved_at_s=record.at_s,
            resolved_by=record.by,
        )


def drop_link(state: State, record: e.Record, link: Link, why: str) -> None:
    del state.links[link.id]
    left = tuple(one for one in state.links_of.pop(link.incident_id) if one != link.id)
    if left:
        state.links_of[link.incident_id] = left
    state.link_of_record.pop((link.integration_id, link.external_id), None)
    for field in state.pending_conflicts(link.id):
        ask_no_more(state, record, link.id, field, why)
    state.dirty.get(link.integration_id, {}).pop(link.id, None)
    state.outbox[link.integration_id].drop(link.id)
    for letter in state.letters_under(link.id):
        drop_letter(state, letter)


def put_letter(state: State, letter: DeadLetter) -> None:
    """Store a dead letter, and keep true where else it stands."""
    state.dead_letters[letter.id] = letter
    state.letters_of.setdefault(letter.link_id, {})[letter.id] = None
    line = state.retry_lines.setdefault(letter.integration_id, Line())
    line.drop(letter.id)
    if letter.retry_at_s is not None:
        line.put(letter.id, (letter.retry_at_s, letter.id))


def drop_letter(state: State, letter: DeadLetter) -> None:
    del state.dead_letters[letter.id]
    state.retry_lines[letter.integration_id].drop(letter.id)
    state.letters_of[letter.link_id].pop(letter.id)
    if not state.letters_of[letter.link_id]:
        del state.letters_of[letter.link_id]


def put_link(state: State, link: Link) -> None:
    """Store a link and keep the outbox index true."""
    state.links[link.id] = link
    outbox = state.outbox.setdefault(link.integration_id, Outbox())
    if link.outbox is None and not link.notes:
        outbox.drop(link.id)
    else:
        outbox.put(link.id, state.incidents[link.incident_id].severity, next_entries(link), state.at_s)


def enqueue(state: State, record: e.Record, link: Link) -> None:
    """Let a link wait to be written; a parked one is tried again."""
    link = _released(link) if link.state == "parked" else link
    put_link(state, replace(link, outbox=OutboxEntry(record.at_s, record.trace, next_at_s=record.at_s)))


def waiting_notes(state: State, record: e.Record, link: Link, notes: Iterable[Note]) -> tuple[NoteEntry, ...]:
    """The entries for those of these work notes that the link's record is to get."""
    if state.integrations[link.integration_id].settings.sync_direction == "inbound":
        return ()  # like an edit that may not spread, they are settled on their own side
    ours = link.integration_id
    wanted = (note for note in notes if note.origin != ours and note.only_to in {"", ours})
    return tuple(NoteEntry(note.id, record.at_s, record.trace, next_at_s=record.at_s) for note in wanted)


def _new_link(state: State, record: e.Record, link_id: str, integration_id: str, incident_id: str) -> Link:
    state.links_of[incident_id] = (*state.links_of.get(incident_id, ()), link_id)
    state.unlinked.get(integration_id, {}).pop(incident_id, None)
    link = Link(id=link_id, integration_id=integration_id, incident_id=incident_id, created_at_s=record.at_s)
    return replace(link, notes=waiting_notes(state, record, link, state.notes.get(incident_id, ())))


def link_opened(state: State, record: e.Record, event: e.LinkOpened) -> None:
    doubted_at = state.integrations[event.integration_id].doubted_at
    others = state.links_of.get(event.incident_id)  # it may have come back through one, and have its record here, too
    link = _new_link(state, record, event.link_id, event.integration_id, event.incident_id)
    if state.incidents[event.incident_id].begun_at <= doubted_at or (doubted_at and others):
        link = doubted(link, state.notes.get(event.incident_id, ()))
    enqueue(state, record, link)
    mark(state, record, event.incident_id)


def link_joined(state: State, record: e.Record, event: e.LinkJoined) -> None:
    link = state.links.get(event.link_id)
    is_theirs = link is None  # the record was there before the link: what it shows is not what we made of it
    if link is None:
        link = _new_link(state, record, event.link_id, event.integration_id, event.incident_id)
        link = replace(link, notes=maybe_there(state.notes.get(event.incident_id, ()), link.notes))
    link = looked(link, event.asked)
    seen, lens = event.observation, lens_of(state.integrations[event.integration_id].settings)
    link = links.with_halves(link, event.settled, record.at_s, "joined", rule="joined", trace=record.trace)
    link = links.with_observation(
        link,
        seen,
        record.position,
        record.at_s,
        event.offset_s,
        event.offset_error_s,
        lens,
        except_for=() if is_theirs else event.settled,
    )
    put_link(
        state,
        replace(
            link,
            state="active",
            reason="",
            external_id=seen.external_id,
            last_synced_at_s=record.at_s,
            in_flight=None,
            unsettled=(),
            outbox=None,
            held={},
        ),
    )
    state.link_of_record[event.integration_id, seen.external_id] = link.id
    parted = tuple(one for one in state.kept_apart.pop(seen.external_id, ()) if one != event.incident_id)
    if parted:
        state.kept_apart[seen.external_id] = parted
    stain(state, record, link.id)
    _clear_letters(state, link, frozenset(), "create")
    mark(state, record, event.incident_id)


def link_removed(state: State, record: e.Record, event: e.LinkRemoved) -> None:
    link = state.links[event.link_id]
    if link.external_id:
        state.kept_apart[link.external_id] = (*state.kept_apart.get(link.external_id, ()), link.incident_id)
    drop_link(state, record, link, "unlinked")
    mark(state, record, link.incident_id)


def link_parked(state: State, record: e.Record, event: e.LinkParked) -> None:
    link = state.links[event.link_id]
    if event.closed_there:
        link = replace(link, in_flight=None)  # it was refused: it will not land late
    link = links.after_cleared(link)
    put_link(
        state,
        replace(
            link,
            state="parked",
            reason=event.reason,
            closed_there=event.closed_there,
            gone_there=event.gone_there,
        ),
    )
    state.dirty.get(link.integration_id, {}).pop(link.id, None)
    mark(state, record, link.incident_id)


def link_released(state: State, record: e.Record, event: e.LinkReleased) -> None:
    stain(state, record, event.link_id)
    link = state.links[event.link_id]
    if link.state == "pending" and link.outbox is None:
        enqueue(state, record, link)
    mark(state, record, link.incident_id)


def difference_accepted(state: State, record: e.Record, event: e.DifferenceAccepted) -> None:
    link = links.with_halves(
        state.links[event.link_id], event.halves, record.at_s, event.reason, rule=event.reason, trace=record.trace
    )
    put_link(state, replace(untold.kept_here(link, event.halves), in_flight=None, outbox=None))
    stain(state, record, link.id)  # other fields may still differ
    mark(state, record, link.incident_id)


def observed(state: State, record: e.Record, event: e.Observed) -> None:
    link = state.links[event.link_id]
    lens = lens_of(state.integrations[link.integration_id].settings)
    link = links.after_observed(link, event, record.position, record.at_s, lens)
    state.links[link.id] = link
    stain(state, record, link.id)
    mark(state, record, link.incident_id)


def merged(state: State, record: e.Record, event: e.Merged) -> None:
    link = links.after_merged(state.links[event.link_id], event, record.at_s, record.trace)
    link = links.with_edits(link, state.incidents[link.incident_id], record.trace)
    put_link(state, link)
    changes: dict[str, str | None] = {
        one.field: one.value for one in event.decided if not isinstance(one.value, UnsetType)
    }
    if changes:
        change_incident(state, record, link.incident_id, changes)
    met = {one.field for one in event.decided if one.reason in _NOTHING_TO_WRITE or one.field in changes}
    for letter in state.letters_under(link.id):
        if met.issuperset(letter.fields):
            drop_letter(state, letter)  # the difference it stood for is gone, or may stay
    link = state.links[link.id]
    if met & link.held.keys():
        put_link(state, replace(link, held={f: held for f, held in link.held.items() if f not in met}))
    for conflict in event.conflicts:
        state.last_number += conflict.id not in state.conflicts
        state.conflicts[conflict.id] = conflict
        if conflict.status == "pending":
            state.waiting[link.id, conflict.field] = conflict.id
        else:
            state.waiting.pop((link.id, conflict.field), None)
    state.dirty.get(link.integration_id, {}).pop(link.id, None)
    if event.decided or event.conflicts:
        mark(state, record, link.incident_id)


def send_started(state: State, record: e.Record, event: e.SendStarted) -> None:
    link = links.after_started(state.links[event.link_id], event)
    put_link(state, link)
    mark(state, record, link.incident_id)


def send_settled(state: State, record: e.Record, event: e.SendSettled) -> None:
    before = state.links[event.link_id]
    lens = lens_of(state.integrations[before.integration_id].settings)
    link = links.after_settled(before, event, record.position, record.at_s, lens)
    unseen = [field for field, both in event.halves.items() if isinstance(both.external, UnsetType)]
    link = untold.kept_here(link, [*unseen, "status"] if waits_for_autoclose(link) else unseen)
    put_link(state, link)
    state.link_of_record[link.integration_id, link.external_id] = link.id
    integration = state.integrations[link.integration_id]
    learned = integration
    if not learned.account and event.observation.updated_by:
        learned = replace(learned, account=event.observation.updated_by)
    if before.state == "pending":
        learned = replace(learned, drops_correlation=not event.observation.correlation_id)
    state.integrations[integration.id] = learned
    _clear_letters(state, link, frozenset(event.halves), "create" if before.state == "pending" else "update")
    if not integration.settings.runs:  # nothing is decided now; the merge of this echo waits for its time
        stain(state, record, link.id)
    mark(state, record, link.incident_id)


def _clear_letters(state: State, link: Link, fields: frozenset[str], operation: str) -> None:
    """A later success clears what stood in the way."""
    for letter in state.letters_under(link.id):
        if letter.operation == operation and (operation == "create" or fields.issuperset(letter.fields)):
            drop_letter(state, letter)


def send_failed(state: State, record: e.Record, event: e.SendFailed) -> None:
    link = links.after_failed(state.links[event.link_id], event, record.at_s, record.trace)
    put_link(state, link)
    mark(state, record, link.incident_id)


def send_cleared(state: State, record: e.Record, event: e.SendCleared) -> None:
    link = links.after_cleared(state.links[event.link_id])
    put_link(state, link)
    mark(state, record, link.incident_id)


def decided_by(event: e.ConflictSettled) -> str:
    """What a person let stand: a side's value, or one of their own; empty when both stay."""
    is_own = event.winner == "platform" and not isinstance(event.value, UnsetType)
    return "value" if is_own else event.winner or ""


def conflict_settled(state: State, record: e.Record, event: e.ConflictSettled) -> None:
    conflict = state.conflicts[event.conflict_id]
    state.conflicts[conflict.id] = replace(
        conflict,
        status="resolved" if event.winner else "ignored",
        decided=decided_by(event),
        version=conflict.version + 1,
        resolved_at_s=record.at_s,
        resolved_by=record.by,
    )
    link = state.links.get(name_of(conflict.integration_id, conflict.incident_id))
    state.waiting.pop((name_of(conflict.integration_id, conflict.incident_id), conflict.field), None)
    if link is not None:
        lens = lens_of(state.integrations[link.integration_id].settings)
        state.links[link.id] = links.after_verdict(
            lens, link, state.incidents[link.incident_id], conflict, event.winner, record.at_s, record.trace
        )
        stain(state, record, link.id)
    if not isinstance(event.value, UnsetType):
        change_incident(state, record, conflict.incident_id, {conflict.field: event.value})
    mark(state, record, conflict.incident_id)
