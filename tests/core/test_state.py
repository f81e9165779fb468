"""The fold, and random histories of real decisions through it: nothing lost, nothing invented, nothing restless."""

import inspect
import random
from typing import get_args, get_type_hints

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from syncd.core import events as e
from syncd.core.deciding import merge_link
from syncd.core.fold import _FOLDS
from syncd.core.model import (
    Attempt,
    Conflict,
    DeadLetter,
    Failure,
    Halves,
    Hint,
    ImportRun,
    Integration,
    KeptAnswer,
    LeftOut,
    NoteAttempt,
    Observation,
    OwnershipRule,
    PinnedInstance,
    SealedSecret,
    Stamp,
    Token,
    WebhookSecret,
)
from syncd.core.run import Drift, Run, Schedule
from tests.core.promises import INTEGRATION
from tests.core.world import KINDS, RARE_KINDS, SETTINGS, World

indexes = st.integers(0, 14)
acts = st.lists(st.tuples(st.sampled_from(KINDS), indexes, indexes), max_size=60)
rare_acts = st.lists(st.tuples(st.sampled_from(KINDS + RARE_KINDS), indexes, indexes), max_size=60)
skews = st.sampled_from((0.0, 37.0, -600.0))
unhurried = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def lived(history: list[tuple[str, int, int]], skew_s: float) -> World:
    """A world with one settled pair, and then this history."""
    world = World(skew_s)
    world.act("declare", 0, 0)
    world.quiet()
    for kind, a, b in history:
        world.act(kind, a, b)
    return world


def test_every_kind_of_event_has_the_fold_that_takes_it() -> None:
    assert set(_FOLDS) == set(get_args(e.Event))
    for kind, fold in _FOLDS.items():
        assert get_type_hints(fold)["event"] is kind
        assert list(inspect.signature(fold).parameters)[2] == "event"


@unhurried
@given(acts, skews)
def test_after_quiet_both_sides_are_equal_or_the_difference_is_listed(
    history: list[tuple[str, int, int]], skew_s: float
) -> None:
    world = lived(history, skew_s)
    world.quiet()
    assert world.unlisted() == []


@unhurried
@given(acts)
def test_when_all_is_quiet_every_webhook_once_more_and_another_sweep_write_nothing(
    history: list[tuple[str, int, int]],
) -> None:
    world = lived(history, 0.0)
    world.quiet()
    requests, incidents = world.requests, {name: one.version for name, one in world.state.incidents.items()}
    world.hooks += world.seen_hooks
    world.quiet()
    assert world.requests == requests
    assert {name: one.version for name, one in world.state.incidents.items()} == incidents


@unhurried
@given(rare_acts, skews)
def test_the_work_lists_agree_with_the_links_and_replay_gives_the_same_state(
    history: list[tuple[str, int, int]], skew_s: float
) -> None:
    world = lived(history, skew_s)
    world.quiet()
    assert msgspec.structs.asdict(world.replayed()) == msgspec.structs.asdict(world.state)


def busy_history(seed: int) -> list[tuple[str, int, int]]:
    """Steps, mostly edits on both sides and the work they make."""
    rng = random.Random(seed)
    kinds = [kind for kind in KINDS if kind not in {"declare", "agent creates", "pause", "defaults"}]
    kinds += ["platform edit", "agent edit", "verdict", "retry", "pause", "defaults", "agent creates"]
    return [(rng.choice(kinds), rng.randrange(12), rng.randrange(12)) for _ in range(250)]


@pytest.mark.parametrize("seed", range(40))
def test_a_busy_history_loses_nothing_and_comes_to_rest(seed: int) -> None:
    world = lived(busy_history(seed), (0.0, 37.0, -600.0)[seed % 3])
    world.quiet()
    assert world.unlisted() == []
    requests = world.requests
    world.hooks += world.seen_hooks
    world.quiet()
    assert world.requests == requests


@pytest.mark.parametrize("seed", range(40))
def test_a_busy_history_loses_nothing_while_edits_spread_now_this_way_and_now_that(seed: int) -> None:
    rng = random.Random(seed)
    history = busy_history(seed)
    for step in range(0, len(history), 15):
        history[step] = ("direction", rng.randrange(4), 0)
    lived(history, (0.0, 37.0, -600.0)[seed % 3]).quiet()


@pytest.mark.parametrize("seed", range(40))
def test_a_busy_history_loses_nothing_while_a_column_or_the_counts_are_hidden_now_and_then(seed: int) -> None:
    rng = random.Random(seed)
    history = busy_history(seed)
    for step in range(0, len(history), 12):
        history[step : step + 2] = [("hide", rng.randrange(2), 0), ("direction", rng.randrange(4), 0)]
    lived(history, (0.0, 37.0, -600.0)[seed % 3]).quiet()


@unhurried
@given(acts)
def test_no_incident_ever_gets_two_records(history: list[tuple[str, int, int]]) -> None:
    world = lived(history, 0.0)
    world.quiet()
    ours = [row["correlation_id"] for row in world.rows.values() if row.get("correlation_id")]
    assert len(ours) == len(set(ours))


# -- what a fold does that no decision shows ---------------------------------------------------------------------------


def sample(kind: type[e.Event]) -> e.Event:
    """An event of this kind, with something in every field that has no default."""
    at = Observation("r1", {"state": "1", "short_description": "t"}, mod_count=3, updated_at_s=5.0)
    halves = Halves("open", "1")
    attempt = Attempt(4, "update", {"title": "t"}, {"short_description": "t"}, 1.0)
    conflict = Conflict(
        "conflict-1", "int_1", "INC-1", "r1", "title", None, "a", "b", "ann", "bob", 1.0, 2.0, "manual-review",
        "pending", "", 3.0,
    )  # fmt: skip
    failure = Failure("refused", "words", 403, "detail")
    letter = DeadLetter(
        "entry-1", "int_1", "int_1/INC-1", "INC-1", "r1", "update", ("title",), failure, "do", 1, 1.0, 2.0
    )
    sealed = SealedSecret("k", "n", "c")
    drift = Drift("INC-1", "r1", "title", "a", None, "b", "missed-webhook", "take it over", healed=True)
    run = Run("run-17", "int_1", "heal", "manual", 1.0, forced=True, drifts=(drift,), found={"missed-webhook": 1})
    events: tuple[e.Event, ...] = (
        e.DaemonBorn("j"),
        e.HistoryEnded(4711),
        e.TokenCreated(Token("token-1", "ci", "read", "digest", 1.0)),
        e.TokenRevoked("token-1"),
        e.TokenUsed("token-1"),
        e.IncidentDeclared("INC-1", "t", "SEV-1"),
        e.IncidentEdited("INC-1", {"title": "u", "service": None}),
        e.NoteAdded("INC-1", "note-1", "text", "ann"),
        e.AnswerKept("ann key", KeptAnswer("digest", "{}", 1.0)),
        e.IntegrationConfigured(Integration("int_1", SETTINGS, 1.0, credentials={"password": sealed})),
        e.IntegrationChanged("int_1", SETTINGS, {"password": sealed}, "svc"),
        e.JournalBehind("int_1", "INC0010001 was made for INC-9"),
        e.InstancePinned("int_1", PinnedInstance("prod", by_api=True)),
        e.LoginRefused("int_1", 300.0),
        e.LoginAccepted("int_1"),
        e.WebhookSecretsChanged("int_1", (WebhookSecret(sealed, 9.0),)),
        e.IntegrationDeleted("int_1"),
        e.Hinted("int_1", "r1", Hint("r1", 1, "t"), "key", "{}"),
        e.HintsSettled("int_1", 1, {"r1": 3, "r2": None}),
        e.HintsPostponed("int_1", (Hint("r1", 1, "t"),)),
        e.Swept("int_1", 1.0),
        e.Polled("int_1", 1.0),
        e.RunStarted(run),
        e.RunPlanned("int_1", "run-17", 3, run.drifts, run.found),
        e.RunEnded("int_1", "run-17", "stopped", "too much", "brake", 3, run.drifts, run.found),
        e.ScheduleSet("int_1", Schedule("1h", auto_heal=True, set_at_s=2.0)),
        e.DuplicateSetAside("int_1", "r2", "INC-1"),
        e.ImportStarted("int_1", ImportRun(id="import-1", query="active=true", by="user:ann", started_at_s=1.0)),
        e.ImportAdvanced("int_1", "r1", {"imported": 1}, 3, (LeftOut("r2", "INC1", "why"),)),
        e.ImportEnded("int_1", "stopped", "why"),
        e.LinkOpened("int_1/INC-1", "int_1", "INC-1"),
        e.LinkJoined("int_1/INC-1", "int_1", "INC-1", at, {"status": halves, "title": Halves()}),
        e.LinkRemoved("int_1/INC-1"),
        e.LinkParked("int_1/INC-1", "merging it failed twice"),
        e.DifferenceAccepted("int_1/INC-1", {"status": halves}, "left-to-auto-close"),
        e.ClosingLearned("int_1", may_close=False),
        e.LinkReleased("int_1/INC-1"),
        e.Observed("int_1/INC-1", at),
        e.Merged("int_1/INC-1", (e.FieldDecided("status", "owner", Halves(UNSET, "1"), "open"),), (conflict,), True),
        e.SendStarted("int_1/INC-1", attempt),
        e.SendSettled("int_1/INC-1", 4, at, {"status": halves}),
        e.SendFailed("int_1/INC-1", failure, 1.0, ambiguous=True),
        e.SendCleared("int_1/INC-1"),
        e.NoteSendStarted("int_1/INC-1", "note-1", NoteAttempt(4, "ann:\nhello", 1.0)),
        e.NoteSent("int_1/INC-1", "note-1"),
        e.NoteSendFailed("int_1/INC-1", "note-1", failure, 9.0, ambiguous=True),
        e.NotesRead({"int_1/INC-1": 4}, {"int_1/INC-1": 5.0}),
        e.NoteNamed("INC-1", "note-1", "n1"),
        e.DeadLettered(letter, hold=True),
        e.DeadLetterRetried("entry-1"),
        e.DeadLetterDiscarded("entry-1"),
        e.ConflictSettled("conflict-1", "platform", "v"),
        e.OwnershipChanged("int_1", "title", OwnershipRule("external", 5, exclusive=True)),
    )
    return next(event for event in events if type(event) is kind)


@pytest.mark.parametrize("kind", get_args(e.Event), ids=lambda kind: kind.__name__)
def test_every_kind_of_event_comes_back_from_the_journal_as_it_went_in(kind: type[e.Event]) -> None:
    record = e.Record(1, "default", 1.5, "ann", "t", (sample(kind),))
    assert msgspec.json.decode(msgspec.json.encode(record), type=e.Record) == record


def test_a_new_incident_waits_for_a_record_only_under_integrations_that_want_one() -> None:
    world = World()
    wanted = {
        "int_2": replace(SETTINGS, create_external=False),
        "int_3": replace(SETTINGS, sync_direction="inbound"),
        "int_4": replace(SETTINGS, enabled=False),
        "int_5": replace(SETTINGS, organization_id="other"),
        "int_6": replace(SETTINGS, sync_direction="outbound"),
    }
    for name, chosen in wanted.items():
        world.step(e.IntegrationConfigured(Integration(name, chosen, world.now_s)), by="admin")
    world.step(e.IncidentDeclared("INC-1", "t", "SEV-1", origin="int_6"), by="integration:six")
    assert {name for name, waiting in world.state.unlinked.items() if waiting} == {INTEGRATION}
    world.step(e.IncidentDeclared("INC-2", "t", "SEV-1"), by="ann")
    assert {name for name, waiting in world.state.unlinked.items() if "INC-2" in waiting} == {INTEGRATION, "int_6"}


def linked() -> World:
    world = World()
    world.act("declare", 1, 0)
    world.act("open", 0, 0)
    world.quiet()
    return world


def test_a_change_that_comes_in_through_one_integration_marks_the_link_of_the_other() -> None:
    world = linked()
    world.step(e.IntegrationConfigured(Integration("int_2", SETTINGS, world.now_s)), by="admin")
    world.step(e.LinkOpened("int_2/INC-1", "int_2", "INC-1"), by="x")
    world.store("r2", {"state": "3"}, "agent")
    world.quiet()
    assert world.state.incidents["INC-1"].status == "mitigated"
    assert list(world.state.dirty["int_2"]) == ["int_2/INC-1"]


def test_only_effective_changes_raise_the_version_and_stamp_their_field() -> None:
    world = linked()
    before = world.state.incidents["INC-1"]
    world.step(e.IncidentEdited("INC-1", {"title": "VPN"}), by="ann")
    after = world.state.incidents["INC-1"]
    assert (after.version, after.updated_by) == (before.version + 1, "ann")
    assert after.stamps["title"] == Stamp(world.now_s, "ann", world.state.position)
    assert after.stamps["status"] == before.stamps["status"]
    world.step(e.NoteAdded("INC-1", "note-1", "hello", "ann"), by="ann")
    assert world.state.incidents["INC-1"].version == after.version
    assert world.state.incidents["INC-1"].positions[-1] == world.state.position


def test_deleting_an_integration_leaves_the_incidents_and_nothing_else_of_it() -> None:
    world = linked()
    world.change(conflict_strategy="manual-review", conflict_window="always")
    world.step(e.IncidentEdited("INC-1", {"title": "VPN"}), by="ann")
    world.store("r2", {"short_description": "Printer"}, "agent")
    world.quiet()
    assert [one.status for one in world.state.conflicts.values()] == ["pending"]
    world.step(e.IntegrationDeleted(INTEGRATION), by="admin")
    state = world.state
    assert (state.links, state.link_of_record, state.waiting, state.dead_letters) == ({}, {}, {}, {})
    assert INTEGRATION not in {*state.hints, *state.dirty, *state.outbox, *state.unlinked, *state.seen}
    assert [(one.status, one.decided) for one in state.conflicts.values()] == [("ignored", "integration-deleted")]
    assert state.incidents["INC-1"].title == "VPN"


def test_unlinking_closes_the_conflicts_of_the_link_and_keeps_their_values() -> None:
    world = linked()
    world.change(conflict_strategy="manual-review", conflict_window="always")
    world.step(e.IncidentEdited("INC-1", {"title": "VPN"}), by="ann")
    world.store("r2", {"short_description": "Printer"}, "agent")
    world.quiet()
    world.step(e.LinkRemoved(f"{INTEGRATION}/INC-1"), by="ann")
    conflict = next(iter(world.state.conflicts.values()))
    assert (conflict.status, conflict.decided) == ("ignored", "unlinked")
    assert (conflict.platform, conflict.external) == ("VPN", "Printer")


def test_a_field_that_is_hidden_for_a_while_leaves_its_conflict_waiting() -> None:
    world = linked()
    world.change(conflict_strategy="manual-review", conflict_window="always")
    world.step(e.IncidentEdited("INC-1", {"title": "VPN"}), by="ann")
    world.store("r2", {"short_description": "Printer"}, "agent")
    world.quiet()
    shown = world.observe("r2")
    hidden = replace(shown, columns={name: raw for name, raw in shown.columns.items() if name != "short_description"})
    for seen in (hidden, shown):
        world.step(e.Observed(f"{INTEGRATION}/INC-1", seen), by="x")
        world.decide(lambda state, at_s: merge_link(state, at_s, f"{INTEGRATION}/INC-1"))
        assert [one.status for one in world.state.conflicts.values()] == ["pending"]


def test_an_edit_long_after_the_window_updates_the_conflict_that_waits_and_going_back_closes_it() -> None:
    world = linked()
    world.change(conflict_strategy="manual-review", conflict_window="5s")
    world.step(e.IncidentEdited("INC-1", {"title": "VPN"}), by="ann")
    world.store("r2", {"short_description": "Printer"}, "agent")
    world.quiet()
    world.now_s += 3600
    world.step(e.IncidentEdited("INC-1", {"title": "Mail is down"}), by="ann")
    world.quiet()
    conflict = next(iter(world.state.conflicts.values()))
    assert (conflict.status, conflict.platform, conflict.external, conflict.version) == (
        "pending",
        "Mail is down",
        "Printer",
        2,
    )
    world.store("r2", {"short_description": "Mail is down"}, "agent")
    world.quiet()
    assert [(one.status, one.decided) for one in world.state.conflicts.values()] == [("resolved", "nobody: converged")]


def test_another_strategy_decides_what_waited_for_a_person() -> None:
    world = linked()
    world.change(conflict_strategy="manual-review", conflict_window="always")
    world.step(e.IncidentEdited("INC-1", {"title": "VPN"}), by="ann")
    world.store("r2", {"short_description": "Printer"}, "agent")
    world.quiet()
    world.change(conflict_strategy="ownership-priority")
    world.quiet()
    assert world.rows["r2"]["short_description"] == "VPN"
    assert [one.status for one in world.state.conflicts.values()] == ["resolved"]


def test_kept_answers_and_webhook_keys_go_after_24_hours() -> None:
    world = World()
    for hour in range(60):
        world.now_s += 3600
        world.step(e.AnswerKept(f"key {hour}", KeptAnswer("d", "{}", world.now_s)), by="ann")
        world.step(e.Hinted(INTEGRATION, "r1", None, f"key {hour}"), by="x")
    assert list(world.state.answers) == [f"key {hour}" for hour in range(35, 60)]
    assert list(world.state.seen[INTEGRATION]) == [f"key {hour}" for hour in range(35, 60)]


def test_positions_of_an_incident_lead_to_every_record_about_it() -> None:
    world = linked()
    named = [
        record.position
        for record in (msgspec.json.decode(encoded, type=e.Record) for encoded in world.records)
        if any("INC-1" in repr(event) for event in record.events)
    ]
    assert list(world.state.incidents["INC-1"].positions) == named
