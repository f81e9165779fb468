"""What differs between the two sides although nothing is in flight, why, and what healing would do about it.

Healing is the ordinary merge, so this asks the merge what it would do with what was read, and changes nothing
(docs/sync.md, "Drift and runs").
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from msgspec import Struct, UnsetType

from syncd.core import links
from syncd.core.brake import Weight
from syncd.core.deciding import plan
from syncd.core.duration import duration_s
from syncd.core.events import IncidentDeclared, LinkJoined, LinkReleased, Merged, NoteAdded, Observed
from syncd.core.hints import Read, settle_read, to_be_noted
from syncd.core.lens import Lens, lens_of
from syncd.core.merge import HELD
from syncd.core.model import DeadLetter, FieldBase, Half, Incident, Integration, Link, Observation
from syncd.core.run import NOTES_FIELD, RECORD_FIELD, TEXT_LETTERS_KEPT, Cause, Drift
from syncd.core.sending import CORRELATION_PREFIX, Offset
from syncd.core.state import State, link_id

SHUT: Final = ("resolved", "closed", "canceled")
STAMP_S: Final = 1.0  # ServiceNow stamps whole seconds
POLL_S: Final = 5.0  # what a poll itself may take
LETTER_RESTS_S: Final = 300.0  # two runs in a row do not send the same refused write twice
NOT_REFUSED: Final = ("unconfirmed", "not-kept")  # only a person may have these sent again


class Downtime(Struct, frozen=True):
    """When the daemon was last not there to be told: between its last sign of life and its start, on our clock."""

    from_s: float
    until_s: float


class Finding(Struct, frozen=True):
    """One drift. ``weight``: what the brake counts; ``place``: the link, or else the record, that it is about."""

    drift: Drift
    place: str
    weight: Weight = ""


def is_in_flight(state: State, link: Link) -> bool:
    """A hint, a dirty mark or an outbox entry names the link: what differs is on its way already."""
    return (
        link.outbox is not None
        or link.in_flight is not None
        or bool(link.notes)
        or link.id in state.dirty.get(link.integration_id, {})
        or link.external_id in state.hints.get(link.integration_id, {})
    )


def candidates(state: State, at_s: float, integration: Integration, read: Read, missing: Iterable[str]) -> set[str]:
    """The records of a first look that must be read again: something is new, missing, or nowhere on its way."""
    found = {one for one in missing if (link := _link_of(state, integration, one)) is None or not link.gone_there}
    found |= set(to_be_noted(state, integration, read.rows, (), read.wanted, read.offset))
    for event in settle_read(state, at_s, integration.id, read).events:
        match event:
            case Observed() | LinkReleased():
                found.add(state.links[event.link_id].external_id)
            case LinkJoined():
                found.add(event.observation.external_id)
    for seen in read.rows:
        link = _link_of(state, integration, seen.external_id)
        if link is not None and _undelivered(state, at_s, integration, link):
            found.add(seen.external_id)
    return found


def found_in(
    state: State, at_s: float, integration: Integration, read: Read, down: Downtime | None = None
) -> list[Finding]:
    """The drifts that a second look shows. ``read.missing``: linked records that neither look has shown."""
    found: list[Finding] = []
    noted: dict[str, list[NoteAdded]] = {}
    joined: list[LinkJoined] = []
    new: set[str] = set()
    observed: set[str] = set()
    for event in settle_read(state, at_s, integration.id, read).events:
        match event:
            case Observed():
                link = state.links[event.link_id]
                observed.add(link.external_id)
                stamp_s = event.observation.updated_at_s
                if not (is_in_flight(state, link) or _is_for_the_next_poll(integration, at_s, stamp_s, read.offset)):
                    found += _of_observed(state, at_s, integration, link, event, down)
            case NoteAdded():
                noted.setdefault(event.incident_id, []).append(event)
            case IncidentDeclared():
                new.add(event.incident_id)
            case LinkJoined():
                joined.append(event)
    for one in joined:
        is_new = one.incident_id in new
        action = "declare an incident for the record" if is_new else "link the record to its incident"
        found.append(_of_record("" if is_new else one.incident_id, one.observation, "unlinked-on-one-side", action))
    joins = {one.incident_id for one in joined}
    found += [_of_notes(state, integration, name, notes) for name, notes in noted.items() if name not in joins]
    for seen in read.rows:
        own = _link_of(state, integration, seen.external_id)
        if own is not None and seen.external_id not in observed:
            found += _of_undelivered(state, at_s, integration, own)
    return found + list(_of_missing(state, integration, read.missing))


def _is_for_the_next_poll(integration: Integration, at_s: float, stamp_s: float | None, offset: Offset) -> bool:
    """It changed so lately that a poll may not have asked yet; a poll is what tells where no webhook does."""
    interval = integration.settings.poll_interval
    if interval == "off" or stamp_s is None:
        return False
    return at_s - (stamp_s - offset.s) <= duration_s(interval) + POLL_S


def _link_of(state: State, integration: Integration, external_id: str) -> Link | None:
    return state.links.get(state.link_of_record.get((integration.id, external_id), ""))


def _of_observed(
    state: State, at_s: float, integration: Integration, link: Link, event: Observed, down: Downtime | None
) -> Iterator[Finding]:
    lens, incident = lens_of(integration.settings), state.incidents[link.incident_id]
    after = links.after_observed(link, event, state.position + 1, at_s, lens)
    merged, to_write = plan(after, incident, integration, state, at_s)
    before = link.observed.columns if link.observed is not None else {}
    cause: Cause = "missed-webhook"
    if down is not None and _is_within(event, down):
        cause = "edit-while-down"
    for field in lens.fields:
        raw = lens.raw_of(field, event.observation.columns)
        if raw == lens.raw_of(field, before) and field not in to_write:
            continue
        action, weight = _outcome(lens, merged, to_write, incident, field, raw)
        if action:
            hidden: Cause = "deleted-or-hidden" if weight == "hides" else cause
            yield _of_field(lens, link, incident, field, raw, hidden, action, weight)


def _is_within(event: Observed, down: Downtime) -> bool:
    """The record was written last while nobody listened, as far as its stamp tells."""
    stamp_s = event.observation.updated_at_s
    if stamp_s is None:
        return False
    at_s = stamp_s - event.offset_s
    slack_s = event.offset_error_s + STAMP_S
    return down.from_s - slack_s <= at_s <= down.until_s + slack_s


def _outcome(
    lens: Lens, merged: Merged, to_write: Sequence[str], incident: Incident, field: str, raw: Half
) -> tuple[str, Weight]:
    """What healing would do about one field, and what the brake counts; empty where nothing is to be done."""
    now = incident.value(field) or ""
    decided = next((one for one in merged.decided if one.field == field), None)
    weight: Weight = ""
    if field in to_write:
        shown = lens.meaning(field, raw, now)
        closes = field == "status" and (isinstance(shown, UnsetType) or _closes(shown, now))
        weight = "closes" if closes and now in SHUT else "clears" if not now and shown else ""
        return "write the platform's value to ServiceNow", weight
    if any(one.field == field and one.reason in HELD and one.status == "pending" for one in merged.conflicts):
        return "hold it for a person", weight
    if decided is not None and isinstance(decided.value, str):
        value = decided.value
        weight = "closes" if field == "status" and _closes(now, value) else weight
        weight = "clears" if now and not value else weight
        return "take over ServiceNow's value", weight
    if isinstance(raw, UnsetType):
        return "none: our account may not read the field", "hides"
    return "", weight


def _closes(before: str, after: str) -> bool:
    """The status goes to a later end than the one that it has: resolved, then closed or canceled."""
    return after in SHUT and (before not in SHUT or (before == "resolved" and after != before))


def _of_undelivered(state: State, at_s: float, integration: Integration, link: Link) -> Iterator[Finding]:
    lens, incident = lens_of(integration.settings), state.incidents[link.incident_id]
    columns = link.observed.columns if link.observed is not None else {}
    for field in _undelivered(state, at_s, integration, link):
        raw = lens.raw_of(field, columns)
        action = "write the platform's value to ServiceNow"
        yield _of_field(lens, link, incident, field, raw, "undelivered", action)


def _undelivered(state: State, at_s: float, integration: Integration, link: Link) -> tuple[str, ...]:
    """What the merge would write, and nothing is under way to do so."""
    if link.state != "active" or is_in_flight(state, link):
        return ()
    return plan(link, state.incidents[link.incident_id], integration, state, at_s)[1]


def _of_missing(state: State, integration: Integration, missing: Iterable[str]) -> Iterator[Finding]:
    for external_id in sorted(missing):
        link = _link_of(state, integration, external_id)
        if link is not None and not link.gone_there and not is_in_flight(state, link):
            record = Observation(external_id, {}, number=link.external_number)
            action = "park the link until the record is shown again"
            yield _of_record(link.incident_id, record, "deleted-or-hidden", action, "parks", place=link.id)


def refused(state: State, at_s: float, integration: Integration) -> Iterator[Finding]:
    """What ServiceNow refused, and a dead letter stands for. Discarded ones are accepted, and no drift."""
    lens = lens_of(integration.settings)
    for letter in state.dead_letters.values():
        link = state.links.get(letter.link_id)
        if link is None or letter.integration_id != integration.id or is_in_flight(state, link):
            continue
        incident = state.incidents[link.incident_id]
        columns = link.observed.columns if link.observed is not None else {}
        action = "try the write again" if may_be_retried(letter, at_s) else f"none by itself: {letter.remedy}"
        if letter.operation == "update":
            for field in letter.fields:
                if field in lens.lenses:
                    raw = lens.raw_of(field, columns)
                    yield _of_field(lens, link, incident, field, raw, "refused-write", action)
        else:
            yield Finding(_of_letter(state, letter, incident, action), link.id)


def may_be_retried(letter: DeadLetter, at_s: float) -> bool:
    """A run may send again what was refused: not what may have been done, or was done and not kept, nor too soon."""
    return letter.error.kind not in NOT_REFUSED and at_s - letter.last_attempt_at_s >= LETTER_RESTS_S


def _of_letter(state: State, letter: DeadLetter, incident: Incident, action: str) -> Drift:
    """A record that could not be made, or a note that could not be added."""
    field, text = RECORD_FIELD, incident.title
    if letter.operation == "note":
        notes = state.notes.get(incident.id, ())
        field, text = NOTES_FIELD, next((note.text for note in notes if note.id == letter.note_id), "")
    return Drift(incident.id, letter.external_id, field, _clipped(text), None, None, "refused-write", action)


def copies(state: State, integration: Integration, rows: Iterable[Observation]) -> Iterator[Finding]:
    """Records that carry our correlation id while their incident is linked to another one."""
    prefix = f"{CORRELATION_PREFIX}{integration.id}:"
    aside = state.set_aside.get(integration.id, {})
    for seen in rows:
        if not seen.correlation_id.startswith(prefix) or seen.external_id in aside:
            continue
        link = state.links.get(link_id(integration.id, seen.correlation_id.removeprefix(prefix)))
        if link is None or not link.external_id or link.external_id == seen.external_id:
            continue
        if (integration.id, seen.external_id) not in state.link_of_record:
            action = f"leave it alone: {link.external_number or link.external_id} is the one that is synced"
            yield _of_record(link.incident_id, seen, "duplicate", action)


def is_healed(state: State, integration_id: str, drift: Drift) -> bool:
    """Nothing is left of it, or it has come to the place where such a thing is kept."""
    link = state.links.get(link_id(integration_id, drift.incident_id))
    if drift.cause == "duplicate":
        return drift.external_id in state.set_aside.get(integration_id, {})
    if drift.cause == "unlinked-on-one-side":
        return (integration_id, drift.external_id) in state.link_of_record
    if drift.cause == "deleted-or-hidden":
        return drift.field == RECORD_FIELD and (link is None or link.gone_there)
    if link is None:
        return True
    letters = state.letters_under(link.id)
    if drift.field in (NOTES_FIELD, RECORD_FIELD):
        operation = "note" if drift.field == NOTES_FIELD else "create"
        return not is_in_flight(state, link) and all(one.operation != operation for one in letters)
    stands = any(drift.field in one.fields for one in letters) or (link.id, drift.field) in state.waiting
    return not (is_in_flight(state, link) or stands)


def _of_field(
    lens: Lens,
    link: Link,
    incident: Incident,
    field: str,
    raw: Half,
    cause: Cause,
    action: str,
    weight: Weight = "",
) -> Finding:
    now = incident.value(field)
    shown = lens.meaning(field, raw, now or "")
    base = link.base.get(field, FieldBase())
    agreed = base.platform if isinstance(base.platform, str) else lens.meaning(field, base.external, now or "")
    drift = Drift(
        incident.id,
        link.external_id,
        field,
        _clipped(now),
        _clipped(raw if isinstance(shown, UnsetType) else shown),
        _clipped(agreed),
        cause,
        action,
        base_external=_clipped(base.external),
    )
    return Finding(drift, link.id, weight)


def _of_record(
    incident_id: str, seen: Observation, cause: Cause, action: str, weight: Weight = "", *, place: str = ""
) -> Finding:
    shown = seen.number or seen.external_id
    external = None if cause == "deleted-or-hidden" else shown
    platform = incident_id or None
    drift = Drift(incident_id, seen.external_id, RECORD_FIELD, platform, external, None, cause, action)
    return Finding(drift, place or seen.external_id, weight)


def _of_notes(state: State, integration: Integration, incident_id: str, notes: Sequence[NoteAdded]) -> Finding:
    link = state.links[link_id(integration.id, incident_id)]
    action = "add the note to the incident" if len(notes) == 1 else f"add {len(notes)} notes to the incident"
    text = "\n".join(note.text for note in notes)
    drift = Drift(incident_id, link.external_id, NOTES_FIELD, None, _clipped(text), None, "missing-note", action)
    return Finding(drift, link.id)


def _clipped(value: Half | None) -> str | None:
    """A value as it is kept in a run; a long text loses its end."""
    if value is None or isinstance(value, UnsetType):
        return None
    return value if len(value) <= TEXT_LETTERS_KEPT else f"{value[:TEXT_LETTERS_KEPT]}… ({len(value)} letters)"
