"""Writing to ServiceNow, as decisions: what to send on a fresh read, and what an answer means for the link.

The outbox says that a link must be written, never what (docs/sync.md, "Delivery"). An attempt is on record before its
request leaves; the base moves only when the write is known to have happened. Creates are looked up by correlation id
before they are repeated. Which entries are due, and in what order, is ``outbox.py``.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from syncd.core import closing, groups, links, looks, mapping
from syncd.core.deciding import plan
from syncd.core.duration import duration_s
from syncd.core.events import (
    Change,
    DeadLettered,
    Event,
    LinkJoined,
    Observed,
    SendCleared,
    SendFailed,
    SendSettled,
    SendStarted,
)
from syncd.core.lens import Lens, lens_of, person_column
from syncd.core.letters import NOTHING_ASKED, Inquiry, columns_for, dead_letter
from syncd.core.model import (
    Attempt,
    DeadLetter,
    Failure,
    FieldBase,
    Half,
    Halves,
    Incident,
    Integration,
    Link,
    Observation,
    Operation,
    Reroute,
)
from syncd.core.parking import gone_one_by_one
from syncd.core.people import Person
from syncd.core.state import State
from syncd.errors import Outcome

CORRELATION_PREFIX: Final = "syncd:"
QUOTAS_LOOKED_UP: Final = 2  # how many transaction quotas an unconfirmed create is looked for before it is repeated
AFTER_NOTE_S: Final = 0.5
COMPANIONS: Final = {
    "severity": ("impact", "urgency"),
    "status": ("close_code", "close_notes", "hold_reason"),
    "assigned_to": (groups.GROUP_COLUMN,),
}
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


def news(lens: Lens, link: Link, seen: Observation) -> bool:
    """The record shows something of ours that it did not show before."""
    if link.observed is None or link.observed.external_id != seen.external_id:
        return True
    before = link.observed.columns
    if before.get(groups.GROUP_COLUMN) != seen.columns.get(groups.GROUP_COLUMN):
        return True  # whom the record takes as its assignee may hang on it
    return any(lens.raw_of(field, before) != lens.raw_of(field, seen.columns) for field in lens.fields)


def is_stale(link: Link, seen: Observation, asked: int, at_s: float) -> bool:
    """An older picture than the one we have: its count is lower, and it was asked for before the newer one came, or

    so soon after it that a node which lags behind may have answered. A count that stays lower is a restored record.
    Where counts are hidden, the stamp must tell that what was asked for earlier is newer.
    """
    if seen.mod_count is None or link.known_count is None:
        before = link.observed.updated_at_s if link.observed is not None else None
        is_newer = before is None or (seen.updated_at_s is not None and seen.updated_at_s > before)
        return asked < link.looked_at and not is_newer
    if seen.mod_count >= link.known_count:
        return False
    return asked < link.observed_at or at_s < link.observed_at_s + NODE_LAG_S_MAX


def looks_up(link: Link) -> bool:
    """A create whose outcome is unknown must be looked for before anything else."""
    return link.state == "pending" and (link.in_flight is not None or bool(link.unsettled))


def _stream(integration: Integration) -> str:
    return integration.settings.organization_id


def name_to_find(state: State, name: str, seen: Observation | None) -> str | None:
    """The name of whom this link's record is to be assigned to, if it may have to be looked up before the next write.

    ``seen``: the record as it is; None when there is none yet.
    """
    link = state.links.get(name)
    said = state.incidents[link.incident_id].assigned_to if link is not None else None
    if link is None or not said or "assigned_to" in link.held:
        return None
    if seen is None:
        return said
    lens = lens_of(state.integrations[link.integration_id].settings)
    raw = lens.raw_of("assigned_to", seen.columns)
    return None if lens.meaning("assigned_to", raw, said) in (said, UNSET) else said


def prepare_update(
    state: State,
    at_s: float,
    name: str,
    seen: Observation,
    asked: int,
    offset: Offset,
    people: Mapping[str, Person] | None = None,
) -> Change[Attempt | None]:
    """Merge a fresh read and put the write of what remains on record; None when nothing remains.

    ``asked``: the journal's position when the read was sent. None as well when a webhook has told since then of a
    newer change: the entry stays due, to be read again, or we would knowingly write over it. ``people``: whom
    ServiceNow knows by the names that were looked up.
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
    lens = lens_of(integration.settings)
    if is_stale(link, seen, asked, at_s) and link.observed is not None:
        seen = link.observed  # what was asked for later has come before; it says what the record holds
    elif news(lens, link, seen):
        observed = Observed(name, seen, offset.s, offset.error_s, asked=asked)
        events.append(observed)
        link = links.after_observed(link, observed, state.position + 1, at_s, lens)
    else:
        link = looks.looked(link, asked)
    merged, fields = plan(link, incident, integration, state, at_s)
    if merged.decided or merged.conflicts or events:
        events += [merged, *looks.after_merge(state, link, merged, at_s)]
    if not fields:
        return Change(_stream(integration), tuple(events or [SendCleared(name)]), result=None)
    person = _assignee(incident, people or {})
    fields, instead = _may_go(state, link, fields, seen, person, at_s)
    if not fields:
        events += [] if instead is None else [instead]
        return Change(_stream(integration), tuple(events), result=None)
    if link.outbox is not None and link.outbox.separately:
        fields = fields[:1]
    wanted = link.outbox.reroute if link.outbox is not None else None
    attempt = _update(incident, integration, fields, seen, state.position + 1, at_s, person, wanted)
    events.append(SendStarted(name, attempt))
    return Change(_stream(integration), tuple(events), result=attempt)


def _may_go(
    state: State, link: Link, fields: tuple[str, ...], seen: Observation, person: Person | None, at_s: float
) -> tuple[tuple[str, ...], Event | None]:
    """Which of these fields may be written now; where none may, what is to be journaled instead, if anything."""
    integration, incident = state.integrations[link.integration_id], state.incidents[link.incident_id]
    if link.notes and incident.status in closing.SHUT:
        fields = tuple(field for field in fields if field != "status")
        if not fields:
            waits = Failure("waiting", "a closed record takes no work notes, so those that wait go first")
            next_at_s = max(at_s, link.notes[0].next_at_s) + AFTER_NOTE_S
            return (), SendFailed(link.id, waits, next_at_s, ambiguous=False)
    if "status" in fields and closing.is_as_near_as_may_be("status", incident.status, seen.columns, integration):
        return (), closing.left_to_autoclose(link)
    if "assigned_to" in fields and person is not None and person.problem:
        failure = Failure("unresolved-person", person.problem)
        return (), _letter(state, link, ("assigned_to",), failure, at_s, hold=True)
    if person is None:  # renamed since the look-up: the next round asks for the new name
        fields = tuple(field for field in fields if field != "assigned_to")
    return fields, None


def _told_since(state: State, link: Link, seen: Observation, asked: int) -> bool:
    """A hint journaled after the read left names a change that the read does not show."""
    hint = state.hints.get(link.integration_id, {}).get(link.external_id)
    if hint is None or hint.position <= asked:
        return False
    return hint.mod_count is None or seen.mod_count is None or hint.mod_count > seen.mod_count


def _assignee(incident: Incident, people: Mapping[str, Person]) -> Person | None:
    """Whom the incident is assigned to, in ServiceNow's eyes; nobody's ``sys_id`` is empty. None: not looked up."""
    return people.get(incident.assigned_to) if incident.assigned_to else Person()


def _is_behind(state: State, link: Link, seen: Observation, asked: int, at_s: float) -> bool:
    """The read was asked for late enough and still shows less than is known: a node that lags behind has answered.

    Without counts it may as well show more than a look that was asked for after it: what differs is read again.
    """
    if seen.mod_count is None:
        lens = lens_of(state.integrations[link.integration_id].settings)
        return is_stale(link, seen, asked, at_s) and news(lens, link, seen)
    hint = state.hints.get(link.integration_id, {}).get(link.external_id)
    if hint is not None and hint.mod_count is not None and hint.mod_count > seen.mod_count:
        return True
    return asked >= link.observed_at and is_stale(link, seen, asked, at_s)


def _update(
    incident: Incident,
    integration: Integration,
    fields: tuple[str, ...],
    seen: Observation,
    number: int,
    at_s: float,
    person: Person | None,
    wanted: Reroute | None,
) -> Attempt:
    sent = {field: incident.value(field) or "" for field in fields}
    columns = columns_for(fields, incident, integration, seen.columns)
    if "status" not in fields:
        columns |= closing.columns_to_reopen(seen.columns, integration)
    if "assigned_to" in fields and person is not None:
        columns |= {person_column(integration.settings): person.sys_id, **groups.along(wanted, person.sys_id)}
    lens = lens_of(integration.settings)
    before = {field: raw for field in fields if isinstance(raw := lens.raw_of(field, seen.columns), str)}
    return Attempt(number, "update", sent, columns, at_s, before, seen.mod_count)


def _create(
    link: Link,
    incident: Incident,
    integration: Integration,
    number: int,
    at_s: float,
    people: Mapping[str, Person] | None = None,
) -> Attempt:
    """A record is created open; a status that has moved on follows as an update, with the close data it needs.

    So does an assignee whom nobody knows, or with whom the create was refused: no person stands in a record's way.
    """
    person = _assignee(incident, people or {})
    lens = lens_of(integration.settings)
    values = {field: incident.value(field) or "" for field in lens.fields} | {"status": "open"}
    if person is None or not person.sys_id or (link.outbox is not None and link.outbox.separately):
        del values["assigned_to"]
    sent = {field: value for field, value in values.items() if value}  # an empty text is not: a template may fill it
    columns = mapping.transition_defaults(integration.settings.external_defaults, "create")
    columns |= lens.put(
        {field: value for field, value in sent.items() if field != "status" or not lens.is_new_open}, {}
    )
    if person is not None and "assigned_to" in sent:
        columns[person_column(integration.settings)] = person.sys_id
    columns["correlation_id"] = correlation_id(link)
    return Attempt(number, "create", sent, columns, at_s)


def would_send(state: State, letter: DeadLetter) -> dict[str, str]:
    """The columns that a retry of a dead letter would send as things stand; empty when the difference has gone."""
    link, incident = state.links[letter.link_id], state.incidents[letter.incident_id]
    integration = state.integrations[letter.integration_id]
    if letter.operation == "create":
        return _create(link, incident, integration, 0, 0.0).columns
    return columns_for(letter.fields, incident, integration, link.observed.columns if link.observed else {})


def prepare_create(
    state: State, at_s: float, name: str, people: Mapping[str, Person] | None = None
) -> Change[Attempt | None]:
    """Put the first POST for a pending link on record; None when there is nothing to create (any more)."""
    link = state.links.get(name)
    if link is None or link.outbox is None or link.state != "pending" or looks_up(link):
        return Change("", (), result=None)
    integration = state.integrations[link.integration_id]
    if not integration.settings.writes:
        return Change("", (), result=None)
    attempt = _create(link, state.incidents[link.incident_id], integration, state.position + 1, at_s, people)
    return Change(_stream(integration), (SendStarted(name, attempt),), result=attempt)


def settle_lookup(
    state: State,
    at_s: float,
    name: str,
    found: list[Observation],
    next_at_s: float,
    offset: Offset,
    people: Mapping[str, Person] | None = None,
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
        hinted = looks.look_again(state, integration.id, first.external_id, at_s)
        return Change(
            _stream(integration), (adopt(lens_of(integration.settings), link, first, offset), hinted), result=None
        )
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
        letter = _letter(
            state, link, lens_of(integration.settings).fields, Failure("unconfirmed", words), at_s, hold=True
        )
        return Change(_stream(integration), (letter,), result=None)
    if not integration.settings.writes:
        return Change("", (), result=None)
    attempt = _create(link, incident, integration, state.position + 1, at_s, people)
    return Change(_stream(integration), (SendStarted(name, attempt),), result=attempt)


def is_over(started_at_s: float, ended_at_s: float | None, transaction_quota: str, looked_at_s: float) -> bool:
    """A transaction lives for one quota: whatever the request was to make had been made when we looked.

    ``ended_at_s``: when we gave the request up.
    """
    return looked_at_s >= over_at_s(started_at_s, ended_at_s, duration_s(transaction_quota))


def over_at_s(started_at_s: float, ended_at_s: float | None, quota_s: float) -> float:
    """From when on a look tells for certain what became of an attempt."""
    given_up_s = started_at_s if ended_at_s is None else ended_at_s
    return max(started_at_s + QUOTAS_LOOKED_UP * quota_s, given_up_s + quota_s)


def adopt(lens: Lens, link: Link, seen: Observation, offset: Offset, asked: int = 0) -> LinkJoined:
    """Join a pending link to a record that carries its correlation id. ``asked``: when it was looked for, if known."""
    attempts = (*link.unsettled, *((link.in_flight,) if link.in_flight else ()))
    settled: dict[str, Halves] = {}
    for field in lens.fields:
        raw = lens.raw_of(field, seen.columns)
        sent = [one.sent[field] for one in reversed(attempts) if field in one.sent]
        if not sent:
            continue
        value = next(
            (one for one in sent if lens.shows(field, raw, one)), sent[0]
        )  # any of the attempts may have made it
        untouched = seen.mod_count == 0 or lens.shows(field, raw, value)
        settled[field] = Halves(value, raw if untouched else lens.written(field, value))
    about = link.id, link.integration_id, link.incident_id
    return LinkJoined(*about, seen, settled, offset.s, offset.error_s, asked=asked)


def settle(
    state: State,
    at_s: float,
    name: str,
    number: int,
    echo: Observation,
    offset: Offset,
    inquiry: Inquiry = NOTHING_ASKED,
) -> Change[None]:
    """A write that ServiceNow confirmed: the echo is what it made of it, and an ordinary look at everything else.

    ``inquiry``: what it was asked about the rest.
    """
    link = state.links.get(name)
    if link is None or link.in_flight is None or link.in_flight.number != number:
        return NOTHING
    integration, incident = state.integrations[link.integration_id], state.incidents[link.incident_id]
    sent = link.in_flight.sent
    lens = lens_of(integration.settings)
    if closing.is_dropped(lens, link.in_flight, echo):
        if len(sent) > 1:  # one of them may have taken the others along
            apart = SendFailed(name, closing.DROPPED, at_s, ambiguous=False, separately=True)
            return Change(_stream(integration), (apart,), result=None)
        if meant := closing.after_refusal(state, at_s, link, link.in_flight, closing.DROPPED):
            return Change(_stream(integration), meant, result=None)
    halves = {field: Halves(value, lens.raw_of(field, echo.columns)) for field, value in sent.items()}
    unseen = _writes_between(link.in_flight, echo)
    settled = SendSettled(name, number, echo, halves, offset.s, offset.error_s, unseen)
    after = links.after_settled(link, settled, state.position + 1, at_s, lens)
    events: list[Event] = [settled]
    if integration.settings.runs:  # else the fold leaves the link marked for the time when it runs again
        merged, fields = plan(after, incident, integration, state, at_s)
        if merged.decided or merged.conflicts or fields:
            events += [merged, *looks.after_merge(state, after, merged, at_s)]
    changed = tuple(
        field
        for field in sent
        if not closing.is_as_near_as_may_be(field, sent[field], echo.columns, integration)
        and not _is_kept(lens, link, link.in_flight, field, halves[field].external)
    )
    blanked = blanked_columns(link.in_flight, echo)
    if changed or blanked:
        events += closing.was_not_closing(link, link.in_flight, integration)
        became = [f"{field} {sent[field]!r} became {halves[field].external!r}" for field in changed]
        became += [f"{column} {link.in_flight.columns[column]!r} became ''" for column in blanked]
        words = ", ".join(became)
        failure = Failure("not-kept", f"ServiceNow answered success but kept something else: {words}", status=200)
        lost = tuple(field for field in sent if field in changed or field in blanked.values())
        found = _with_words(inquiry, echo.columns, sent.get("assigned_to", ""))
        events.append(_letter(state, link, lost, failure, at_s, hold=False, inquiry=found))
    return Change(_stream(integration), tuple(events), result=None)


def _writes_between(attempt: Attempt, echo: Observation) -> int:
    """How often others wrote the record between our read and our write: ServiceNow has no conditional write."""
    if attempt.read_count is None or echo.mod_count is None:
        return 0
    return max(0, echo.mod_count - attempt.read_count - 1)


def _is_kept(lens: Lens, link: Link, attempt: Attempt, field: str, raw: Half) -> bool:
    """The echo shows what was sent, or what a column limit left of it; what stood there before is no cut."""
    if isinstance(raw, UnsetType):
        return True  # our account may not read it: absent says nothing
    sent = attempt.sent[field]
    shown = lens.meaning(field, raw, sent)
    if shown == sent or not lens.shows(field, raw, sent):
        return shown == sent
    base = link.base.get(field, FieldBase())
    was_cut = base.platform != shown and isinstance(base.platform, str) and lens.shows(field, raw, base.platform)
    return raw != attempt.before.get(field) or was_cut


def blanked_columns(attempt: Attempt, echo: Observation) -> dict[str, str]:
    """What went along with a field and came back empty, such as a close code that the instance has not: its field."""
    return {
        column: field
        for field in attempt.sent
        for column in COMPANIONS.get(field, ())
        if attempt.columns.get(column) and echo.columns.get(column) == ""
    }


def fail(
    state: State,
    at_s: float,
    name: str,
    number: int,
    outcome: Outcome,
    failure: Failure,
    next_at_s: float,
    inquiry: Inquiry = NOTHING_ASKED,
) -> Change[None]:
    """An attempt that did not succeed, as far as can be known.

    A refusal of several groups is sent again one by one, a refused create without its assignee, and a refused assignee
    with the one assignment group that he is in.
    ``inquiry``: what it was asked about the rest.
    """
    link = state.links.get(name)
    if link is None or link.in_flight is None or link.in_flight.number != number:
        return NOTHING
    stream = _stream(state.integrations[link.integration_id])
    attempt = link.in_flight
    if outcome != "refused" or not attempt.sent:  # what it carried is mapped elsewhere by now
        return Change(stream, (SendFailed(name, failure, next_at_s, ambiguous=outcome == "ambiguous"),), result=None)
    if len(attempt.sent) > 1 if attempt.kind == "update" else "assigned_to" in attempt.sent:
        apart = SendFailed(name, failure, at_s, ambiguous=False, separately=True)
        return Change(stream, (apart,), result=None)
    if attempt.kind == "create":
        fields = lens_of(state.integrations[link.integration_id].settings).fields
        return Change(stream, (_letter(state, link, fields, failure, at_s, hold=True),), result=None)
    if meant := closing.after_refusal(state, at_s, link, attempt, failure):
        return Change(stream, meant, result=None)
    record = link.observed.columns if link.observed is not None else {}
    if wanted := groups.reroute(attempt, record, inquiry.member_of):
        again = SendFailed(name, failure, at_s, ambiguous=False, separately=True, reroute=wanted)
        return Change(stream, (again,), result=None)
    found = _with_words(inquiry, record, attempt.sent.get("assigned_to", ""))
    letter = _letter(state, link, tuple(attempt.sent), failure, at_s, hold=True, inquiry=found)
    unlearned = closing.was_not_closing(link, attempt, state.integrations[link.integration_id])
    return Change(stream, (letter, *unlearned), result=None)


def postpone(state: State, name: str, failure: Failure, next_at_s: float) -> Change[None]:
    """The entry could not even be tried: the record could not be read, or looked up.

    An attempt that a crash left behind is as unclear as it was. A record that was not shown twice parks its link.
    """
    link = state.links.get(name)
    if link is None or link.outbox is None:
        return NOTHING
    integration = state.integrations[link.integration_id]
    stream = _stream(integration)
    before = link.outbox.failure
    if failure.kind == "gone" and before is not None and before.kind == "gone":
        parked = gone_one_by_one(state, integration, [link.external_id], state.position)
        if parked:
            return Change(stream, tuple(parked), result=None)
    return Change(stream, (SendFailed(name, failure, next_at_s, ambiguous=link.in_flight is not None),), result=None)


def _with_words(inquiry: Inquiry, record: Mapping[str, str], who: str) -> Inquiry:
    return replace(inquiry, about_person=groups.in_words(inquiry.member_of, record, who))


def _letter(
    state: State,
    link: Link,
    fields: tuple[str, ...],
    failure: Failure,
    at_s: float,
    *,
    hold: bool,
    inquiry: Inquiry = NOTHING_ASKED,
) -> DeadLettered:
    is_create = hold and link.state == "pending"  # what was created and not kept as sent is a matter of updates now
    operation: Operation = "create" if is_create else "update"
    attempts = link.outbox.attempts + 1 if link.outbox is not None else 1
    return dead_letter(state, link, operation, fields, failure, at_s, attempts=attempts, hold=hold, inquiry=inquiry)
