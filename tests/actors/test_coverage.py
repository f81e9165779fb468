"""Webhook coverage in `sync-status`: what was found that nobody announced."""

import trio

from tests.actors.stage import (
    AGENT,
    INTEGRATIONS,
    ask,
    create_record,
    declared,
    edit,
    edit_record,
    in_world,
    incident_of,
    link,
    restart,
    sync_status,
)
from tests.simulation.world import World


async def coverage(world: World) -> dict[str, object]:
    """What the status says of it."""
    webhooks = (await sync_status(world))["webhooks"]
    assert isinstance(webhooks, dict)
    found = webhooks["coverage"]
    assert isinstance(found, dict)
    return found


async def figures(world: World) -> tuple[object, object]:
    found = await coverage(world)
    return found["announced"], found["unannounced"]


@in_world(poll_interval="2s")
async def test_webhooks_that_come_after_the_poll_count_and_lost_ones_show_with_the_steps_to_take(world: World) -> None:
    await trio.sleep(3)
    incident_id = await declared(world)
    world.instance.arm("webhook_delay", 20)
    for number in range(7):
        edit_record(world, incident_id, description=f"announced {number}")
        await trio.sleep(25)
    await trio.sleep(60)
    assert await figures(world) == (7, 0)
    world.instance.disarm()
    world.instance.arm("webhook_lost")
    for number in range(3):
        edit_record(world, incident_id, description=f"lost {number}")
        await trio.sleep(5)
    assert (await figures(world))[1] == 0  # not before a fair while is over
    await trio.sleep(70)
    found = await coverage(world)
    assert (found["share"], found["announced"], found["unannounced"]) == (0.7, 7, 3)
    status = await sync_status(world)
    assert status["state"] == "degraded"
    assert "webhooks announced 70% of 10 changes" in str(status["reasons"])
    assert "im integration test" in str(status["reasons"])


@in_world(poll_interval="2s")
async def test_our_own_writes_and_their_echoes_count_neither_way(world: World) -> None:
    world.instance.set_switch("rule_skips_api_user", "off")
    await trio.sleep(3)
    incident_id = await declared(world)
    for number in range(5):
        await edit(world, incident_id, title=f"ours {number}")
        await trio.sleep(5)
    await trio.sleep(70)
    assert await figures(world) == (0, 0)


@in_world()
async def test_what_a_run_finds_counts_and_a_new_record_too(world: World) -> None:
    await trio.sleep(3)
    incident_id = await declared(world)
    world.instance.arm("webhook_lost")
    edit_record(world, incident_id, description="lost")
    sys_id = create_record(world, "lost as well")
    await trio.sleep(5)
    path = f"{INTEGRATIONS}/{world.integration_id}/reconcile"
    await ask(world, "POST", path, {"auto_heal": True}, status=202)
    await trio.sleep(100)
    assert incident_of(world, sys_id)
    assert await figures(world) == (0, 2)


@in_world(poll_interval="2s")
async def test_it_begins_anew_with_the_daemon_and_what_happened_while_it_was_down_does_not_count(world: World) -> None:
    await trio.sleep(3)
    incident_id = await declared(world)
    edit_record(world, incident_id, description="announced")
    await trio.sleep(10)
    before = await coverage(world)
    assert before["announced"] == 1
    sys_id = link(world, incident_id).external_id
    await restart(world, 100, lambda: world.instance.edit_as(AGENT, sys_id, {"description": "while it was down"}))
    await trio.sleep(100)
    after = await coverage(world)
    assert (after["announced"], after["unannounced"], after["share"]) == (0, 0, None)
    assert str(after["since"]) > str(before["since"])


@in_world(poll_interval="2s")
async def test_where_polls_stand_in_for_webhooks_none_need_come(world: World) -> None:
    world.instance.set_webhook("", "")
    await trio.sleep(3)
    incident_id = await declared(world)
    for number in range(5):
        edit_record(world, incident_id, description=f"found {number}")
        await trio.sleep(5)
    await trio.sleep(70)
    assert await figures(world) == (0, 5)
    assert (await sync_status(world))["state"] == "healthy"
