"""Bugs to be planted in the daemon: each changes how it behaves, in the process; its name says what it does wrong."""

import math
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, Final

import pytest
import trio
from msgspec import UNSET
from msgspec.structs import replace

from syncd.actors import breaker, reading, sender, survey
from syncd.core import beside, deciding, fold, fold_letters, hints, links, looks, outbox, sending, untold, worknotes
from syncd.core.capture import Captured, capture
from syncd.core.events import AnswerKept, DeadLettered, DeadLetterRetried, Event, Hinted, Merged, Record, SendStarted
from syncd.core.merge import Decision, Policy, halves_after
from syncd.core.model import FieldBase, Halves, Link, NoteEntry
from syncd.core.state import State
from syncd.journal import writer
from syncd.journal.codec import encode_record
from syncd.journal.files import Watermark
from syncd.journal.writer import Journal
from syncd.systems import accounts, logins
from tests.simulation.seams import SimClock

NEVER: Final = 1e9


def acknowledges_before_it_is_durable(patch: pytest.MonkeyPatch) -> None:
    async def settled(_: Journal) -> None:
        await trio.lowlevel.checkpoint()

    patch.setattr(Journal, "settled", settled)


def repeats_creates_without_looking(patch: pytest.MonkeyPatch) -> None:
    for module in (sending, beside):
        patch.setattr(module, "looks_up", lambda _: False)


def moves_the_base_when_it_sends(patch: pytest.MonkeyPatch) -> None:
    after_started = links.after_started

    def planted(link: Link, event: SendStarted) -> Link:
        link = after_started(link, event)
        sent = event.attempt.sent.items()
        moved = {name: replace(link.base.get(name, FieldBase()), platform=value) for name, value in sent}
        return replace(link, base=link.base | moved)

    patch.setattr(links, "after_started", planted)


def takes_its_own_late_writes_for_edits(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(deciding, "late_write", lambda *_: None)


def takes_a_hidden_field_for_an_empty_one(patch: pytest.MonkeyPatch) -> None:
    observation = hints.Read

    class Planted(observation):  # type: ignore[valid-type, misc] # a Struct like the one it stands for
        def __post_init__(self) -> None:
            for seen in self.rows:
                seen.columns.setdefault("description", "")

    patch.setattr(reading, "Read", Planted)


def forgets_who_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(deciding, "_conflict", lambda *_: None)


def _not_on_disk(patch: pytest.MonkeyPatch, without: Callable[[Event], Event | None]) -> None:
    def planted(record: Record) -> bytes:
        kept = tuple(event for one in record.events if (event := without(one)) is not None)
        return encode_record(replace(record, events=kept))

    patch.setattr(writer, "encode_record", planted)


def keeps_conflicts_in_memory_only(patch: pytest.MonkeyPatch) -> None:
    _not_on_disk(patch, lambda event: replace(event, conflicts=()) if isinstance(event, Merged) else event)


def keeps_first_answers_in_memory_only(patch: pytest.MonkeyPatch) -> None:
    _not_on_disk(patch, lambda event: None if isinstance(event, AnswerKept) else event)


def sends_the_newest_note_first(patch: pytest.MonkeyPatch) -> None:
    def newest(link: Link | None) -> NoteEntry | None:
        return link.notes[-1] if link is not None and link.state == "active" and link.notes else None

    for module in (outbox, worknotes):
        patch.setattr(module, "first_note", newest)


def repeats_notes_without_looking(patch: pytest.MonkeyPatch) -> None:
    def forgets(link: Link | None) -> NoteEntry | None:
        entry = first_note(link)
        return entry and replace(entry, in_flight=None, unsettled=None)

    first_note = outbox.first_note
    patch.setattr(worknotes, "must_look", lambda *_: False)
    prepare = worknotes.prepare_note

    def planted(*given: object, **more: object) -> object:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(worknotes, "first_note", forgets)
            return prepare(*given, **more)  # type: ignore[arg-type]

    patch.setattr(worknotes, "prepare_note", planted)


def believes_older_pictures(patch: pytest.MonkeyPatch) -> None:
    for module in (sending, hints):
        patch.setattr(module, "is_stale", lambda *_: False)


def writes_on_old_reads(patch: pytest.MonkeyPatch) -> None:
    for name in ("FRESH_S", "RECORDED_S_MAX"):
        patch.setattr(sender, name, NEVER)


def does_not_wait_when_told_to(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(breaker.Breaker, "_close_for", lambda *_: None)
    patch.setattr(accounts.Account, "be_quiet", lambda *_: None)


def never_pauses_on_refused_credentials(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(logins, "PROBE_AFTER_S", logins.ONCE_MORE_AFTER_S)


def tries_refused_credentials_at_every_start(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(logins.Logins, "were_refused", lambda *_: None)


def forgets_what_it_was_told_when_settings_change(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(accounts.Accounts, "terms", lambda *_: accounts.Terms(accounts.Account(), accounts.Rate()))


def does_not_look_for_new_records(patch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> bool:
        await trio.lowlevel.checkpoint()
        return True

    patch.setattr(reading.Reader, "walk_new", nothing)


def settles_the_loser_and_forgets_to_write(patch: pytest.MonkeyPatch) -> None:
    def planted(decision: Decision, now: str, raw: str, half: Halves) -> Halves:
        after = halves_after(decision, now, raw, half)
        return replace(after, platform=now) if after.platform is UNSET else after

    patch.setattr(deciding, "halves_after", planted)


def _judges_by(patch: pytest.MonkeyPatch, changed: Mapping[str, object]) -> None:
    policy_for = deciding.policy_for

    def planted(*given: Any) -> Policy:
        return replace(policy_for(*given), **changed)

    patch.setattr(deciding, "policy_for", planted)


def spreads_against_the_direction(patch: pytest.MonkeyPatch) -> None:
    _judges_by(patch, {"inbound": True, "outbound": True})


def lets_anybody_edit_what_is_owned(patch: pytest.MonkeyPatch) -> None:
    _judges_by(patch, {"exclusive": False})


def forgets_what_stayed_where_it_was(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(untold, "is_lost_with", lambda *_: False)


def settles_as_equal_on_an_old_picture(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(looks, "shows_since", lambda *_: True)


def replays_the_value_of_a_dead_letter(patch: pytest.MonkeyPatch) -> None:
    refused: dict[str, dict[str, str]] = {}
    again: dict[str, dict[str, str]] = {}
    lettered, retried, plan = fold_letters.dead_lettered, fold_letters.letter_retried, deciding.plan
    update = sending._update

    def planted_letter(state: State, record: Record, event: DeadLettered) -> None:
        attempt = state.links[event.letter.link_id].in_flight
        if attempt is not None and event.letter.operation == "update":
            refused[event.letter.id] = {field: attempt.sent[field] for field in event.letter.fields}
        lettered(state, record, event)

    def planted_retry(state: State, record: Record, event: DeadLetterRetried) -> None:
        again[event.link_id] = refused.get(event.letter_id, {})
        retried(state, record, event)

    def planted_plan(link: Link, *given: Any) -> tuple[Merged, tuple[str, ...]]:
        merged, fields = plan(link, *given)
        return merged, tuple(dict.fromkeys((*fields, *again.get(link.id, ()))))

    def planted_update(incident: Any, integration: Any, *given: Any) -> Any:
        old = again.pop(f"{integration.id}/{incident.id}", {})
        return update(replace(incident, **old), integration, *given)

    patch.setitem(fold._FOLDS, DeadLettered, planted_letter)
    patch.setitem(fold._FOLDS, DeadLetterRetried, planted_retry)
    patch.setattr(sending, "plan", planted_plan)
    patch.setattr(sending, "_update", planted_update)


def keeps_webhook_keys_in_memory_only(patch: pytest.MonkeyPatch) -> None:
    _not_on_disk(patch, lambda event: replace(event, key="") if isinstance(event, Hinted) else event)


def takes_a_snapshot_inside_a_batch(patch: pytest.MonkeyPatch) -> None:
    async def planted(journal: Journal) -> tuple[Captured, Watermark]:
        end, written = journal.end, trio.Event()
        stop = journal.subscribe(lambda _: written.set())
        await written.wait()
        stop()
        return replace(capture(journal.state), position=end.position), end

    patch.setattr(Journal, "capture", planted)


def lets_runs_pass_the_brake(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(survey, "verdict", lambda *_: "")


def waits_by_the_wall_clock(patch: pytest.MonkeyPatch) -> None:
    clocks: list[SimClock] = []
    begin = SimClock.__init__

    def planted(clock: SimClock, *given: Any) -> None:
        begin(clock, *given)
        clocks[:] = [clock]

    def now_s() -> float:
        return clocks[0].now_s()

    async def sleep_until(at_s: float) -> None:
        await trio.sleep(max(0.0, at_s - now_s()) if math.isfinite(at_s) else math.inf)

    patch.setattr(SimClock, "__init__", planted)
    wall = SimpleNamespace(**vars(trio))
    wall.current_time, wall.sleep_until = now_s, sleep_until
    patch.setattr(breaker, "trio", wall)


class _Forgetful(dict[str, None]):
    """Links that are being written, which nobody finds in it."""

    def __iter__(self) -> Any:
        return iter(())

    def __delitem__(self, name: str) -> None:
        self.pop(name, None)


def writes_one_record_by_several_hands(patch: pytest.MonkeyPatch) -> None:
    begin = sender.Sender.__init__

    def planted(mine: sender.Sender, *given: Any) -> None:
        begin(mine, *given)
        mine._active = _Forgetful()

    patch.setattr(sender.Sender, "__init__", planted)
