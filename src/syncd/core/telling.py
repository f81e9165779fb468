"""What each kind of event tells: a stable type, and its data. Secrets, digests and webhook bodies are never told.

``im.incident.*`` is what people did here, ``im.sync.*`` what the sync saw, decided and sent, ``im.integration.*`` and
``im.token.*`` what was set up. Types and keys only ever gain members: scripts follow them (docs/http.md, "Events").
"""

from collections.abc import Iterator
from typing import Final, TypeAlias

import msgspec
from msgspec import UnsetType

from syncd.core import events as e
from syncd.core.model import Half, Observation, Settings
from syncd.core.views import optional_time, rfc3339

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"
Found: TypeAlias = tuple[str, dict[str, "Json"]]

# Bookkeeping: what they stand for is told by the events beside them, or is nothing to anybody.
UNTOLD: Final = (e.AnswerKept, e.HintsSettled, e.HintsPostponed, e.NotesRead, e.NoteNamed, e.Polled, e.ImportAdvanced)


def told(event: e.Event) -> Iterator[Found]:
    """What one event tells: its type after ``im.``, and its data. A merge tells one thing for each decision."""
    match event:
        case e.IncidentDeclared():
            fields = ("title", "description", "severity", "status", "assigned_to", "service", "origin")
            yield "incident.declared", {name: getattr(event, name) for name in fields}
        case e.IncidentEdited():
            yield "incident.updated", {"changes": dict(event.changes)}
        case e.NoteAdded():
            yield (
                "incident.noted",
                {"id": event.note_id, "text": event.text, "author": event.author, "origin": event.origin},
            )
        case e.Merged():
            yield from _merged(event)
        case e.ConflictSettled():
            value = event.value if isinstance(event.value, str) else None
            verdict: dict[str, Json] = {"conflict": event.conflict_id, "winner": event.winner, "value": value}
            yield "sync.conflict_resolved" if event.winner else "sync.conflict_ignored", verdict
        case e.DeadLettered():
            yield "sync.dead_letter", _dead_letter(event)
        case e.DeadLetterRetried():
            yield "sync.dead_letter_retried", {"id": event.letter_id}
        case e.DeadLetterDiscarded():
            yield "sync.dead_letter_discarded", {"id": event.letter_id}
        case _:
            yield from _told_of_link(event)
            yield from _told_of_setup(event)


def _told_of_link(event: e.Event) -> Iterator[Found]:
    match event:
        case e.LinkOpened():
            yield "sync.link_opened", {"integration_id": event.integration_id}
        case e.LinkJoined():
            yield "sync.linked", {"integration_id": event.integration_id, **_seen(event.observation)}
        case e.LinkRemoved():
            yield "sync.unlinked", {}
        case e.LinkParked():
            yield "sync.parked", {"reason": event.reason}
        case e.LinkReleased():
            yield "sync.released", {}
        case e.Observed():
            yield "sync.observed", _seen(event.observation)
        case e.SendStarted():
            attempt = event.attempt
            yield (
                "sync.send_started",
                {
                    "attempt": attempt.number,
                    "operation": attempt.kind,
                    "fields": list(attempt.sent),
                    "sent": {**attempt.sent},
                    "columns": list(attempt.columns),
                },
            )
        case e.SendSettled():
            told: dict[str, Json] = {
                "attempt": event.attempt,
                "fields": list(event.halves),
                "unseen_writes": event.unseen_writes,
            }
            yield "sync.sent", {**told, **_seen(event.observation)}
        case e.DifferenceAccepted():
            yield "sync.accepted", {"fields": list(event.halves), "reason": event.reason}
        case e.SendFailed():
            moves: dict[str, Json] = {"assignment_group": None, "assignment_group_before": None}
            if event.reroute is not None:
                moves = {"assignment_group": event.reroute.name, "assignment_group_before": event.reroute.before}
            yield "sync.failed", {**_failed(event), **moves}
        case e.SendCleared():
            yield "sync.send_cleared", {}
        case _:
            yield from _told_of_notes(event)


def _told_of_notes(event: e.Event) -> Iterator[Found]:
    match event:
        case e.NoteSendStarted():
            yield "sync.note_started", {"note_id": event.note_id, "text": event.attempt.text}
        case e.NoteSent():
            yield "sync.note_sent", {"note_id": event.note_id, "found": event.mod_count is None}
        case e.NoteSendFailed():
            yield "sync.note_failed", {"note_id": event.note_id, **_failed(event)}
        case _:
            return


def _told_of_setup(event: e.Event) -> Iterator[Found]:
    """What concerns an integration or the daemon as a whole."""
    told: dict[str, Json]
    match event:
        case e.IntegrationConfigured():
            yield "integration.configured", _settings(event.integration.settings)
        case e.IntegrationChanged():
            is_new = not isinstance(event.credentials, UnsetType)
            yield "integration.changed", {**_settings(event.settings), "credentials_changed": is_new}
        case e.WebhookSecretsChanged():
            until = [secret.valid_until_s for secret in event.secrets if secret.valid_until_s is not None]
            yield (
                "integration.webhook_secret_rotated",
                {"previous_valid_until": optional_time(max(until, default=None))},
            )
        case e.OwnershipChanged():
            rule = None if event.rule is None else msgspec.to_builtins(event.rule)
            yield "integration.ownership_changed", {"field": event.field, "rule": rule}
        case e.IntegrationDeleted():
            yield "integration.deleted", {}
        case e.Swept():
            yield "integration.swept", {"upto": rfc3339(event.upto_s)}
        case e.ImportStarted():
            yield "integration.import_started", {"import": event.run.id, "query": event.run.query}
        case e.ImportEnded():
            yield "integration.import_ended", {"status": event.status, "reason": event.reason}
        case e.Hinted():
            hint = event.hint
            told = {"external_id": event.external_id, "known_already": hint is None}
            if hint is not None:
                told |= {"sys_mod_count": hint.mod_count, "deleted": hint.deleted}
            yield "sync.hinted", told
        case _:
            yield from _told_of_instance(event)
            yield from _told_of_runs(event)
            yield from _told_of_daemon(event)


def _told_of_instance(event: e.Event) -> Iterator[Found]:
    """What was learned of an integration's instance, and of our account there."""
    match event:
        case e.JournalBehind():
            yield "integration.journal_behind", {"evidence": event.evidence}
        case e.InstancePinned():
            yield "integration.pinned", {"instance": msgspec.to_builtins(event.instance)}
        case e.LoginRefused():
            yield "integration.login_refused", {"not_tried_before": rfc3339(event.until_s)}
        case e.LoginAccepted():
            yield "integration.login_accepted", {}
        case e.ClosingLearned():
            yield "integration.closing_learned", {"may_close": event.may_close}
        case _:
            return


def _told_of_runs(event: e.Event) -> Iterator[Found]:
    match event:
        case e.RunStarted():
            run = event.run
            yield "integration.run_started", {"id": run.id, "mode": run.mode, "trigger": run.trigger}
        case e.RunPlanned():
            yield "integration.run_planned", {"id": event.run_id, "checked": event.checked, "causes": {**event.found}}
        case e.RunEnded():
            yield "integration.run_ended", {"id": event.run_id, "status": event.status, "reason": event.reason}
        case e.ScheduleSet():
            plan = event.schedule
            told: dict[str, Json] = {
                "interval": plan.interval,
                "auto_heal": plan.auto_heal,
                "enabled": plan.enabled,
            }
            yield "integration.reconcile_schedule_set", told
        case e.DuplicateSetAside():
            yield "sync.duplicate_set_aside", {"external_id": event.external_id}


def _told_of_daemon(event: e.Event) -> Iterator[Found]:
    match event:
        case e.TokenCreated():
            token = event.token
            yield (
                "token.created",
                {"name": token.name, "scope": token.scope, "expires_at": optional_time(token.expires_at_s)},
            )
        case e.TokenRevoked():
            yield "token.revoked", {}
        case e.TokenUsed():
            yield "token.used", {}
        case e.DaemonBorn():
            yield "daemon.born", {}
        case e.HistoryEnded():
            yield "daemon.history_ended", {"kept_from": event.first_position}
        case _:
            return


def _settings(settings: Settings) -> dict[str, Json]:
    shown: dict[str, Json] = msgspec.to_builtins(settings)
    return shown


def _failed(event: e.SendFailed | e.NoteSendFailed) -> dict[str, Json]:
    failure = event.failure
    return {
        "kind": failure.kind,
        "message": failure.message,
        "status": failure.status,
        "detail": failure.detail,
        "ambiguous": event.ambiguous,
        "next_attempt_at": rfc3339(event.next_at_s),
    }


def _merged(event: e.Merged) -> Iterator[Found]:
    for decided in event.decided:
        base = decided.halves
        yield (
            "sync.decided",
            {
                "field": decided.field,
                "reason": decided.reason,
                "value": _text(decided.value),
                "base": {"platform": _text(base.platform), "external": _text(base.external)},
            },
        )
    for conflict in event.conflicts:
        yield (
            "sync.conflict",
            {
                "id": conflict.id,
                "integration_id": conflict.integration_id,
                "field": conflict.field,
                "platform": conflict.platform,
                "external": conflict.external,
                "strategy": conflict.strategy,
                "status": conflict.status,
                "decided": conflict.decided,
            },
        )


def _dead_letter(event: e.DeadLettered) -> dict[str, Json]:
    letter = event.letter
    return {
        "id": letter.id,
        "integration_id": letter.integration_id,
        "operation": letter.operation,
        "fields": list(letter.fields),
        "error": {
            "kind": letter.error.kind,
            "status": letter.error.status,
            "message": letter.error.message,
            "detail": letter.error.detail,
        },
        "remedy": letter.remedy,
    }


def _seen(seen: Observation) -> dict[str, Json]:
    return {
        "external_id": seen.external_id,
        "external_number": seen.number,
        "values": {**seen.columns},
        "sys_mod_count": seen.mod_count,
        "updated_by": seen.updated_by,
        "updated_at": None if seen.updated_at_s is None else rfc3339(seen.updated_at_s),
    }


def _text(half: Half | str | UnsetType) -> str | None:
    return half if isinstance(half, str) else None
