"""The routes of reconcile runs: begin one, list them, show one, stop one, and set when they begin by themselves."""

from typing import Final

import trio
from quart import Response

from syncd.core import finding, reconciling
from syncd.core.requests import no_fields
from syncd.core.run import Run
from syncd.core.run_views import DRIFTS_IN_LIST_MAX, RunView, ScheduleView, run_view, schedule_view
from syncd.edges.api import examples
from syncd.edges.api.answers import LINK, PAGE, answer, body, filters, one_of, paged, wanted_page
from syncd.edges.api.description import Answer, Description, Parameter
from syncd.edges.api.desk import DURABLE_S_MAX, RETRY_AFTER_S, Desk, caller, not_durable, trace_id
from syncd.edges.api.routes import Routes
from syncd.errors import Busy, Unknown, WrongState

RUN_S_MAX: Final = 300.0
STOP_S_MAX: Final = 10.0
TOPIC: Final = "Reconcile"
BASE: Final = "/api/v1/integrations/<integration>/reconcile"
HISTORY: Final = f"{BASE}/history"
ONE: Final = f"{HISTORY}/<run>"
SCHEDULE: Final = f"{BASE}/schedule"
WAIT: Final = Parameter("wait", "`true`: the answer comes when the run is over, with 200.", one_of(("true", "false")))

BEGIN: Final = Description(
    topic=TOPIC,
    summary="Compare all links now",
    notes=(
        "`dry_run`, and a run without `auto_heal`, only report; `auto_heal` heals through the ordinary merge and waits "
        "up to 15 s for its writes. `force` lifts the mass-change brake, once; it means nothing without `auto_heal`. "
        "While a run goes on another is 409."
    ),
    takes=reconciling.read_run,
    example={"dry_run": False, "auto_heal": True},
    query=(WAIT,),
    answers=(Answer(RunView, example=examples.RUN), Answer(RunView, 202)),
    refuses=(WrongState,),
)
LIST: Final = Description(
    topic=TOPIC,
    summary="List reconcile runs",
    notes=f"The newest first, the last 100; each with its first {DRIFTS_IN_LIST_MAX} drifts.",
    query=PAGE,
    answers=(Answer(list[RunView], headers=(LINK,), example=[examples.RUN]),),
)
SHOW: Final = Description(
    topic=TOPIC,
    summary="Show a reconcile run",
    notes="With each drift that it found, up to 1000; up to 20 when ten newer runs are kept.",
    answers=(Answer(RunView, example=examples.RUN),),
)
STOP: Final = Description(
    topic=TOPIC,
    summary="Stop a reconcile run",
    notes="It ends where it stands, with a partial report. What has begun to be healed goes on.",
    takes=no_fields,
    answers=(Answer(RunView),),
    refuses=(WrongState,),
)
SHOW_SCHEDULE: Final = Description(
    topic=TOPIC,
    summary="Show when runs begin by themselves",
    notes="404 while there is no schedule.",
    answers=(Answer(ScheduleView),),
)
SET_SCHEDULE: Final = Description(
    topic=TOPIC,
    summary="Set when runs begin by themselves",
    notes="What is not given stays as it is; the first time an interval is needed. `interval` is at least `1s`.",
    takes=reconciling.read_schedule,
    example={"interval": "1h", "auto_heal": True, "enabled": True},
    answers=(Answer(ScheduleView),),
)


def add_routes(routes: Routes, desk: Desk) -> None:
    """Put them into the application."""

    def view(run: Run, drifts_max: int | None = None) -> RunView:
        at = desk.integrations.progress(run.integration_id)
        progress = (at.checked, at.total) if at is not None and at.run_id == run.id else None
        return run_view(run, progress=progress, drifts_max=drifts_max)

    async def begin(integration: str) -> Response:
        waits = filters(WAIT).get("wait") == "true"
        wanted = reconciling.read_run(await body())
        one = finding.integration(desk.state, integration)
        await desk.settled()
        who, run = caller(), None
        with trio.move_on_after(DURABLE_S_MAX):
            run = await desk.integrations.reconcile(one.id, wanted, by=who.by, trace=trace_id(), source=who.source)
        if run is None:
            raise not_durable()
        if not waits:
            return answer(view(run), 202)
        with trio.move_on_after(RUN_S_MAX):
            await desk.integrations.run_ended(one.id, run.id)
            return await desk.show(view(reconciling.run_called(desk.state, one.id, run.id)))
        raise Busy(
            f"{run.id} has not ended within {RUN_S_MAX:g} s; it goes on",
            hint=f"see how far it is: im integration reconcile history {one.settings.handle} {run.id}",
            retry_after_s=RETRY_AFTER_S,
        )

    async def find(integration: str) -> Response:
        page, _ = wanted_page(), filters(*PAGE)
        one = finding.integration(desk.state, integration)
        runs = sorted(desk.state.runs.get(one.id, {}).values(), key=_age, reverse=True)
        return await desk.shown(
            lambda: paged(page, runs, key=_age, show=lambda run: view(run, DRIFTS_IN_LIST_MAX), down=True)
        )

    async def show(integration: str, run: str) -> Response:
        one = finding.integration(desk.state, integration)
        return await desk.show(view(reconciling.run_called(desk.state, one.id, run)))

    async def stop(integration: str, run: str) -> Response:
        no_fields(await body())
        one = finding.integration(desk.state, integration)
        present = reconciling.run_called(desk.state, one.id, run)
        await desk.settled()
        with trio.move_on_after(STOP_S_MAX):
            await desk.integrations.stop_run(one.id, present.id, by=caller().by)
            await desk.integrations.run_ended(one.id, present.id)
            return await desk.show(view(reconciling.run_called(desk.state, one.id, present.id)))
        raise Busy(f"{present.id} has not ended within {STOP_S_MAX:g} s", hint="look again later")

    async def show_schedule(integration: str) -> Response:
        one = finding.integration(desk.state, integration)
        if one.id not in desk.state.schedules:
            handle = one.settings.handle
            raise Unknown(
                f"{handle} has no reconcile schedule",
                hint=f"set one: im integration reconcile schedule {handle} --interval 1h --auto-heal",
            )
        return await desk.show(schedule_view(desk.state, one.id))

    async def set_schedule(integration: str) -> Response:
        wanted = reconciling.read_schedule(await body())
        one = finding.integration(desk.state, integration)
        await desk.change(reconciling.schedule(one.id, wanted))
        return answer(schedule_view(desk.state, one.id))

    routes.add("POST", BASE, "operate", begin, BEGIN)
    routes.add("GET", HISTORY, "read", find, LIST)
    routes.add("GET", ONE, "read", show, SHOW)
    routes.add("POST", f"{ONE}/stop", "operate", stop, STOP)
    routes.add("GET", SCHEDULE, "read", show_schedule, SHOW_SCHEDULE)
    routes.add("POST", SCHEDULE, "operate", set_schedule, SET_SCHEDULE)


def _age(run: Run) -> tuple[float, str]:
    return run.started_at_s, run.id.rpartition("-")[2].rjust(20, "0")
