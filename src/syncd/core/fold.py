"""The fold: ``evolve(state, record)`` is the only code that changes State.

Start-up, replay, tests and the live daemon run it alike: no clock, no randomness, no input or output in it. What links
do is in ``fold_links.py``, what dead letters, work notes and runs do in ``fold_letters.py``, ``fold_notes.py`` and
``fold_runs.py``; how long things took is measured in ``fold_lag.py``.
"""

from collections.abc import Callable

from msgspec import UnsetType
from msgspec.structs import replace

from syncd.core import events as e
from syncd.core import fold_import, fold_lag, fold_letters, fold_links, fold_mapping, fold_notes, fold_runs, looks
from syncd.core.behind import doubted
from syncd.core.fold_links import change_incident, drop_link, mark, stain
from syncd.core.model import SYNCABLE_FIELDS, Hint, Incident, Settings, Stamp
from syncd.core.queues import Line
from syncd.core.state import ANSWERS_KEPT_S, WEBHOOKS_REMEMBERED_S, State
from syncd.core.traces import TRACED, of_event

WEBHOOKS_REMEMBERED_MAX = 100_000


def evolve(state: State, record: e.Record) -> State:
    """Apply one record: changes ``state`` in place and returns it."""
    state.position, state.at_s = record.position, record.at_s
    for event in record.events:
        kind = type(event)
        told = of_event(record, event) if kind in TRACED else record
        if (measure := fold_lag.MEASURES.get(kind)) is not None:
            measure(state, told, event)
        _FOLDS[kind](state, told, event)
    return state


def _born(state: State, _: e.Record, event: e.DaemonBorn) -> None:
    state.journal_id = event.journal_id


def _history_ended(state: State, _: e.Record, event: e.HistoryEnded) -> None:
    state.history_from = max(state.history_from, event.first_position)


def _token_created(state: State, _: e.Record, event: e.TokenCreated) -> None:
    state.tokens[event.token.id] = event.token


def _token_revoked(state: State, _: e.Record, event: e.TokenRevoked) -> None:
    state.tokens.pop(event.token_id, None)


def _token_used(state: State, record: e.Record, event: e.TokenUsed) -> None:
    if (token := state.tokens.get(event.token_id)) is not None:
        state.tokens[token.id] = replace(token, last_used_at_s=record.at_s)


def _declared(state: State, record: e.Record, event: e.IncidentDeclared) -> None:
    stamp = Stamp(record.at_s, record.by, record.position)
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
        stamps=dict.fromkeys(SYNCABLE_FIELDS, stamp),
        positions=(record.position,),
        begun_at=record.position,
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


def _edited(state: State, record: e.Record, event: e.IncidentEdited) -> None:
    change_incident(state, record, event.incident_id, event.changes)
    mark(state, record, event.incident_id)


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
        may_close=True,  # to be found out anew
        refused_until_s=before.refused_until_s if isinstance(event.credentials, UnsetType) else None,
        swept_at_s=before.swept_at_s if _looks_for_same(before.settings, event.settings) else None,
        polled_upto_s=before.polled_upto_s if _polls_on(before.settings, event) else None,
        instance=None if event.confirmed else before.instance,
        new_since_s=None if event.confirmed else before.new_since_s,  # another instance has another clock
        confirmed_at=record.position if event.confirmed else before.confirmed_at,
        behind="" if event.confirmed else before.behind,
        doubted_at=record.position if event.confirmed and before.behind else before.doubted_at,
        doubted_at_s=record.at_s if event.confirmed and before.behind else before.doubted_at_s,
    )
    if event.confirmed and before.behind:
        for link in list(state.links_under(event.integration_id)):
            fold_links.put_link(state, doubted(link, state.notes.get(link.incident_id, ())))
    fold_mapping.remapped(state, record, event.integration_id, before.settings, event.settings)
    # Whatever was refused under the old settings may pass under the new ones.
    refused = [one for one in state.dead_letters.values() if one.integration_id == event.integration_id]
    fold_letters.free(state, record, refused)
    for link in list(state.links_under(event.integration_id)):
        if link.closed_there:  # under another policy or account it may be written
            fold_links.wake(state, record, link.id)
    if _spreads(before.settings) != _spreads(event.settings):
        # What is not delivered yet may have to stay where it is, or be put back.
        for name in state.outbox.get(event.integration_id, ()):
            stain(state, record, name)
    _decide_again(state, record, event.integration_id)


def _decide_again(state: State, record: e.Record, integration_id: str) -> None:
    """Other rules may decide what waits for a person."""
    for name, _ in state.waiting:
        if state.links[name].integration_id == integration_id:
            stain(state, record, name)


def _ownership_changed(state: State, record: e.Record, event: e.OwnershipChanged) -> None:
    before = state.integrations[event.integration_id]
    rules = {field: rule for field, rule in before.ownership.items() if field != event.field}
    if event.rule is not None:
        rules[event.field] = event.rule
    state.integrations[before.id] = replace(before, ownership=rules)
    _decide_again(state, record, before.id)
    # An edit that is not delivered yet, because it waits or was refused, may have to be put back.
    refused = (one for one in state.dead_letters.values() if one.integration_id == before.id)
    held = dict.fromkeys(one.link_id for one in refused if event.field in one.fields)
    for name in (*state.outbox.get(before.id, ()), *held):
        stain(state, record, name)


def _spreads(settings: Settings) -> tuple[bool, bool]:
    return settings.reads, settings.writes


def _looks_for_same(before: Settings, after: Settings) -> bool:
    """The same new records are wanted; else those that were left out must be looked for again, from the first."""
    return (before.reads, before.create_platform, before.import_query) == (
        after.reads,
        after.create_platform,
        after.import_query,
    )


def _polls_on(before: Settings, event: e.IntegrationChanged) -> bool:
    """Polls go on where they were; else they begin anew, and the sweep at the start finds what changed meanwhile."""
    return "off" not in (before.poll_interval, event.settings.poll_interval) and not event.confirmed


def _instance_pinned(state: State, _: e.Record, event: e.InstancePinned) -> None:
    before = state.integrations[event.integration_id]
    state.integrations[event.integration_id] = replace(before, instance=event.instance)


def _login_refused(state: State, _: e.Record, event: e.LoginRefused) -> None:
    before = state.integrations[event.integration_id]
    state.integrations[event.integration_id] = replace(before, refused_until_s=event.until_s)


def _login_accepted(state: State, _: e.Record, event: e.LoginAccepted) -> None:
    before = state.integrations[event.integration_id]
    state.integrations[event.integration_id] = replace(before, refused_until_s=None)


def _journal_behind(state: State, _: e.Record, event: e.JournalBehind) -> None:
    before = state.integrations[event.integration_id]
    state.integrations[event.integration_id] = replace(before, behind=event.evidence)


def _secrets_changed(state: State, _: e.Record, event: e.WebhookSecretsChanged) -> None:
    before = state.integrations[event.integration_id]
    state.integrations[event.integration_id] = replace(before, webhook_secrets=event.secrets)


def _integration_deleted(state: State, record: e.Record, event: e.IntegrationDeleted) -> None:
    gone = event.integration_id
    for link in list(state.links_under(gone)):
        drop_link(state, record, link, "integration-deleted")
        mark(state, record, link.incident_id)
    for queues in (
        state.hints,
        state.hint_lines,
        state.dirty,
        state.outbox,
        state.unlinked,
        state.seen,
        state.retry_lines,
        state.lags,
        state.runs,
        state.schedules,
        state.set_aside,
    ):
        queues.pop(gone, None)
    del state.integrations[gone]


def _hinted(state: State, record: e.Record, event: e.Hinted) -> None:
    if event.key:
        seen = state.seen.setdefault(event.integration_id, {})
        _forget(seen, record.at_s - WEBHOOKS_REMEMBERED_S, lambda at_s: at_s)
        while len(seen) >= WEBHOOKS_REMEMBERED_MAX:
            del seen[next(iter(seen))]
        seen[event.key] = record.at_s
    if event.hint is not None:
        _put_hint(state, event.integration_id, replace(event.hint, position=record.position))
    if event.rule is not None:
        told = state.integrations[event.integration_id]
        state.integrations[told.id] = replace(told, rules=told.rules | {event.occasion: event.rule})


def _put_hint(state: State, integration_id: str, hint: Hint) -> None:
    state.hints.setdefault(integration_id, {})[hint.external_id] = hint
    line = state.hint_lines.setdefault(integration_id, Line())
    line.put(hint.external_id, (hint.next_at_s, hint.position, hint.external_id))


def _hints_settled(state: State, record: e.Record, event: e.HintsSettled) -> None:
    hints = state.hints.get(event.integration_id, {})
    for external_id, count in event.counts.items():
        hint = hints.get(external_id)
        if hint is not None and hint.position <= event.upto:
            del hints[external_id]
            state.hint_lines[event.integration_id].drop(external_id)
        elif hint is not None:
            _back_in_line(state, record, event.integration_id, hint)
        link_id = state.link_of_record.get((event.integration_id, external_id))
        if link_id is not None:
            link = state.links[link_id]
            if count is not None or link.state != "parked" or link.closed_there:  # else it was not shown, or not taken
                link = looks.looked(link, event.upto)
            if count is not None and (link.known_count is None or count >= link.known_count):
                # It confirms, or renews, the picture we have.
                link = replace(link, known_count=count, observed_at=record.position, observed_at_s=record.at_s)
            state.links[link_id] = link
            if looks.waits_for_look(link) and link.state != "parked":
                stain(state, record, link_id)


def _back_in_line(state: State, record: e.Record, integration_id: str, hint: Hint) -> None:
    """Told of anew while it was read: it is read again when the others have had their turn."""
    _put_hint(state, integration_id, replace(hint, next_at_s=max(hint.next_at_s, record.at_s)))


def _hints_postponed(state: State, record: e.Record, event: e.HintsPostponed) -> None:
    hints = state.hints.get(event.integration_id, {})
    for hint in event.hints:
        now = hints.get(hint.external_id)
        if now is not None and now.position <= hint.position:
            _put_hint(state, event.integration_id, hint)
        elif now is not None:
            _back_in_line(state, record, event.integration_id, now)


def _closing_learned(state: State, _: e.Record, event: e.ClosingLearned) -> None:
    told = state.integrations[event.integration_id]
    state.integrations[told.id] = replace(told, may_close=event.may_close)


def _swept(state: State, _: e.Record, event: e.Swept) -> None:
    before = state.integrations[event.integration_id]
    since_s = event.new_since_s if before.new_since_s is None else before.new_since_s
    state.integrations[event.integration_id] = replace(before, swept_at_s=event.upto_s, new_since_s=since_s)


def _polled(state: State, _: e.Record, event: e.Polled) -> None:
    told = state.integrations[event.integration_id]
    state.integrations[told.id] = replace(told, polled_upto_s=event.upto_s)


def _observed(state: State, record: e.Record, event: e.Observed) -> None:
    fold_links.observed(state, record, event)
    # What the record's former state refused may pass now.
    fold_letters.free(state, record, state.letters_under(event.link_id))


def _send_settled(state: State, record: e.Record, event: e.SendSettled) -> None:
    waiting = state.letters_under(event.link_id)
    fold_links.send_settled(state, record, event)
    delivered = [one for one in waiting if one.id not in state.dead_letters]
    fold_letters.free(state, record, fold_letters.alike(state, delivered))


# The argument types are checked by ``tests/core/test_state.py``: every kind of event has the fold of its own name.
_FOLDS: dict[type, Callable[..., None]] = {
    e.DaemonBorn: _born,
    e.HistoryEnded: _history_ended,
    e.TokenCreated: _token_created,
    e.TokenRevoked: _token_revoked,
    e.TokenUsed: _token_used,
    e.IncidentDeclared: _declared,
    e.IncidentEdited: _edited,
    e.NoteAdded: fold_notes.note_added,
    e.AnswerKept: _answer_kept,
    e.IntegrationConfigured: _configured,
    e.IntegrationChanged: _integration_changed,
    e.OwnershipChanged: _ownership_changed,
    e.InstancePinned: _instance_pinned,
    e.LoginRefused: _login_refused,
    e.LoginAccepted: _login_accepted,
    e.JournalBehind: _journal_behind,
    e.WebhookSecretsChanged: _secrets_changed,
    e.IntegrationDeleted: _integration_deleted,
    e.Hinted: _hinted,
    e.HintsSettled: _hints_settled,
    e.HintsPostponed: _hints_postponed,
    e.Swept: _swept,
    e.Polled: _polled,
    e.RunStarted: fold_runs.run_started,
    e.RunPlanned: fold_runs.run_planned,
    e.RunEnded: fold_runs.run_ended,
    e.ScheduleSet: fold_runs.schedule_set,
    e.DuplicateSetAside: fold_runs.duplicate_set_aside,
    e.ImportStarted: fold_import.started,
    e.ImportAdvanced: fold_import.advanced,
    e.ImportEnded: fold_import.ended,
    e.LinkOpened: fold_links.link_opened,
    e.LinkJoined: fold_links.link_joined,
    e.LinkRemoved: fold_links.link_removed,
    e.LinkParked: fold_links.link_parked,
    e.LinkReleased: fold_links.link_released,
    e.DifferenceAccepted: fold_links.difference_accepted,
    e.ClosingLearned: _closing_learned,
    e.Observed: _observed,
    e.Merged: fold_links.merged,
    e.SendStarted: fold_links.send_started,
    e.SendSettled: _send_settled,
    e.SendFailed: fold_links.send_failed,
    e.SendCleared: fold_links.send_cleared,
    e.NoteSendStarted: fold_notes.note_send_started,
    e.NoteSent: fold_notes.note_sent,
    e.NoteSendFailed: fold_notes.note_send_failed,
    e.NotesRead: fold_notes.notes_read,
    e.NoteNamed: fold_notes.note_named,
    e.DeadLettered: fold_letters.dead_lettered,
    e.DeadLetterRetried: fold_letters.letter_retried,
    e.DeadLetterDiscarded: fold_letters.letter_discarded,
    e.ConflictSettled: fold_links.conflict_settled,
}
