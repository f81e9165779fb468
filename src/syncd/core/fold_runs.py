"""How reconcile runs change State: they begin, find something, and end; and the records that they set aside.

Part of the fold (``fold.py``), with the same promise: no clock, no chance, no input or output.
"""

from msgspec.structs import replace

from syncd.core import events as e
from syncd.core.fold_links import mark
from syncd.core.run import DRIFTS_KEPT_LATER, RUNS_KEPT_MAX, RUNS_KEPT_WHOLE, Run
from syncd.core.state import State


def run_started(state: State, record: e.Record, event: e.RunStarted) -> None:
    state.last_number += 1
    runs = state.runs.setdefault(event.run.integration_id, {})
    while len(runs) >= RUNS_KEPT_MAX:
        del runs[next(iter(runs))]
    for older in list(runs.values())[: -RUNS_KEPT_WHOLE + 1][-1:]:  # with the one that begins they are so many
        runs[older.id] = replace(older, drifts=older.drifts[:DRIFTS_KEPT_LATER])
    runs[event.run.id] = event.run
    _note_scheduled(state, record, event.run)


def _note_scheduled(state: State, record: e.Record, run: Run) -> None:
    plan = state.schedules.get(run.integration_id)
    if run.trigger == "schedule" and plan is not None:
        state.schedules[run.integration_id] = replace(plan, ran_at_s=record.at_s)


def run_planned(state: State, _: e.Record, event: e.RunPlanned) -> None:
    runs = state.runs.get(event.integration_id, {})
    if (run := runs.get(event.run_id)) is not None:
        runs[run.id] = replace(run, checked=event.checked, drifts=event.drifts, found=event.found)


def run_ended(state: State, record: e.Record, event: e.RunEnded) -> None:
    runs = state.runs.get(event.integration_id, {})
    run = runs.get(event.run_id)
    if run is None:
        return
    if event.drifts is not None:
        run = replace(run, drifts=event.drifts, found=event.found, healed=event.healed)
    _note_scheduled(state, record, run)
    runs[run.id] = replace(
        run,
        status=event.status,
        reason=event.reason,
        stopped_by=event.stopped_by,
        finished_at_s=record.at_s,
        checked=run.checked if event.checked is None else event.checked,
    )


def schedule_set(state: State, record: e.Record, event: e.ScheduleSet) -> None:
    state.schedules[event.integration_id] = replace(event.schedule, set_at_s=record.at_s)


def duplicate_set_aside(state: State, record: e.Record, event: e.DuplicateSetAside) -> None:
    state.set_aside.setdefault(event.integration_id, {})[event.external_id] = event.incident_id
    mark(state, record, event.incident_id)
