"""Sweeps: at the start, since webhooks sent meanwhile are gone, and on command."""

import pytest
import trio

from syncd.errors import Busy
from tests.actors.stage import (
    AGENT,
    INTEGRATIONS,
    ask,
    configure,
    create_record,
    declare,
    declared,
    edit_record,
    in_world,
    incident,
    incident_of,
    lines,
    link,
    restart,
    sync_status,
)
from tests.simulation.world import World


@in_world()
async def test_a_reconcile_run_heals_what_a_lost_webhook_left(world: World) -> None:
    names = [await declare(world, f"incident {number}") for number in range(60)]
    await trio.sleep(15)
    world.instance.arm("webhook_lost")
    for name in names[:5]:
        edit_record(world, name, description="lost on the way")
    sys_id = create_record(world, "lost, too")
    await trio.sleep(60)
    assert incident(world, names[0]).description == ""
    world.instance.reset_counts()
    run = await world.reconcile()
    assert (run.status, run.checked) == ("finished", 60)
    assert run.found == {"missed-webhook": 5, "unlinked-on-one-side": 1}
    assert all(one.healed for one in run.drifts)
    assert all(incident(world, name).description == "lost on the way" for name in names[:5])
    assert incident_of(world, sys_id)
    # Sixty at once and the six once more; notes; the walks through new ones and through those that carry our id.
    assert world.instance.counts["GET"] <= 1 + 1 + 2 + 2 + 1
    assert world.writes() == 0


@in_world()
async def test_a_script_that_touches_neither_stamp_nor_count_is_found(world: World) -> None:
    incident_id = await declared(world)
    sys_id = link(world, incident_id).external_id
    world.instance.edit_as(AGENT, sys_id, {"description": "by script"}, has_rules=False, has_stamps=False)
    await world.reconcile()
    await trio.sleep(2)
    assert incident(world, incident_id).description == "by script"


@in_world()
async def test_the_start_up_sweep_finds_edits_and_new_records_made_while_down(world: World) -> None:
    incident_id = await declared(world)
    made: list[str] = []

    def meanwhile() -> None:
        edit_while_down = {"short_description": "renamed while down"}
        world.instance.edit_as(AGENT, sys_id, edit_while_down)
        made.append(create_record(world, "made while down"))

    sys_id = link(world, incident_id).external_id
    await restart(world, 30, meanwhile)
    await trio.sleep(5)
    assert incident(world, incident_id).title == "renamed while down"
    assert incident_of(world, made[0])


@in_world(seed=3)
async def test_the_first_record_ever_is_found_when_the_instance_lags_by_minutes(world: World) -> None:
    """No link, so the very first question is the one for new records, before the instance's clock is known."""
    world.instance.kernel.clock.offset_s = -290.0
    await restart(world)
    await trio.sleep(3)
    made: list[str] = []
    await restart(world, 5, lambda: made.append(create_record(world, "made while down")))
    await trio.sleep(5)
    assert incident_of(world, made[0])


@in_world(sync_direction="outbound")
async def test_records_made_while_only_outbound_was_on_come_in_with_inbound(world: World) -> None:
    await declared(world)
    sys_id = create_record(world, "made meanwhile")
    await trio.sleep(400)  # longer than the overlap of two sweeps
    await world.reconcile()
    await configure(world, sync_direction="bidirectional")
    await trio.sleep(5)
    assert incident_of(world, sys_id)


@in_world()
async def test_a_sweep_that_fails_is_repeated_until_it_works(world: World) -> None:
    incident_id = await declared(world)
    sys_id = link(world, incident_id).external_id
    world.instance.arm("hibernating")
    await restart(world, 0, lambda: world.instance.edit_as(AGENT, sys_id, {"description": "seen at last"}))
    await trio.sleep(90)
    began = trio.current_time()
    world.instance.disarm()
    await trio.sleep(20)
    assert incident(world, incident_id).description == "seen at last"
    count = len(lines(world.instance, "GET", since_s=began))
    await trio.sleep(300)
    assert len(lines(world.instance, "GET", since_s=began)) == count, "swept again without a reason"


@in_world()
async def test_a_run_that_finds_the_instance_down_says_so_and_is_made_up_for(world: World) -> None:
    await declared(world)
    world.instance.arm("hibernating")
    for _ in range(4):
        with pytest.raises(Busy, match="hibernating"):
            await world.reconcile()
        await trio.sleep(20)
    world.instance.disarm()
    await trio.sleep(20)
    assert world.house is not None
    assert world.house.roster.health(world.integration_id).breaker == "closed"


@in_world()
async def test_a_run_ends_interrupted_when_the_integration_is_started_anew_and_whoever_waits_hears_it(
    world: World,
) -> None:
    await declared(world)
    world.instance.arm("slow", 20)
    heard: list[str] = []

    async def wait() -> None:
        try:
            await world.reconcile()
        except Busy as busy:
            heard.append(str(busy))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.sleep(1)
        await configure(world, rate_limit=9)
        with trio.fail_after(3):
            while not heard:  # noqa: ASYNC110 nothing rings here
                await trio.sleep(0.1)
    assert "started anew" in heard[0]
    (run,) = world.state.runs[world.integration_id].values()
    assert run.status == "interrupted"


@in_world()
async def test_whoever_waits_for_a_run_hears_that_it_crashed(world: World) -> None:
    await declared(world)

    def crash(_: object) -> None:
        raise RuntimeError("a bug")

    world.instance.on_request.append(crash)
    with trio.fail_after(5):
        with pytest.raises(Busy, match="it failed: RuntimeError"):
            await world.reconcile()
    world.instance.on_request.clear()
    await trio.sleep(20)
    await world.reconcile()


@in_world()
async def test_while_a_run_goes_on_another_is_refused_with_its_id(world: World) -> None:
    await declared(world)
    world.instance.arm("slow", 2)
    path = f"{INTEGRATIONS}/{world.integration_id}/reconcile"
    begun = await ask(world, "POST", path, {}, status=202)
    assert isinstance(begun, dict)
    refused = await ask(world, "POST", path, {"auto_heal": True}, status=409)
    assert isinstance(refused, dict)
    assert begun["id"] in refused["detail"]
    await trio.sleep(30)
    assert world.state.runs[world.integration_id][begun["id"]].status == "finished"


@in_world()
async def test_late_commits_with_an_old_stamp_are_found_by_a_later_sweep(world: World) -> None:
    await declared(world)
    world.instance.set_webhook("", "")
    prepared = create_record(world, "will be hidden")
    account = world.instance.account("svc.sync")
    account.hidden["incident"] = f"sys_id={prepared}"
    await world.reconcile()
    await trio.sleep(100)
    await world.reconcile()
    account.hidden.clear()
    await trio.sleep(60)
    await world.reconcile()
    assert incident_of(world, prepared)


@in_world()
async def test_what_the_brake_does_not_count_is_taken_over_at_a_start_that_is_braked(world: World) -> None:
    names = [await declare(world, f"incident {number}") for number in range(14)]
    await trio.sleep(60)
    world.instance.set_webhook("", "")
    ids = {name: link(world, name).external_id for name in names}

    def while_down() -> None:
        for name in names[:11]:
            world.instance.delete_as("admin", ids[name])
        world.instance.edit_as(AGENT, ids[names[12]], {"short_description": "renamed while down"})
        create_record(world, "new while down")

    await restart(world, 30, while_down)
    await trio.sleep(60)
    assert incident(world, names[12]).title == "renamed while down"
    assert "new while down" in {one.title for one in world.state.incidents.values()}
    assert {link(world, name).state for name in names} == {"active"}
    assert "a part of what changed while we were not there" in str((await sync_status(world))["reasons"])


@in_world()
async def test_a_start_that_sees_nothing_is_made_again_and_advises_no_force(world: World) -> None:
    name = (await declared(world), await declared(world, "other"))[0]
    account, sys_id = world.instance.account("svc.sync"), link(world, name).external_id
    world.instance.set_webhook("", "")

    def while_down() -> None:
        world.instance.edit_as(AGENT, sys_id, {"short_description": "renamed while down"})
        account.hidden["incident"] = "sys_idISNOTEMPTY"

    await restart(world, 30, while_down)
    await trio.sleep(20)
    told = str((await sync_status(world))["reasons"])
    assert "shows our account no incident at all" in told
    assert "--force" not in told
    account.hidden.clear()
    await trio.sleep(320)
    assert incident(world, name).title == "renamed while down"
    assert (await sync_status(world))["state"] == "healthy"


@in_world()
async def test_new_records_that_a_start_without_links_could_not_see_come_in_when_they_are_shown(world: World) -> None:
    account = world.instance.account("svc.sync")
    world.instance.set_webhook("", "")

    def while_down() -> None:
        account.hidden["incident"] = "sys_idISNOTEMPTY"
        create_record(world, "made while down")

    await restart(world, 5, while_down)
    await trio.sleep(60)
    account.hidden.clear()
    await trio.sleep(600)
    assert [one.title for one in world.state.incidents.values()] == ["made while down"]
