"""Hints and reads: which records are to be read, and what they then say.

A webhook is a hint (``webhook.py``): its body is never applied, the record is read. A read settles only hints journaled
before its request left. Reads by reconcile and sweep end in the same ``settle_read``.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from msgspec import Struct, UnsetType
from msgspec.structs import replace

from syncd.core import worknotes
from syncd.core.behind import lost_incident
from syncd.core.beside import is_linked_beside, may_be_ours
from syncd.core.events import (
    Change,
    Event,
    Hinted,
    HintsPostponed,
    HintsSettled,
    IncidentDeclared,
    LinkJoined,
    LinkParked,
    LinkReleased,
    NoteAdded,
    Observed,
    Swept,
)
from syncd.core.lens import lens_of
from syncd.core.letters import has_maybe_created
from syncd.core.looks import look_again
from syncd.core.model import (
    Halves,
    Hint,
    Integration,
    Link,
    Observation,
    SeenNote,
    Severity,
    Status,
)
from syncd.core.parking import gone, gone_one_by_one
from syncd.core.sending import (
    CORRELATION_PREFIX,
    Offset,
    adopt,
    correlation_id,
    is_stale,
    news,
)
from syncd.core.state import State, link_id
from syncd.core.traces import named
from syncd.core.worknotes import Pair
from syncd.errors import Exists, Unknown

HINTS_A_READ: Final = 50  # longer sys_idIN lists do not fit every proxy's URL limit
REREAD_AFTER_S: Final = (1.0, 2.0, 5.0, 15.0)
UNSEEN_AFTER_S: Final = (60.0, 120.0, 300.0)  # then always the last: what was acknowledged is not forgotten unread
DELETED_LOOKS: Final = 2  # a record that is said to be deleted, and is not shown, is looked for once more
NEW_SINCE_SLACK_S: Final = 2.0


def due_hints(state: State, integration_id: str, at_s: float) -> list[Hint]:
    """The hints to be read now, those that have been due the longest first, at most one read's worth."""
    line = state.hint_lines.get(integration_id)
    first = () if line is None else line.order[:HINTS_A_READ]
    return [state.hints[integration_id][name] for next_at_s, _, name in first if next_at_s <= at_s]


def next_hint_at_s(state: State, integration_id: str) -> float:
    """When the next hint is due; infinite when none waits."""
    line = state.hint_lines.get(integration_id)
    return line.order[0][0] if line is not None and line.order else math.inf


class Read(Struct, frozen=True):
    """One answered read.

    ``asked``: the journal's position when the request left. ``hints``: those it was asked for. ``rows``: the records
    that were shown. ``wanted``: ids of unlinked records that pass the integration's import query, ``unsure``: those
    for which that could not be found out. ``ids``: words for new incidents, one for each row at least. ``noted``: the
    records whose ``notes`` were read as well. ``crashed``: records that were shown and left out, since we failed on
    them. ``traces``: by record, the id of its change; empty: all are one. ``missing``: linked records that this look
    and one before it did not show. ``imported``: unlinked records that a person wants in, however old they are.
    ``blind``: nothing was shown, nor is any other record: it says nothing. ``unreadable``: records that are there, and
    whose answer cannot be read. ``forced``: however many links it parks.
    """

    asked: int
    hints: tuple[Hint, ...]
    rows: tuple[Observation, ...]
    wanted: frozenset[str]
    ids: tuple[str, ...]
    offset: Offset
    unsure: frozenset[str] = frozenset()
    noted: frozenset[str] = frozenset()
    notes: tuple[SeenNote, ...] = ()
    crashed: frozenset[str] = frozenset()
    traces: Mapping[str, str] = {}
    missing: frozenset[str] = frozenset()
    imported: frozenset[str] = frozenset()
    blind: bool = False
    unreadable: frozenset[str] = frozenset()
    forced: bool = False


def part_of(read: Read, records: AbstractSet[str]) -> Read:
    """The read as if only these of its records had been shown; the others are those that we failed on."""
    return replace(
        only_of(read, records),
        crashed=frozenset(seen.external_id for seen in read.rows if seen.external_id not in records),
    )


def only_of(read: Read, records: AbstractSet[str]) -> Read:
    """The read of no more than these of its records."""
    return replace(
        read,
        rows=tuple(seen for seen in read.rows if seen.external_id in records),
        noted=read.noted & records,
        notes=tuple(note for note in read.notes if note.external_id in records),
    )


def to_be_noted(
    state: State,
    integration: Integration,
    rows: Sequence[Observation],
    hints: Sequence[Hint],
    wanted: frozenset[str],
    offset: Offset,
) -> list[str]:
    """The records of these whose notes must be read: those that may have got one since, and those that come in now."""
    told = {hint.external_id for hint in hints if hint.has_note}
    found = []
    for seen in rows:
        link = state.links.get(state.link_of_record.get((integration.id, seen.external_id), ""))
        if link is None:
            is_ours = seen.correlation_id.startswith(CORRELATION_PREFIX)
            needs = is_ours or (seen.external_id in wanted and is_new(integration, seen, offset))
        else:
            needs = seen.mod_count is None or seen.mod_count != link.noted_count or seen.external_id in told
        if needs:
            found.append(seen.external_id)
    return found


def noted_since_s(state: State, integration_id: str, external_ids: Sequence[str]) -> float:
    """From when on notes of these records are to be read, on the instance's clock; 0: all of them."""
    names = [state.link_of_record.get((integration_id, one), "") for one in external_ids]
    return min((state.links[name].noted_upto_s if name in state.links else 0.0 for name in names), default=0.0)


def unlinked(state: State, integration_id: str, rows: Sequence[Observation]) -> list[Observation]:
    """The rows that no link of this integration has."""
    return [seen for seen in rows if (integration_id, seen.external_id) not in state.link_of_record]


def settle_read(state: State, at_s: float, integration_id: str, read: Read) -> Change[int]:
    """Feed what a read showed into the one write path. The result counts the records that had something new."""
    integration = state.integrations.get(integration_id)
    if integration is None:
        return Change("", (), result=0)
    events: list[Event] = []
    waits: set[str] = set()
    stale: set[str] = set()
    words = iter(read.ids)
    fresh = 0
    joined: set[str] = set()  # two records can carry one correlation id: copies do
    for seen in {seen.external_id: seen for seen in sorted(read.rows, key=_age)}.values():
        link = state.links.get(state.link_of_record.get((integration_id, seen.external_id), ""))
        if link is None:
            found = _new_record(state, integration, seen, read, words, waits)
            joins = {event.link_id for event in found if isinstance(event, LinkJoined)}
            found = [] if joins & joined else found
            joined |= joins
            events += found
            fresh += bool(found)
        elif is_stale(link, seen, read.asked, at_s):
            stale.add(seen.external_id)
        elif news(lens_of(integration.settings), link, seen):
            events.append(Observed(link.id, seen, read.offset.s, read.offset.error_s, asked=read.asked))
            fresh += 1
        elif link.gone_there:
            events.append(LinkReleased(link.id))
    taken = worknotes.taken_in(state, integration, _pairs(state, integration_id, events, read), read.notes, read.offset)
    fresh += sum(isinstance(event, NoteAdded) for event in taken)
    events += taken
    shown = {seen.external_id: seen for seen in read.rows}
    settled, postponed = _hints_after(state, integration_id, read, shown, waits, stale, at_s)
    unseen = settled.keys() - shown.keys() - read.crashed
    parked = gone(state, integration, read.missing, read.asked, forced=read.forced)
    parked += gone_one_by_one(state, integration, unseen - read.missing, read.asked)
    events += parked
    forgotten = unseen & _not_parked(state, integration_id, unseen, parked)
    postponed += [_much_later(hint, at_s) for hint in read.hints if hint.external_id in forgotten]
    settled = {name: count for name, count in settled.items() if name not in forgotten}
    if settled:
        events.append(HintsSettled(integration_id, read.asked, settled))
    if postponed:
        events.append(HintsPostponed(integration_id, tuple(postponed)))
    hinted = {hint.external_id for hint in read.hints} | state.hints.get(integration_id, {}).keys()
    for stranger in sorted((waits | read.crashed) - hinted):  # a sweep found it: nobody else would come back to it
        hint = Hint(stranger, state.position + 1, f"sweep-{stranger}", next_at_s=at_s + 1.0)
        events.append(Hinted(integration_id, stranger, hint))
    told = named(events, read.traces, state, integration_id)
    return Change(integration.settings.organization_id, told, result=fresh)


def _pairs(state: State, integration_id: str, events: Sequence[Event], read: Read) -> list[Pair]:
    """The pairs whose notes were read, those that this very read joins among them."""
    counts = {seen.external_id: seen.mod_count for seen in read.rows}
    joined = {event.observation.external_id: event for event in events if isinstance(event, LinkJoined)}
    pairs = []
    for external_id in sorted(read.noted):
        name = state.link_of_record.get((integration_id, external_id), "")
        if (event := joined.get(external_id)) is not None:
            pairs.append(Pair(event.link_id, event.incident_id, external_id, counts.get(external_id)))
        elif name in state.links:
            pairs.append(Pair(name, state.links[name].incident_id, external_id, counts.get(external_id)))
    return pairs


def _age(seen: Observation) -> tuple[float, str]:
    return seen.created_at_s or 0.0, seen.external_id


def _hints_after(
    state: State,
    integration_id: str,
    read: Read,
    shown: Mapping[str, Observation],
    waits: set[str],
    stale: set[str],
    at_s: float,
) -> tuple[dict[str, int | None], list[Hint]]:
    """Which hints this read settled, and which must be read again."""
    settled: dict[str, int | None] = {}
    postponed: list[Hint] = []
    for hint in read.hints:
        seen = shown.get(hint.external_id)
        count = seen.mod_count if seen is not None else None
        behind = (
            seen is None
            or hint.external_id in read.unsure | stale
            or (hint.mod_count is not None and count is not None and count < hint.mod_count)
        )
        if hint.external_id in waits:
            postponed.append(replace(hint, next_at_s=at_s + 1.0))
        elif behind and not is_last_look(state, integration_id, hint):
            postponed.append(replace(hint, tries=hint.tries + 1, next_at_s=at_s + REREAD_AFTER_S[hint.tries]))
        elif seen is None and read.blind:
            postponed.append(_much_later(hint, at_s))
        elif hint.external_id in read.unreadable and _may_come_in(state, integration_id, hint.external_id):
            postponed.append(replace(_much_later(hint, at_s), unreadable=True))  # nobody else would come back to it
        else:
            settled[hint.external_id] = count
    return settled, postponed


def _may_come_in(state: State, integration_id: str, external_id: str) -> bool:
    """A record without a link, where new records are wanted."""
    settings = state.integrations[integration_id].settings
    return settings.reads and settings.create_platform and (integration_id, external_id) not in state.link_of_record


def _not_parked(state: State, integration_id: str, unseen: AbstractSet[str], parked: Sequence[LinkParked]) -> set[str]:
    """Of the records that were not shown, those whose links nothing would remember to look at again."""
    names = {state.link_of_record.get((integration_id, one), ""): one for one in unseen}
    aside = {event.link_id for event in parked}
    return {one for name, one in names.items() if name and name not in aside and not state.links[name].gone_there}


def _much_later(hint: Hint, at_s: float) -> Hint:
    """To be read again for as long as it takes, more and more seldom."""
    late = max(0, hint.tries - len(REREAD_AFTER_S))
    wait_s = UNSEEN_AFTER_S[min(late, len(UNSEEN_AFTER_S) - 1)]
    return replace(hint, tries=max(hint.tries, len(REREAD_AFTER_S)) + 1, next_at_s=at_s + wait_s)


def is_last_look(state: State, integration_id: str, hint: Hint) -> bool:
    """What this look does not show is believed not to be there."""
    return hint.tries >= _rereads(state, integration_id, hint)


def _rereads(state: State, integration_id: str, hint: Hint) -> int:
    """How often to read again what shows less than the hint named. A link is parked after two looks at the least."""
    if not hint.deleted:
        return len(REREAD_AFTER_S)
    return DELETED_LOOKS - 1 if (integration_id, hint.external_id) in state.link_of_record else 0


def _new_record(
    state: State, integration: Integration, seen: Observation, read: Read, words: Iterator[str], waits: set[str]
) -> list[Event]:
    """A record without a link: adopted by its own incident, brought in as a new one, or left alone."""
    settings = integration.settings
    if seen.correlation_id.startswith(CORRELATION_PREFIX):
        own = claimed(state, integration.id, seen)
        if own is not None:
            return [adopt(lens_of(settings), own, seen, read.offset, read.asked)]
        lost = comes_back(state, integration, seen) if settings.reads and seen.external_id in read.imported else ""
        return bring_in(integration, seen, lost, read.offset) if lost else []
    if may_be_ours(state, integration, seen):
        waits.add(seen.external_id)  # with its correlation id dropped: wait until that is known
        return []
    is_ours = seen.created_by != "" and seen.created_by == integration.account
    if is_ours and any(has_maybe_created(one, integration) for one in state.dead_letters.values()):
        return []  # the same, and it will not be known: a person links it, or says that it is another
    if is_linked_beside(state, integration, seen):
        return []  # its incident is there, and has or gets a record of its own here: a second one would go in circles
    is_imported = seen.external_id in read.imported
    if not settings.reads or not (is_imported or (settings.create_platform and seen.external_id in read.wanted)):
        return []
    if seen.external_id in state.kept_apart:
        return []  # a person unlinked it; a second incident for it is not what they asked for
    if not (is_imported or is_new(integration, seen, read.offset)):
        return []
    return bring_in(integration, seen, f"INC-{next(words)}", read.offset)


def claimed(state: State, integration_id: str, seen: Observation) -> Link | None:
    """The link without a record that this one was created for."""
    _, _, incident_id = seen.correlation_id.removeprefix(CORRELATION_PREFIX).partition(":")
    link = state.links.get(link_id(integration_id, incident_id))
    return link if link is not None and not link.external_id and correlation_id(link) == seen.correlation_id else None


def comes_back(state: State, integration: Integration, seen: Observation) -> str:
    """The incident that an import brings back from this record, which a restore took away; or empty."""
    if seen.external_id in state.kept_apart or is_linked_beside(state, integration, seen):
        return ""
    return lost_incident(state, integration, seen)


def is_new(integration: Integration, seen: Observation, offset: Offset) -> bool:
    """Created on the instance's clock no earlier than the second of first enabling, minus 2 s (contract section 9)."""
    since_s = new_since_s(integration, offset)
    if since_s is None or seen.created_at_s is None:
        return False
    return seen.created_at_s >= math.floor(since_s) - NEW_SINCE_SLACK_S


def new_since_s(integration: Integration, offset: Offset) -> float | None:
    """When it was first enabled, on the instance's clock; None: never. Until it is journaled, by our clock as it is."""
    if integration.new_since_s is not None or integration.first_enabled_at_s is None:
        return integration.new_since_s
    return integration.first_enabled_at_s + offset.s


def bring_in(integration: Integration, seen: Observation, incident_id: str, offset: Offset) -> list[Event]:
    """A new incident for a record, both sides settled. What cannot be read gets the platform's own default."""
    lens = lens_of(integration.settings)
    shown = lens.get(seen.columns)

    def value(field: str, default: str) -> str:
        half = shown[field]
        return default if isinstance(half, UnsetType) else half

    declared = IncidentDeclared(
        incident_id=incident_id,
        title=value("title", seen.number or seen.external_id),
        description=value("description", ""),
        severity=_severity(value("severity", "SEV-3")),
        status=_status(value("status", "open")),
        assigned_to=value("assigned_to", "") or None,
        service=(value("service", "") if "service" in shown else "") or None,
        origin=integration.id,
    )
    settled = {field: Halves(getattr(declared, field) or "", lens.raw_of(field, seen.columns)) for field in lens.fields}
    name = link_id(integration.id, incident_id)
    joined = LinkJoined(name, integration.id, incident_id, seen, settled, offset.s, offset.error_s)
    return [declared, joined]


def join_pair(
    state: State, at_s: float, integration_id: str, incident_id: str, seen: Observation, offset: Offset, asked: int = 0
) -> Change[None]:
    """Link an incident and a record that a person named; what they differ in is decided like any first link.

    ``asked``: where the journal was when the record was asked for, if that is known.
    """
    integration, incident = state.integrations.get(integration_id), state.incidents.get(incident_id)
    if integration is None or incident is None:
        raise Unknown(f"incident {incident_id} is not there", hint="im incident list shows what there is")
    name = link_id(integration_id, incident_id)
    link = state.links.get(name)
    if link is not None and link.state != "pending":
        taken = f"{incident_id} is linked to {link.external_number or link.external_id} already"
        raise Exists(taken, hint=f"im integration unlink {integration.settings.handle} {incident_id}")
    if (integration_id, seen.external_id) in state.link_of_record:
        other = state.links[state.link_of_record[integration_id, seen.external_id]]
        taken = f"{seen.number or seen.external_id} is linked to {other.incident_id} already"
        raise Exists(taken, hint=f"im integration unlink {integration.settings.handle} {other.incident_id}")
    joined = (
        adopt(lens_of(integration.settings), link, seen, offset, asked)
        if link is not None
        else LinkJoined(name, integration_id, incident_id, seen, {}, offset.s, offset.error_s, asked=asked)
    )
    hinted = look_again(state, integration_id, seen.external_id, at_s)  # at its notes, which may be many
    return Change(integration.settings.organization_id, (joined, hinted), result=None)


def _severity(text: str) -> Severity:
    return text  # type: ignore[return-value] # the lens gives only these


def _status(text: str) -> Status:
    return text  # type: ignore[return-value] # the lens gives only these


def swept(state: State, integration_id: str, upto_s: float, offset: Offset) -> Change[None]:
    """All links have been read, and new records looked for up to ``upto_s`` on the instance's clock."""
    integration = state.integrations.get(integration_id)
    if integration is None or (integration.swept_at_s is not None and integration.swept_at_s >= upto_s):
        return Change("", (), result=None)
    since_s = new_since_s(integration, offset) if integration.new_since_s is None else None
    return Change(integration.settings.organization_id, (Swept(integration_id, upto_s, since_s),), result=None)
