"""State, and the fold that makes it: ``evolve(state, record)`` is the only code that changes state.

Start-up, replay, tests and the live daemon run the same fold: no clock, no randomness, no input or output in it.
State holds frozen Structs in dicts and replaces them. The dicts that list work (``hints``, ``dirty``, ``outbox``,
``unlinked``) are the daemon's queues: actors are rung by doorbells and look here (docs/architecture.md, "Durable
work").
"""

from collections.abc import Callable, Iterator

from msgspec import UnsetType
from msgspec.structs import replace

from syncd.core import events as e
from syncd.core import links
from syncd.core.model import (
    Conflict,
    DeadLetter,
    Hint,
    Incident,
    Integration,
    KeptAnswer,
    Link,
    Note,
    OutboxEntry,
    Settings,
    Stamp,
    Token,
)

ANSWERS_KEPT_S = 24 * 3600.0
WEBHOOKS_REMEMBERED_S = 24 * 3600.0
WEBHOOKS_REMEMBERED_MAX = 100_000
CLOSE_DATA = frozenset({"resolution_code", "resolution_notes"})  # they travel with the status, and may be its remedy


class State:
    """Everything that is known after a position of the journal.

    ``seen``: keys of webhooks accepted lately, per integration, oldest first. ``kept_apart``: pairs that a person
    unlinked. ``waiting``: the pending conflict of a (link, field). ``last_number``: the newest number given to a
    conflict, dead letter or token.
    """

    def __init__(self) -> None:
        self.position = 0
        self.journal_id = ""
        self.incidents: dict[str, Incident] = {}
        self.notes: dict[str, tuple[Note, ...]] = {}
        self.integrations: dict[str, Integration] = {}
        self.links: dict[str, Link] = {}
        self.links_of: dict[str, tuple[str, ...]] = {}
        self.link_of_record: dict[tuple[str, str], str] = {}
        self.kept_apart: dict[tuple[str, str], None] = {}
        self.conflicts: dict[str, Conflict] = {}
        self.waiting: dict[tuple[str, str], str] = {}
        self.dead_letters: dict[str, DeadLetter] = {}
        self.tokens: dict[str, Token] = {}
        self.answers: dict[str, KeptAnswer] = {}
        self.seen: dict[str, dict[str, float]] = {}
        self.hints: dict[str, dict[str, Hint]] = {}
        self.dirty: dict[str, dict[str, str]] = {}
        self.outbox: dict[str, dict[str, None]] = {}
        self.unlinked: dict[str, dict[str, str]] = {}
        self.last_number = 0

    def integrations_of(self, organization_id: str) -> list[Integration]:
        """An organization's integrations, oldest first."""
        return [one for one in self.integrations.values() if one.settings.organization_id == organization_id]

    def links_under(self, integration_id: str) -> Iterator[Link]:
        """An integration's links, oldest first."""
        return (link for link in self.links.values() if link.integration_id == integration_id)

    def pending_conflicts(self, link_id: str) -> dict[str, Conflict]:
        """The conflicts of a link that wait for a person, by field."""
        fields = [field for one, field in self.waiting if one == link_id] if self.waiting else []
        return {field: self.conflicts[self.waiting[link_id, field]] for field in fields}

    def letter_for(self, link_id: str, fields: tuple[str, ...], operation: str) -> DeadLetter | None:
        """The open dead letter of this group of fields, which keeps its id over failed retries."""
        for letter in self.dead_letters.values():
            if letter.link_id == link_id and letter.fields == fields and letter.operation == operation:
                return letter
        return None


def link_id(integration_id: str, incident_id: str) -> str:
    """The name of the one link an incident can have under an integration."""
    return f"{integration_id}/{incident_id}"


def evolve(state: State, record: e.Record) -> State:
    """Apply one record: changes ``state`` in place and returns it."""
    state.position = record.position
    for event in record.events:
        _FOLDS[type(event)](state, record, event)
    return state


def _born(state: State, _: e.Record, event: e.DaemonBorn) -> None:
    state.journal_id = event.journal_id


def _token_created(state: State, _: e.Record, event: e.TokenCreated) -> None:
    state.tokens[event.token.id] = event.token


def _token_revoked(state: State, _: e.Record, event: e.TokenRevoked) -> None:
    state.tokens.pop(event.token_id, None)


def _declared(state: State, record: e.Record, event: e.IncidentDeclared) -> None:
    stamp = Stamp(record.at_s, record.by)
    state.incidents[event.incident_id] = Incident(
        id=event.incident_id,
        organization_id=record.stream,
        title=event.title,
        description=event.description,
        severity=event.severity,
        status=event.status,
        assigned_to=event.assigned_to,
        service=event.service,
        created_at_s=record.at_s,
        updated_at_s=record.at_s,
        updated_by=record.by,
        stamps=dict.fromkeys(("title", "description", "severity", "status"), stamp),
        positions=(record.position,),
    )
    for integration in state.integrations_of(record.stream):
        settings = integration.settings
        if (
            integration.id != event.origin
            and integration.first_enabled_at_s is not None
            and settings.create_external
            and settings.sync_direction != "inbound"
        ):
            state.unlinked.setdefault(integration.id, {})[event.incident_id] = record.trace


def _change_incident(state: State, record: e.Record, incident_id: str, changes: dict[str, str | None]) -> None:
    """Apply effective changes and make the incident's links dirty."""
    incident = state.incidents[incident_id]
    stamp = Stamp(record.at_s, record.by)
    values: dict[str, object] = dict(changes)
    state.incidents[incident_id] = replace(
        incident,
        **values,
        version=incident.version + 1,
        updated_at_s=record.at_s,
        updated_by=record.by,
        stamps=incident.stamps | dict.fromkeys(changes, stamp),
    )
    for link_id in state.links_of.get(incident_id, ()):
        link = state.links[link_id]
        mended = changes.keys() | ({"status"} if changes.keys() & CLOSE_DATA else frozenset())
        freed = {field: letter for field, letter in link.held.items() if field not in mended}
        if len(freed) != len(link.held):
            state.links[link_id] = link = replace(link, held=freed)
        if link.state == "pending" and link.outbox is None:  # its create was refused: the edit may be the remedy
            _enqueue(state, record, link)
        state.dirty.setdefault(link.integration_id, {})[link_id] = record.trace


def _mark(state: State, record: e.Record, incident_id: str) -> None:
    """Remember that this record says something about the incident, for its timeline."""
    incident = state.incidents.get(incident_id)
    if incident is not None and (not incident.positions or incident.positions[-1] != record.position):
        state.incidents[incident_id] = replace(incident, positions=(*incident.positions, record.position))


def _edited(state: State, record: e.Record, event: e.IncidentEdited) -> None:
    _change_incident(state, record, event.incident_id, event.changes)
    _mark(state, record, event.incident_id)


def _note_added(state: State, record: e.Record, event: e.NoteAdded) -> None:
    note = Note(event.note_id, event.text, event.author, record.at_s, event.origin)
    state.notes[event.incident_id] = (*state.notes.get(event.incident_id, ()), note)
    _mark(state, record, event.incident_id)


def _answer_kept(state: State, record: e.Record, event: e.AnswerKept) -> None:
    _forget(state.answers, record.at_s - ANSWERS_KEPT_S, lambda kept: kept.kept_at_s)
    state.answers[event.key] = event.kept


def _forget(kept: dict[str, e.T], before_s: float, at_s: Callable[[e.T], float]) -> None:
    """Drop entries from the old end of an insertion-ordered dict."""
    while kept and at_s(kept[oldest := next(iter(kept))]) < before_s:
        del kept[oldest]


def _configured(state: State, record: e.Record, event: e.IntegrationConfigured) -> None:
    first = record.at_s if event.integration.settings.enabled else None
    state.integrations[event.integration.id] = replace(event.integration, first_enabled_at_s=first)


def _integration_changed(state: State, record: e.Record, event: e.IntegrationChanged) -> None:
    before = state.integrations[event.integration_id]
    first = before.first_enabled_at_s
    if first is None and event.settings.enabled:
        first = record.at_s
    state.integrations[event.integration_id] = replace(
        before,
        settings=event.settings,
        credentials=before.credentials if isinstance(event.credentials, UnsetType) else event.credentials,
        account=before.account if isinstance(event.account, UnsetType) else event.account,
        first_enabled_at_s=first,
        swept_at_s=before.swept_at_s if _looks_for_same(before.settings, event.settings) else None,
    )
    # Whatever was refused under the old settings may pass under the new ones.
    for link in state.links_under(event.integration_id):
        if link.held:
            state.links[link.id] = replace(link, held={})
            state.dirty.setdefault(link.integration_id, {})[link.id] = record.trace
        if link.state == "pending" and link.outbox is None:
            _enqueue(state, record, state.links[link.id])
    for name, _ in state.waiting:  # another strategy may decide what waited for a person
        if (waits := state.links[name]).integration_id == event.integration_id:
            state.dirty.setdefault(waits.integration_id, {})[name] = record.trace


def _looks_for_same(before: Settings, after: Settings) -> bool:
    """The same new records are wanted; else those that were left out must be looked for again, from the first."""
    return (before.reads, before.create_platform, before.import_query) == (
        after.reads,
        after.create_platform,
        after.import_query,
    )


def _secrets_changed(state: State, _: e.Record, event: e.WebhookSecretsChanged) -> None:
    before = state.integrations[event.integration_id]
    state.integrations[event.integration_id] = replace(before, webhook_secrets=event.secrets)


def _integration_deleted(state: State, _: e.Record, event: e.IntegrationDeleted) -> None:
    gone = event.integration_id
    for link in list(state.links_under(gone)):
        _drop_link(state, link, "integration-deleted")
    for queues in (state.hints, state.dirty, state.outbox, state.unlinked, state.seen):
        queues.pop(gone, None)
    del state.integrations[gone]


def _drop_link(state: State, link: Link, why: str) -> None:
    del state.links[link.id]
    state.links_of[link.incident_id] = tuple(one for one in state.links_of[link.incident_id] if one != link.id)
    state.link_of_record.pop((link.integration_id, link.external_id), None)
    for key in [key for key in state.waiting if key[0] == link.id]:
        number = state.waiting.pop(key)
        state.conflicts[number] = replace(state.conflicts[number], status="ignored", decided=why)
    for queue in (state.dirty, state.outbox):
        queue.get(link.integration_id, {}).pop(link.id, None)
    for letter in [one.id for one in state.dead_letters.values() if one.link_id == link.id]:
        del state.dead_letters[letter]


def _hinted(state: State, record: e.Record, event: e.Hinted) -> None:
    if event.key:
        seen = state.seen.setdefault(event.integration_id, {})
        _forget(seen, record.at_s - WEBHOOKS_REMEMBERED_S, lambda at_s: at_s)
        while len(seen) >= WEBHOOKS_REMEMBERED_MAX:
            del seen[next(iter(seen))]
        seen[event.key] = record.at_s
    if event.hint is not None:
        hints = state.hints.setdefault(event.integration_id, {})
        hints[event.external_id] = replace(event.hint, position=record.position)


def _hints_settled(state: State, record: e.Record, event: e.HintsSettled) -> None:
    hints = state.hints.get(event.integration_id, {})
    for external_id, count in event.counts.items():
        hint = hints.get(external_id)
        if hint is not None and hint.position <= event.upto:
            del hints[external_id]
        link_id = state.link_of_record.get((event.integration_id, external_id))
        if link_id is not None and count is not None:
            link = state.links[link_id]
            if link.known_count is None or count >= link.known_count:  # it confirms, or renews, the picture we have
                state.links[link_id] = replace(link, known_count=count, observed_at=record.position)


def _hints_postponed(state: State, _: e.Record, event: e.HintsPostponed) -> None:
    hints = state.hints.setdefault(event.integration_id, {})
    for hint in event.hints:
        if (now := hints.get(hint.external_id)) is not None and now.position <= hint.position:
            hints[hint.external_id] = hint


def _swept(state: State, _: e.Record, event: e.Swept) -> None:
    state.integrations[event.integration_id] = replace(
        state.integrations[event.integration_id], swept_at_s=event.upto_s
    )


def _put_link(state: State, link: Link) -> None:
    """Store a link and keep the outbox index true."""
    state.links[link.id] = link
    outbox = state.outbox.setdefault(link.integration_id, {})
    if link.outbox is None:
        outbox.pop(link.id, None)
    else:
        outbox[link.id] = None


def _enqueue(state: State, record: e.Record, link: Link) -> None:
    _put_link(state, replace(link, outbox=OutboxEntry(record.at_s, record.trace, next_at_s=record.at_s)))


def _new_link(state: State, record: e.Record, link_id: str, integration_id: str, incident_id: str) -> Link:
    state.links_of[incident_id] = (*state.links_of.get(incident_id, ()), link_id)
    state.unlinked.get(integration_id, {}).pop(incident_id, None)
    return Link(id=link_id, integration_id=integration_id, incident_id=incident_id, created_at_s=record.at_s)


def _link_opened(state: State, record: e.Record, event: e.LinkOpened) -> None:
    link = _new_link(state, record, event.link_id, event.integration_id, event.incident_id)
    _enqueue(state, record, link)
    _mark(state, record, event.incident_id)


def _link_joined(state: State, record: e.Record, event: e.LinkJoined) -> None:
    link = state.links.get(event.link_id)
    if link is None:
        link = _new_link(state, record, event.link_id, event.integration_id, event.incident_id)
    seen = event.observation
    link = links.with_observation(
        link, seen, record.position, event.offset_s, event.offset_error_s, except_for=event.settled
    )
    link = links.with_halves(link, event.settled, record.at_s, "joined")
    _put_link(
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
    state.kept_apart.pop((event.incident_id, seen.external_id), None)
    state.dirty.setdefault(link.integration_id, {})[link.id] = record.trace
    _clear_letters(state, link, frozenset(), "create")
    _mark(state, record, event.incident_id)


def _link_removed(state: State, record: e.Record, event: e.LinkRemoved) -> None:
    link = state.links[event.link_id]
    state.kept_apart[link.incident_id, link.external_id] = None
    _drop_link(state, link, "unlinked")
    _mark(state, record, link.incident_id)


def _observed(state: State, record: e.Record, event: e.Observed) -> None:
    link = links.after_observed(state.links[event.link_id], event, record.position)
    state.links[link.id] = link
    state.dirty.setdefault(link.integration_id, {})[link.id] = record.trace
    _mark(state, record, link.incident_id)


def _merged(state: State, record: e.Record, event: e.Merged) -> None:
    link = links.after_merged(state.links[event.link_id], event, record.at_s, record.trace)
    _put_link(state, link)
    changes: dict[str, str | None] = {
        one.field: one.value for one in event.decided if not isinstance(one.value, UnsetType)
    }
    if changes:
        _change_incident(state, record, link.incident_id, changes)
    met = {one.field for one in event.decided if one.reason == "converged" or one.field in changes}
    for letter in [one for one in state.dead_letters.values() if one.link_id == link.id and met.issuperset(one.fields)]:
        del state.dead_letters[letter.id]  # the difference it stood for is gone
    link = state.links[link.id]
    if met & link.held.keys():
        _put_link(state, replace(link, held={f: held for f, held in link.held.items() if f not in met}))
    for conflict in event.conflicts:
        state.last_number += conflict.id not in state.conflicts
        state.conflicts[conflict.id] = conflict
        if conflict.status == "pending":
            state.waiting[link.id, conflict.field] = conflict.id
        else:
            state.waiting.pop((link.id, conflict.field), None)
    state.dirty.get(link.integration_id, {}).pop(link.id, None)
    if event.decided or event.conflicts:
        _mark(state, record, link.incident_id)


def _send_started(state: State, record: e.Record, event: e.SendStarted) -> None:
    link = links.after_started(state.links[event.link_id], event)
    _put_link(state, link)
    _mark(state, record, link.incident_id)


def _send_settled(state: State, record: e.Record, event: e.SendSettled) -> None:
    before = state.links[event.link_id]
    link = links.after_settled(before, event, record.position, record.at_s)
    _put_link(state, link)
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
        state.dirty.setdefault(link.integration_id, {})[link.id] = record.trace
    _mark(state, record, link.incident_id)


def _clear_letters(state: State, link: Link, fields: frozenset[str], operation: str) -> None:
    """A later success clears what stood in the way."""
    for letter in list(state.dead_letters.values()):
        mine = letter.link_id == link.id and letter.operation == operation
        if mine and (operation == "create" or fields.issuperset(letter.fields)):
            del state.dead_letters[letter.id]


def _send_failed(state: State, record: e.Record, event: e.SendFailed) -> None:
    link = links.after_failed(state.links[event.link_id], event, record.at_s, record.trace)
    _put_link(state, link)
    _mark(state, record, link.incident_id)


def _send_cleared(state: State, _: e.Record, event: e.SendCleared) -> None:
    _put_link(state, links.after_cleared(state.links[event.link_id]))


def _dead_lettered(state: State, record: e.Record, event: e.DeadLettered) -> None:
    letter = event.letter
    if letter.id not in state.dead_letters:
        state.last_number += 1
    state.dead_letters[letter.id] = letter
    link = state.links[letter.link_id]
    if event.hold:
        if letter.error.kind == "unconfirmed":
            link = links.after_cleared(link)  # it may still have happened
        link = replace(link, held=link.held | dict.fromkeys(letter.fields, letter.id), in_flight=None, outbox=None)
        _put_link(state, link)
        state.dirty.setdefault(link.integration_id, {})[link.id] = record.trace  # other groups may still be waiting
    _mark(state, record, letter.incident_id)


def _letter_retried(state: State, record: e.Record, event: e.DeadLetterRetried) -> None:
    letter = state.dead_letters[event.letter_id]
    link = state.links[letter.link_id]
    link = replace(link, held={field: held for field, held in link.held.items() if held != letter.id})
    if letter.operation == "create":
        drops = state.integrations[link.integration_id].drops_correlation
        _enqueue(state, record, replace(link, unsettled=()) if drops else link)  # a person has looked for the record
    else:
        _put_link(state, links.without_platform_half(link, letter.fields))
        state.dirty.setdefault(link.integration_id, {})[link.id] = record.trace
    _mark(state, record, letter.incident_id)


def _letter_discarded(state: State, record: e.Record, event: e.DeadLetterDiscarded) -> None:
    letter = state.dead_letters.pop(event.letter_id)
    _mark(state, record, letter.incident_id)


def _conflict_settled(state: State, record: e.Record, event: e.ConflictSettled) -> None:
    conflict = state.conflicts[event.conflict_id]
    state.conflicts[conflict.id] = replace(
        conflict,
        status="resolved" if event.winner else "ignored",
        decided=event.winner or "",
        version=conflict.version + 1,
        resolved_at_s=record.at_s,
        resolved_by=record.by,
    )
    link = state.links.get(link_id(conflict.integration_id, conflict.incident_id))
    state.waiting.pop((link_id(conflict.integration_id, conflict.incident_id), conflict.field), None)
    if link is not None:
        state.links[link.id] = links.after_verdict(
            link, state.incidents[link.incident_id], conflict.field, event.winner, record.at_s
        )
        state.dirty.setdefault(link.integration_id, {})[link.id] = record.trace
    if not isinstance(event.value, UnsetType):
        _change_incident(state, record, conflict.incident_id, {conflict.field: event.value})
    _mark(state, record, conflict.incident_id)


# The argument types are checked by ``tests/core/test_state.py``: every kind of event has the fold of its own name.
_FOLDS: dict[type, Callable[..., None]] = {
    e.DaemonBorn: _born,
    e.TokenCreated: _token_created,
    e.TokenRevoked: _token_revoked,
    e.IncidentDeclared: _declared,
    e.IncidentEdited: _edited,
    e.NoteAdded: _note_added,
    e.AnswerKept: _answer_kept,
    e.IntegrationConfigured: _configured,
    e.IntegrationChanged: _integration_changed,
    e.WebhookSecretsChanged: _secrets_changed,
    e.IntegrationDeleted: _integration_deleted,
    e.Hinted: _hinted,
    e.HintsSettled: _hints_settled,
    e.HintsPostponed: _hints_postponed,
    e.Swept: _swept,
    e.LinkOpened: _link_opened,
    e.LinkJoined: _link_joined,
    e.LinkRemoved: _link_removed,
    e.Observed: _observed,
    e.Merged: _merged,
    e.SendStarted: _send_started,
    e.SendSettled: _send_settled,
    e.SendFailed: _send_failed,
    e.SendCleared: _send_cleared,
    e.DeadLettered: _dead_lettered,
    e.DeadLetterRetried: _letter_retried,
    e.DeadLetterDiscarded: _letter_discarded,
    e.ConflictSettled: _conflict_settled,
}
