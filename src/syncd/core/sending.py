"""Writing to ServiceNow, as decisions: what to send on a fresh read, and what an answer means for the link.

The outbox says that a link must be written, never what (docs/sync.md, "Delivery"). An attempt is on record before its
request leaves; the base moves only when the write is known to have happened. Creates are looked up by correlation id
before they are repeated. Which entries are due, and in what order, is ``outbox.py``.
"""

from typing import Final

from msgspec import Struct, UnsetType

from syncd.core import links, mapping
from syncd.core.deciding import plan, shown_as
from syncd.core.duration import duration_s
from syncd.core.events import (
    Change,
    DeadLettered,
    Event,
    Hinted,
    LinkJoined,
    Observed,
    SendCleared,
    SendFailed,
    SendSettled,
    SendStarted,
)
from syncd.core.letters import columns_for, dead_letter
from syncd.core.model import (
    SYNCED_FIELDS,
    Attempt,
    DeadLetter,
    Failure,
    FieldBase,
    Half,
    Halves,
    Hint,
    Incident,
    Integration,
    Link,
    Observation,
    Operation,
)
from syncd.core.state import State
from syncd.errors import Outcome

CORRELATION_PREFIX: Final = "syncd:"
QUOTAS_LOOKED_UP: Final = 2  # how many transaction quotas an unconfirmed create is looked for before it is repeated
LOCKING_STATUSES: Final = frozenset({"closed", "canceled"})
AFTER_NOTE_S: Final = 0.5
NODE_LAG_S_MAX: Final = 60.0
REREAD_S: Final = 1.0
NOTHING: Final = Change[None]("", (), result=None)


class Offset(Struct, frozen=True):
    """The instance's clock minus ours, and how wrong that may be, both in seconds."""

    s: float = 0.0
    error_s: float = 1.0


def correlation_id(link: Link) -> str:
    """What a record of ours carries: unique over instances, organizations and restored backups."""
    return f"{CORRELATION_PREFIX}{link.integration_id}:{link.incident_id}"


def news(link: Link, seen: Observation) -> bool:
    """The record shows something of ours that it did not show before."""
    if link.observed is None or link.observed.external_id != seen.external_id:
        return True
    before = link.observed.columns
    return any(mapping.raw_of(field, before) != mapping.raw_of(field, seen.columns) for field in SYNCED_FIELDS)


def is_stale(link: Link, seen: Observation, asked: int, at_s: float) -> bool:
    """An older picture than the one we have: its count is lower, and it was asked for before the newer one came, or

    so soon after it that a node which lags behind may have answered. A count that stays lower is a restored record.
    """
    if seen.mod_count is None or link.known_count is None or seen.mod_count >= link.known_count:
        return False
    return asked < link.observed_at or at_s < link.observed_at_s + NODE_LAG_S_MAX


def looks_up(link: Link) -> bool:
    """A create whose outcome is unknown must be looked for before anything else."""
    return link.state == "pending" and (link.in_flight is not None or bool(link.unsettled))


def _stream(integration: Integration) -> str:
    return integration.settings.organization_id


def prepare_update(
    state: State, at_s: float, name: str, seen: Observation, asked: int, offset: Offset
) -> Change[Attempt | None]:
    """Merge a fresh read and put the write of what remains on record; None when nothing remains.

    ``asked``: the journal's position when the read was sent. None as well when a webhook has told since then of a
    newer change: the entry stays due, to be read again, or we would knowingly write over it.
    """
    link = state.links.get(name)
    if link is None or link.outbox is None or link.state != "active" or _told_since(state, link, seen, asked):
        return Change("", (), result=None)
    integration, incident = state.integrations[link.integration_id], state.incidents[link.incident_id]
    if not integration.settings.runs:
        return Change("", (), result=None)
    if _is_behind(state, link, seen, asked, at_s):
        failure = Failure("behind", "the read shows an older record than the one we know of; it is made again")
        postponed = SendFailed(name, failure, at_s + REREAD_S, ambiguous=link.in_flight is not None)
        return Change(_stream(integration), (postponed,), result=None)
    events: list[Event] = []
    if is_stale(link, seen, asked, at_s) and link.observed is not None:
        seen = link.observed  # what was asked for later has come before; it says what the record holds
    elif news(link, seen):
        observed = Observed(name, seen, offset.s, offset.error_s)
        events.append(observed)
        link = links.after_observed(link, observed, state.position + 1, at_s)
    merged, fields = plan(link, incident, integration, state, at_s)
    if not fields:
        events.append(merged if merged.decided or merged.conflicts or events else SendCleared(name))
        return Change(_stream(integration), tuple(events), result=None)
    if merged.decided or merged.conflicts or events:
        events.append(merged)
    if link.notes and incident.status in LOCKING_STATUSES:
        fields = tuple(field for field in fields if field != "status")
        if not fields:
            waits = Failure("waiting", "a closed record takes no work notes, so those that wait go first")
            next_at_s = max(at_s, link.notes[0].next_at_s) + AFTER_NOTE_S
            events.append(SendFailed(name, waits, next_at_s, ambiguous=False))
            return Change(_stream(integration), tuple(events), result=None)
    if link.outbox is not None and link.outbox.separately:
        fields = fields[:1]
    attempt = _update(incident, integration, fields, seen, state.position + 1, at_s)
    events.append(SendStarted(name, attempt))
    return Change(_stream(integration), tuple(events), result=attempt)


def _told_since(state: State, link: Link, seen: Observation, asked: int) -> bool:
    """A hint journaled after the read left names a change that the read does not show."""
    hint = state.hints.get(link.integration_id, {}).get(link.external_id)
    if hint is None or hint.position <= asked:
        return False
    return hint.mod_count is None or seen.mod_count is None or hint.mod_count > seen.mod_count


def _is_behind(state: State, link: Link, seen: Observation, asked: int, at_s: float) -> bool:
    """The read was asked for late enough and still shows less than is known: a node that lags behind has answered."""
    if seen.mod_count is None:
        return False
    hint = state.hints.get(link.integration_id, {}).get(link.external_id)
    if hint is not None and hint.mod_count is not None and hint.mod_count > seen.mod_count:
        return True
    return asked >= link.observed_at and is_stale(link, seen, asked, at_s)


def _update(
    incident: Incident, integration: Integration, fields: tuple[str, ...], seen: Observation, number: int, at_s: float
) -> Attempt:
    sent = {field: incident.value(field) or "" for field in fields}
    columns = columns_for(fields, incident, integration, seen.columns)
    before = {field: raw for field in fields if isinstance(raw := mapping.raw_of(field, seen.columns), str)}
    return Attempt(number, "update", sent, columns, at_s, before, seen.mod_count)


def _create(link: Link, incident: Incident, integration: Integration, number: int, at_s: float) -> Attempt:
    """A record is created open; a status that has moved on follows as an update, with the close data it needs."""
    values = {field: incident.value(field) or "" for field in SYNCED_FIELDS} | {"status": "open"}
    sent = {field: value for field, value in values.items() if value}  # an empty text is not: a template may fill it
    columns = mapping.transition_defaults(integration.settings.external_defaults, "create")
    columns |= mapping.put({field: value for field, value in sent.items() if field != "status"}, {})
    columns["correlation_id"] = correlation_id(link)
    return Attempt(number, "create", sent, columns, at_s)


def would_send(state: State, letter: DeadLetter) -> dict[str, str]:
    """The columns that a retry of a dead letter would send as things stand; empty when the difference has gone."""
    link, incident = state.links[letter.link_id], state.incidents[letter.incident_id]
    integration = state.integrations[letter.integration_id]
    if letter.operation == "create":
        return _create(link, incident, integration, 0, 0.0).columns
    return columns_for(letter.fields, incident, integration, link.observed.columns if link.observed else {})


def prepare_create(state: State, at_s: float, name: str) -> Change[Attempt | None]:
    """Put the first POST for a pending link on record; None when there is nothing to create (any more)."""
    link = state.links.get(name)
    if link is None or link.outbox is None or link.state != "pending" or looks_up(link):
        return Change("", (), result=None)
    integration = state.integrations[link.integration_id]
    if not integration.settings.writes:
        return Change("", (), result=None)
    attempt = _create(link, state.incidents[link.incident_id], integration, state.position + 1, at_s)
    return Change(_stream(integration), (SendStarted(name, attempt),), result=attempt)


def settle_lookup(
    state: State,
    at_s: float,
    name: str,
    found: list[Observation],
    next_at_s: float,
    offset: Offset,
    *,
    looked_at_s: float,
) -> Change[Attempt | None]:
    """What a look for our correlation id showed: adopt the record, look again later, or create it after all.

    ``looked_at_s``: when the look was begun; a record that came after it was not seen.
    """
    link = state.links.get(name)
    if link is None or not looks_up(link):
        return Change("", (), result=None)
    integration, incident = state.integrations[link.integration_id], state.incidents[link.incident_id]
    free = [seen for seen in found if (integration.id, seen.external_id) not in state.link_of_record]
    mine = [seen for seen in free if seen.correlation_id == correlation_id(link)]
    if mine:
        first = min(mine, key=lambda seen: (seen.created_at_s or 0.0, seen.external_id))
        # Somebody may have noted something in it while it was not known.
        hinted = look_again(state, integration.id, first.external_id, at_s)
        return Change(_stream(integration), (adopt(link, first, offset), hinted), result=None)
    quota, last = integration.settings.transaction_quota, link.unsettled[-1] if link.unsettled else None
    if (
        link.in_flight is not None
        or last is None
        or not is_over(last.started_at_s, last.ended_at_s, quota, looked_at_s)
    ):
        failure = Failure("unconfirmed", "the create got no clear answer; looking for the record before repeating it")
        return Change(_stream(integration), (SendFailed(name, failure, next_at_s, ambiguous=True),), result=None)
    if integration.drops_correlation:
        words = "the create got no clear answer, and this instance drops the correlation id that would tell"
        letter = _letter(state, link, SYNCED_FIELDS, Failure("unconfirmed", words), at_s, hold=True)
        return Change(_stream(integration), (letter,), result=None)
    if not integration.settings.writes:
        return Change("", (), result=None)
    attempt = _create(link, incident, integration, state.position + 1, at_s)
    return Change(_stream(integration), (SendStarted(name, attempt),), result=attempt)


def is_over(started_at_s: float, ended_at_s: float | None, transaction_quota: str, looked_at_s: float) -> bool:
    """A transaction lives for one quota: whatever the request was to make had been made when we looked.

    ``ended_at_s``: when we gave the request up.
    """
    quota_s = duration_s(transaction_quota)
    given_up_s = started_at_s if ended_at_s is None else ended_at_s
    return looked_at_s >= max(started_at_s + QUOTAS_LOOKED_UP * quota_s, given_up_s + quota_s)


def look_again(state: State, integration_id: str, external_id: str, at_s: float) -> Hinted:
    """A hint of our own to look at a record."""
    hint = Hint(external_id, state.position + 1, f"look-{external_id}", next_at_s=at_s)
    return Hinted(integration_id, external_id, hint)


def adopt(link: Link, seen: Observation, offset: Offset) -> LinkJoined:
    """Join a pending link to a record that carries its correlation id."""
    attempts = (*link.unsettled, *((link.in_flight,) if link.in_flight else ()))
    settled: dict[str, Halves] = {}
    for field in SYNCED_FIELDS:
        raw = mapping.raw_of(field, seen.columns)
        shown = mapping.meaning(field, raw)
        sent = [one.sent[field] for one in reversed(attempts) if field in one.sent]
        if not sent:
            continue
        value = next((one for one in sent if shown_as(one, shown)), sent[0])  # any of the attempts may have made it
        untouched = seen.mod_count == 0 or shown_as(value, shown)
        settled[field] = Halves(value, raw if untouched else mapping.raw_as_written(field, value))
    return LinkJoined(link.id, link.integration_id, link.incident_id, seen, settled, offset.s, offset.error_s)


def settle(state: State, at_s: float, name: str, number: int, echo: Observation, offset: Offset) -> Change[None]:
    """A write that ServiceNow confirmed: the echo is what it made of it, and an ordinary look at everything else."""
    link = state.links.get(name)
    if link is None or link.in_flight is None or link.in_flight.number != number:
        return NOTHING
    integration, incident = state.integrations[link.integration_id], state.incidents[link.incident_id]
    sent = link.in_flight.sent
    halves = {field: Halves(value, mapping.raw_of(field, echo.columns)) for field, value in sent.items()}
    unseen = _writes_between(link.in_flight, echo)
    settled = SendSettled(name, number, echo, halves, offset.s, offset.error_s, unseen)
    after = links.after_settled(link, settled, state.position + 1, at_s)
    events: list[Event] = [settled]
    if integration.settings.runs:  # else the fold leaves the link marked for the time when it runs again
        merged, fields = plan(after, incident, integration, state, at_s)
        if merged.decided or merged.conflicts or fields:
            events.append(merged)
    changed = tuple(field for field in sent if not _is_kept(link, link.in_flight, field, halves[field].external))
    if changed:
        words = ", ".join(f"{field} {sent[field]!r} became {_shown(halves[field].external)}" for field in changed)
        failure = Failure("not-kept", f"ServiceNow answered success but kept something else: {words}", status=200)
        events.append(_letter(state, link, changed, failure, at_s, hold=False))
    return Change(_stream(integration), tuple(events), result=None)


def _writes_between(attempt: Attempt, echo: Observation) -> int:
    """How often others wrote the record between our read and our write: ServiceNow has no conditional write."""
    if attempt.read_count is None or echo.mod_count is None:
        return 0
    return max(0, echo.mod_count - attempt.read_count - 1)


def _is_kept(link: Link, attempt: Attempt, field: str, raw: Half) -> bool:
    """The echo shows what was sent, or what a column limit left of it; what stood there before is no cut."""
    sent, shown = attempt.sent[field], mapping.meaning(field, raw)
    if shown == sent or not shown_as(sent, shown):
        return shown == sent
    base = link.base.get(field, FieldBase())
    was_cut = base.platform != shown and isinstance(base.platform, str) and shown_as(base.platform, shown)
    return raw != attempt.before.get(field) or was_cut


def _shown(raw: Half) -> str:
    return "a field that we may not read" if isinstance(raw, UnsetType) else repr(raw)


def fail(
    state: State, at_s: float, name: str, number: int, outcome: Outcome, failure: Failure, next_at_s: float
) -> Change[None]:
    """An attempt that did not succeed, as far as can be known. A refusal of several groups is sent again one by one."""
    link = state.links.get(name)
    if link is None or link.in_flight is None or link.in_flight.number != number:
        return NOTHING
    stream = _stream(state.integrations[link.integration_id])
    attempt = link.in_flight
    if outcome != "refused":
        return Change(stream, (SendFailed(name, failure, next_at_s, ambiguous=outcome == "ambiguous"),), result=None)
    if attempt.kind == "update" and len(attempt.sent) > 1:
        apart = SendFailed(name, failure, at_s, ambiguous=False, separately=True)
        return Change(stream, (apart,), result=None)
    fields = SYNCED_FIELDS if attempt.kind == "create" else tuple(attempt.sent)
    return Change(stream, (_letter(state, link, fields, failure, at_s, hold=True),), result=None)


def postpone(state: State, name: str, failure: Failure, next_at_s: float) -> Change[None]:
    """The entry could not even be tried: the record could not be read, or looked up.

    An attempt that a crash left behind is as unclear as it was.
    """
    link = state.links.get(name)
    if link is None or link.outbox is None:
        return NOTHING
    stream = _stream(state.integrations[link.integration_id])
    return Change(stream, (SendFailed(name, failure, next_at_s, ambiguous=link.in_flight is not None),), result=None)


def _letter(
    state: State, link: Link, fields: tuple[str, ...], failure: Failure, at_s: float, *, hold: bool
) -> DeadLettered:
    is_create = hold and link.state == "pending"  # what was created and not kept as sent is a matter of updates now
    operation: Operation = "create" if is_create else "update"
    attempts = link.outbox.attempts + 1 if link.outbox is not None else 1
    return dead_letter(state, link, operation, fields, failure, at_s, attempts=attempts, hold=hold)
