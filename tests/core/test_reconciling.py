"""Runs and schedules as decisions through the real fold."""

import math

import pytest
from msgspec.structs import replace

from syncd.core import events as e
from syncd.core import reconciling
from syncd.core.drift import Finding
from syncd.core.fields import Fields
from syncd.core.fold import evolve
from syncd.core.reconciling import WantedRun, WantedSchedule, next_run_at_s
from syncd.core.run import DRIFTS_KEPT_LATER, DRIFTS_KEPT_MAX, RUNS_KEPT_MAX, RUNS_KEPT_WHOLE, Cause, Drift, Run
from syncd.core.run_views import run_view
from syncd.core.state import State
from syncd.errors import Invalid, Unknown, WrongState
from tests.core.picture import AT_S, INT, integration

DRIFT = Drift("INC-A", "r1", "title", "a", "b", "a", "missed-webhook", "take it over")


class Past:
    """Decisions made one after the other, each at a time of its own."""

    def __init__(self) -> None:
        self.state = State()
        self.at_s = AT_S
        self._append(e.IntegrationConfigured(integration()))

    def _append(self, *events: e.Event) -> None:
        position = self.state.position + 1
        evolve(self.state, e.Record(position, "acme", self.at_s, "ann", "t", events))

    def decide(self, decide: reconciling.Decide[reconciling.T]) -> reconciling.T:
        change = decide(self.state, self.at_s)
        if change.events:
            self._append(*change.events)
        return change.result

    def run(self, *, trigger: str = "manual", mode: str = "heal", lasts_s: float = 1.0) -> Run:
        run = self.decide(reconciling.start(INT, WantedRun(mode), trigger))  # type: ignore[arg-type]
        self.at_s += lasts_s
        self.decide(reconciling.end(run, "finished", checked=3, findings=[]))
        return self.state.runs[INT][run.id]


def test_one_run_at_a_time_and_the_refusal_names_it() -> None:
    past = Past()
    run = past.decide(reconciling.start(INT, WantedRun("report"), "manual"))
    assert reconciling.running(past.state, INT) == run
    with pytest.raises(WrongState, match=run.id):
        past.decide(reconciling.start(INT, WantedRun("heal"), "schedule"))
    past.decide(reconciling.end(run, "finished"))
    assert past.decide(reconciling.start(INT, WantedRun("heal"), "manual")).id != run.id


def test_a_run_that_is_over_stays_as_it_ended() -> None:
    past = Past()
    run = past.run()
    past.decide(reconciling.end(run, "interrupted", "too late"))
    assert past.state.runs[INT][run.id].status == "finished"


def test_a_start_ends_what_an_earlier_life_left_and_nothing_else() -> None:
    past = Past()
    done = past.run()
    left = past.decide(reconciling.start(INT, WantedRun("heal"), "manual"))
    assert reconciling.has_running(past.state)
    past.decide(reconciling.interrupt_all)
    assert not reconciling.has_running(past.state)
    statuses = {run.id: run.status for run in past.state.runs[INT].values()}
    assert statuses == {done.id: "finished", left.id: "interrupted"}


def test_the_newest_hundred_runs_and_the_first_thousand_drifts_are_kept_and_the_rest_is_counted() -> None:
    past = Past()
    for _ in range(RUNS_KEPT_MAX + 5):
        past.run()
    assert len(past.state.runs[INT]) == RUNS_KEPT_MAX
    run = past.decide(reconciling.start(INT, WantedRun("report"), "manual"))
    past.decide(reconciling.end(run, "finished", findings=[Finding(DRIFT, "l")] * (DRIFTS_KEPT_MAX + 7)))
    shown = run_view(past.state.runs[INT][run.id])
    assert (shown.found, len(shown.drifts), shown.left_out) == (DRIFTS_KEPT_MAX + 7, DRIFTS_KEPT_MAX, 7)
    assert run_view(past.state.runs[INT][run.id], drifts_max=20).left_out == DRIFTS_KEPT_MAX - 13


@pytest.mark.parametrize("cause", ["duplicate", "unlinked-on-one-side", "deleted-or-hidden"])
def test_nothing_is_healed_in_a_run_that_fed_nothing(cause: Cause) -> None:
    past = Past()
    run = past.decide(reconciling.start(INT, WantedRun("heal"), "manual"))
    found = [Finding(Drift("", "r9", "record", None, "x", None, cause, "-"), "r9"), Finding(DRIFT, "l")]
    past.decide(reconciling.end(run, "stopped", "the brake", stopped_by="brake", findings=found))
    assert [one.healed for one in past.state.runs[INT][run.id].drifts] == [False, False]


def test_an_unknown_run_or_integration_is_404_with_the_way_out() -> None:
    past = Past()
    with pytest.raises(Unknown, match="run-99") as unknown:
        reconciling.run_called(past.state, INT, "run-99")
    assert "im integration reconcile history prod" in unknown.value.hint
    with pytest.raises(Unknown):
        past.decide(reconciling.start("int_none", WantedRun("heal"), "manual"))


def test_a_deleted_integration_leaves_no_runs_and_no_schedule() -> None:
    past = Past()
    past.run()
    past.decide(reconciling.schedule(INT, WantedSchedule("1h")))
    past._append(e.IntegrationDeleted(INT))
    assert not past.state.runs.get(INT)
    assert next_run_at_s(past.state, INT) == math.inf


def test_a_schedule_begins_within_its_interval_and_then_keeps_its_phase() -> None:
    past = Past()
    assert next_run_at_s(past.state, INT) == math.inf
    past.decide(reconciling.schedule(INT, WantedSchedule("1h")))
    first_s = next_run_at_s(past.state, INT)
    assert AT_S < first_s <= AT_S + 3600
    past.at_s = first_s
    past.run(trigger="schedule", lasts_s=100)
    assert next_run_at_s(past.state, INT) == pytest.approx(first_s + 3600)
    past.run(lasts_s=10)  # one by hand moves nothing
    assert next_run_at_s(past.state, INT) == pytest.approx(first_s + 3600)
    past.at_s = first_s + 3600
    past.run(trigger="schedule", lasts_s=2 * 3600 + 5)  # longer than its interval: the slots in between are let go
    assert next_run_at_s(past.state, INT) == pytest.approx(first_s + 4 * 3600)


def test_integrations_with_the_same_interval_have_phases_of_their_own() -> None:
    past = Past()
    for number in range(20):
        past._append(e.IntegrationConfigured(integration(f"int_{number}", f"prod-{number}")))
        past.decide(reconciling.schedule(f"int_{number}", WantedSchedule("1h")))
    due_s = sorted(next_run_at_s(past.state, f"int_{number}") for number in range(20))
    assert len(set(due_s)) == 20
    assert due_s[-1] - due_s[0] > 1800


def test_what_is_not_given_of_a_schedule_stays_and_the_interval_is_as_it_was_written() -> None:
    past = Past()
    with pytest.raises(Invalid, match="interval"):
        past.decide(reconciling.schedule(INT, WantedSchedule(auto_heal=True)))
    past.decide(reconciling.schedule(INT, WantedSchedule("1h30m", auto_heal=True)))
    changed = past.decide(reconciling.schedule(INT, WantedSchedule(enabled=False)))
    assert (changed.interval, changed.auto_heal, changed.enabled) == ("1h30m", True, False)
    assert next_run_at_s(past.state, INT) == math.inf


@pytest.mark.parametrize(
    ("body", "mode", "forced"),
    [
        ({}, "report", False),
        ({"dry_run": True, "auto_heal": True, "force": True}, "dry-run", True),
        ({"auto_heal": True}, "heal", False),
    ],
)
def test_a_request_says_what_a_run_is_to_be(body: dict[str, object], mode: str, forced: bool) -> None:
    assert reconciling.read_run(Fields(body)) == WantedRun(mode, forced)  # type: ignore[arg-type]


def test_what_is_healed_is_counted_beyond_the_drifts_that_are_kept() -> None:
    past = Past()
    run = past.decide(reconciling.start(INT, WantedRun("heal"), "manual"))
    copies = [Finding(replace(DRIFT, external_id=f"r{n}", cause="missed-webhook"), "l") for n in range(1500)]
    past.decide(reconciling.end(run, "finished", findings=copies, fed=True))  # their links are gone: nothing is left
    shown = run_view(past.state.runs[INT][run.id])
    assert (shown.found, shown.healed, shown.left_out) == (1500, 1500, 500)


def test_a_run_with_many_long_texts_keeps_their_beginnings_and_older_runs_keep_few_drifts() -> None:
    past = Past()
    long = replace(DRIFT, platform="p" * 500, external="e" * 500, base="b" * 500, base_external=None)
    for _ in range(RUNS_KEPT_WHOLE + 3):
        run = past.decide(reconciling.start(INT, WantedRun("report"), "manual"))
        past.decide(reconciling.end(run, "finished", findings=[Finding(long, "l")] * DRIFTS_KEPT_MAX))
    kept = list(past.state.runs[INT].values())
    assert [len(one.drifts) for one in kept] == [DRIFTS_KEPT_LATER] * 3 + [DRIFTS_KEPT_MAX] * RUNS_KEPT_WHOLE
    assert kept[-1].drifts[0].platform == "p" * 60 + "…"
    assert run_view(kept[0]).left_out == DRIFTS_KEPT_MAX - DRIFTS_KEPT_LATER
    alone = past.decide(reconciling.start(INT, WantedRun("report"), "manual"))
    past.decide(reconciling.end(alone, "finished", findings=[Finding(long, "l")] * 20))
    assert past.state.runs[INT][alone.id].drifts[0].platform == "p" * 500


def test_a_scheduled_run_counts_for_the_next_one_when_newer_runs_have_driven_it_out() -> None:
    past = Past()
    past.decide(reconciling.schedule(INT, WantedSchedule("1d")))
    past.at_s = next_run_at_s(past.state, INT)
    past.run(trigger="schedule")
    due_s = next_run_at_s(past.state, INT)
    for _ in range(RUNS_KEPT_MAX + 5):
        past.run(mode="dry-run")
    assert next_run_at_s(past.state, INT) == due_s > past.at_s


def test_runs_of_an_integration_that_was_deleted_are_unknown() -> None:
    with pytest.raises(Unknown):
        reconciling.run_called(State(), "int_gone", "run-1")
