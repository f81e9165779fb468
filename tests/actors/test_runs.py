"""Reconcile runs as durable things: begun, stopped, cut off by a crash, begun by schedule; and what they ask for."""

import trio

from syncd.core.run import Run
from tests.actors.stage import (
    AGENT,
    INTEGRATIONS,
    ask,
    asked,
    configure,
    create_record,
    declare,
    declared,
    edit_record,
    in_world,
    incident,
    lines,
    link,
    reconciled,
    restart,
    second_integration,
    sync_status,
)
from tests.simulation.seams import EPOCH_S
from tests.simulation.world import World


def path(world: World, rest: str = "") -> str:
    return f"{INTEGRATIONS}/{world.integration_id}/reconcile{rest}"


def runs(world: World, integration_id: str = "") -> list[Run]:
    """All that are kept, oldest first."""
    return list(world.state.runs.get(integration_id or world.integration_id, {}).values())


async def schedule(world: World, **body: object) -> dict[str, object]:
    return await asked(world, "POST", path(world, "/schedule"), body)


@in_world()
async def test_a_run_that_a_crash_cuts_off_is_interrupted_at_the_next_start_and_the_next_run_finishes_the_job(
    world: World,
) -> None:
    names = [await declare(world, f"incident {number}") for number in range(5)]
    await trio.sleep(20)
    world.instance.set_webhook("", "")
    for name in names:
        edit_record(world, name, description="by an agent")
    world.instance.arm("slow", 3)
    begun = await asked(world, "POST", path(world), {"auto_heal": True}, status=202)
    await trio.sleep(1)
    world.cut_power()
    await world.alive()
    (run,) = runs(world)
    assert (run.id, run.status) == (begun["id"], "interrupted")
    assert "the next run does what this one left" in run.reason
    world.instance.disarm()
    done = await reconciled(world, auto_heal=True)
    assert done["status"] == "finished"
    assert all(incident(world, name).description == "by an agent" for name in names)
    assert [one.status for one in runs(world)] == ["interrupted", "finished"]


@in_world()
async def test_a_run_that_is_cut_off_while_it_heals_keeps_what_it_had_found(world: World) -> None:
    name = await declared(world)
    world.instance.set_webhook("", "")
    world.instance.arm("slow", 1)
    edit_record(world, name, description="by an agent")
    await asked(world, "POST", path(world), {"auto_heal": True}, status=202)
    while not runs(world)[-1].drifts:  # noqa: ASYNC110 nothing rings here
        await trio.sleep(0.01)
    assert world.house is not None
    await world.house.journal.settled()
    world.cut_power()
    await world.alive()
    run = runs(world)[-1]
    assert (run.status, run.found) == ("interrupted", {"missed-webhook": 1})
    assert not run.drifts[0].healed


@in_world()
async def test_a_stopped_run_keeps_its_partial_report_and_says_who_stopped_it(world: World) -> None:
    await declared(world)
    world.instance.arm("slow", 5)
    begun = await asked(world, "POST", path(world), {}, status=202)
    await trio.sleep(1)
    going = await asked(world, "GET", path(world, f"/history/{begun['id']}"))
    assert (going["status"], going["checked"], going["links"]) == ("running", 0, 1)
    await asked(world, "POST", path(world, f"/history/{begun['id']}/stop"), {})
    (run,) = runs(world)
    assert (run.status, run.stopped_by) == ("stopped", "person")
    assert run.reason.startswith("stopped by ")
    assert "stopped" not in str((await sync_status(world))["reasons"])
    await ask(world, "POST", path(world, f"/history/{begun['id']}/stop"), {}, status=409)
    world.instance.disarm()
    assert (await reconciled(world))["status"] == "finished"


@in_world()
async def test_the_newest_hundred_runs_are_kept(world: World) -> None:
    await declared(world)
    for _ in range(103):
        await world.reconcile("report")
    assert len(runs(world)) == 100
    assert await asked(world, "GET", path(world, f"/history/{runs(world)[0].id}"))


@in_world()
async def test_scheduled_runs_come_at_their_interval_over_a_restart_and_are_told_beforehand(world: World) -> None:
    name = await declared(world)
    told = await schedule(world, interval="1h", auto_heal=True)
    assert (await sync_status(world))["next_reconcile"] == told["next_run_at"]
    await trio.sleep(3600)
    assert [(one.trigger, one.mode, one.status) for one in runs(world)] == [("schedule", "heal", "finished")]
    world.instance.set_webhook("", "")
    edit_record(world, name, description="found by schedule")
    await restart(world, 60)
    assert (await asked(world, "GET", path(world, "/schedule")))["interval"] == "1h"
    await trio.sleep(3600 - 60)
    assert len(runs(world)) == 2
    first, second = runs(world)
    assert abs(second.started_at_s - first.started_at_s - 3600) < 2
    assert incident(world, name).description == "found by schedule"
    await schedule(world, enabled=False)
    assert (await sync_status(world))["next_reconcile"] is None
    await trio.sleep(7200)
    assert len(runs(world)) == 2


@in_world()
async def test_a_run_that_was_due_while_the_daemon_was_down_is_made_up_for_once(world: World) -> None:
    await declared(world)
    await schedule(world, interval="10m")
    await restart(world, 3600)
    await trio.sleep(20)
    assert [one.mode for one in runs(world)] == ["report"]
    await trio.sleep(600)
    assert len(runs(world)) == 2


@in_world()
async def test_a_schedule_shorter_than_its_runs_never_overlaps_itself(world: World) -> None:
    await declared(world)
    world.instance.arm("slow", 3)
    await schedule(world, interval="1s")
    await trio.sleep(100)
    ended = runs(world)[:-1]
    assert len(ended) > 5
    for one, after in zip(ended, runs(world)[1:], strict=True):
        assert one.finished_at_s is not None
        assert after.started_at_s >= one.finished_at_s


@in_world()
async def test_integrations_with_one_interval_do_not_begin_together(world: World) -> None:
    other = await second_integration(world, handle="beside")
    await schedule(world, interval="1h")
    await asked(world, "POST", f"{INTEGRATIONS}/{other}/reconcile/schedule", {"interval": "1h"})
    await trio.sleep(3700)
    (mine,), (theirs,) = runs(world), runs(world, other)
    assert abs(mine.started_at_s - theirs.started_at_s) > 60


@in_world()
async def test_a_disabled_integration_has_no_next_run_and_refuses_one_by_hand(world: World) -> None:
    await schedule(world, interval="1m")
    await configure(world, enabled=False)
    assert (await sync_status(world))["next_reconcile"] is None
    await ask(world, "POST", path(world), {}, status=409)
    await trio.sleep(300)
    assert runs(world) == []


@in_world()
async def test_a_second_run_right_after_one_that_healed_finds_nothing_and_asks_for_little(world: World) -> None:
    names = [await declare(world, f"incident {number}") for number in range(30)]
    await trio.sleep(20)
    world.instance.arm("webhook_lost")
    for name in names:
        edit_record(world, name, description="by an agent", work_notes="and noted")
    create_record(world)
    await trio.sleep(30)
    first = await reconciled(world, auto_heal=True)
    assert (first["found"], first["causes"]) == (
        61,
        {"missed-webhook": 30, "missing-note": 30, "unlinked-on-one-side": 1},
    )
    writes, since = world.writes(), trio.current_time()
    for body in ({"auto_heal": True}, {"dry_run": True}, {}):
        again = await reconciled(world, **body)
        assert (again["status"], again["found"], again["reason"]) == ("finished", 0, "")
    assert world.writes() == writes
    assert len(lines(world.instance, "GET", since_s=since)) <= 3 * 5


@in_world()
async def test_a_run_leaves_live_traffic_the_way(world: World) -> None:
    """Each edit is delivered within seconds while a run over many links goes on within a slow rate."""
    await configure(world, rate_limit=1)
    names = [await declare(world, f"incident {number}") for number in range(20)]
    await trio.sleep(120)
    world.instance.arm("slow", 1)
    await asked(world, "POST", path(world), {}, status=202)
    for name in names[:5]:
        await ask(world, "PATCH", f"/api/v1/incidents/{name}", {"title": f"edited {name}"})
        began = trio.current_time()
        while world.instance.record(link(world, name).external_id)["short_description"] != f"edited {name}":  # noqa: ASYNC110
            await trio.sleep(0.1)
        assert trio.current_time() - began < 10


@in_world(transaction_quota="60s")
async def test_a_script_that_stamps_nothing_is_found_by_every_mode(world: World) -> None:
    name = await declared(world)
    world.instance.edit_as(
        AGENT, link(world, name).external_id, {"description": "by script"}, has_rules=False, has_stamps=False
    )
    done = await reconciled(world, dry_run=True)
    assert done["causes"] == {"missed-webhook": 1}
    assert runs(world)[0].started_at_s > EPOCH_S


@in_world()
async def test_a_run_that_waits_for_the_look_at_the_start_can_be_stopped_and_never_begins(world: World) -> None:
    name = await declared(world)
    world.instance.set_webhook("", "")
    await world.stop()
    world.instance.arm("slow", 20)
    await world.start()
    await trio.sleep(1)
    begun = await asked(world, "POST", path(world), {"auto_heal": True}, status=202)
    await trio.sleep(1)
    stopped = await asked(world, "POST", path(world, f"/history/{begun['id']}/stop"), {})
    assert (stopped["status"], stopped["checked"]) == ("stopped", 0)
    world.instance.disarm()
    await trio.sleep(60)  # the look at the start is over
    edit_record(world, name, short_description="edited there, untold")
    await trio.sleep(120)
    assert runs(world)[-1].status == "stopped"
    assert incident(world, name).title != "edited there, untold"
    assert (await sync_status(world))["state"] == "healthy"


@in_world()
async def test_a_run_that_is_interrupted_tells_how_far_it_was(world: World) -> None:
    for number in range(3):
        await declared(world, f"incident {number}")
    world.instance.set_webhook("", "")
    for sys_id in [one["sys_id"] for one in world.instance.incidents()]:
        world.instance.edit_as(AGENT, sys_id, {"short_description": "edited there"})
    begun = await asked(world, "POST", path(world), {"dry_run": True}, status=202)
    await trio.sleep(3)  # between its two looks
    await configure(world, rate_limit=9)
    await trio.sleep(5)
    seen = await asked(world, "GET", path(world, f"/history/{begun['id']}"))
    assert (seen["status"], seen["checked"]) == ("interrupted", 3)


@in_world()
async def test_a_run_that_met_an_outage_leaves_no_trouble_behind_when_that_is_over(world: World) -> None:
    await declared(world)
    world.instance.arm("maintenance_503", times=2)
    assert (await reconciled(world, dry_run=True))["status"] == "finished"
    world.instance.arm("maintenance_503")
    begun = await asked(world, "POST", path(world), {"dry_run": True}, status=202)
    await trio.sleep(20)
    assert (await asked(world, "GET", path(world, f"/history/{begun['id']}")))["status"] == "stopped"
    world.instance.disarm()
    await trio.sleep(120)
    assert (await sync_status(world))["state"] == "healthy"


@in_world()
async def test_whoever_waits_for_a_run_hears_that_its_integration_was_deleted(world: World) -> None:
    await declared(world)
    world.instance.arm("slow", 20)

    async def wait() -> None:
        await ask(world, "POST", path(world, "?wait=true"), {"dry_run": True}, status=404)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.sleep(2)
        await ask(world, "DELETE", f"{INTEGRATIONS}/{world.integration_id}", status=204)
