"""A record whose answer cannot be read holds up no other, is named, and comes in when it can be read."""

import trio

from tests.actors.stage import (
    call_webhook,
    create_record,
    declared,
    hint_of,
    in_world,
    incident,
    incident_of,
    lines,
    reconciled,
    restart,
    sync_status,
)
from tests.simulation.world import World

TOO_LARGE = "x" * (9 * 1024 * 1024)


def bloat(world: World, sys_id: str, text: str = TOO_LARGE) -> None:
    """What no answer can carry: a script got around the limit of the column."""
    world.instance.kernel.incidents.rows[sys_id]["description"] = text


async def made_while_off(world: World) -> tuple[str, str, str]:
    """Three new records, of which the second cannot be read, found by the look at the start."""
    world.instance.set_webhook("", "")
    await world.stop()
    names = []
    for number in range(3):
        names.append(create_record(world, f"made while it was off {number}"))
        await trio.sleep(2)
    bloat(world, names[1])
    await world.start()
    await trio.sleep(60)
    return names[0], names[1], names[2]


@in_world()
async def test_what_is_new_comes_in_past_a_record_that_cannot_be_read(world: World) -> None:
    await declared(world)
    first, broken, last = await made_while_off(world)
    assert incident_of(world, first)
    assert incident_of(world, last)
    assert not incident_of(world, broken)
    status = await sync_status(world)
    assert status["state"] == "degraded"
    assert "1 record gives an answer that cannot be read" in str(status["reasons"])
    assert broken in str(status["reasons"])
    await trio.sleep(3600)
    asked_for = [one for one in lines(world.instance, "GET") if f"sys_idIN{broken}" in one.target]
    assert len(asked_for) < 30, "more and more seldom"
    await restart(world)
    await trio.sleep(30)
    assert broken in str((await sync_status(world))["reasons"])
    bloat(world, broken, "as it should be")
    await trio.sleep(310)
    assert incident(world, incident_of(world, broken)).description == "as it should be"
    assert (await sync_status(world))["state"] == "healthy"


@in_world()
async def test_a_webhook_for_a_new_record_that_cannot_be_read_is_not_forgotten(world: World) -> None:
    await declared(world)
    world.instance.set_webhook("", "")
    sys_id = create_record(world)
    bloat(world, sys_id)
    await call_webhook(world, hint_of(world, sys_id, 1, operation="insert"))
    await trio.sleep(600)
    assert sys_id in str((await sync_status(world))["reasons"])
    bloat(world, sys_id, "as it should be")
    await trio.sleep(310)
    assert incident_of(world, sys_id)


@in_world()
async def test_a_dry_run_passes_it_by_and_a_healing_one_remembers_it(world: World) -> None:
    await declared(world)
    world.instance.set_webhook("", "")
    sys_id = create_record(world)
    bloat(world, sys_id)
    hints = dict(world.state.hints)
    run = await reconciled(world, dry_run=True)
    assert run["status"] == "finished"
    assert world.state.hints == hints
    run = await reconciled(world, auto_heal=True)
    assert run["status"] == "finished"
    assert list(world.state.hints[world.integration_id]) == [sys_id]
