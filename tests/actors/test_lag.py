"""Lag, latency and errors as sync-status tells them, measured on the real daemon in virtual time."""

from typing import cast

import trio

from tests.actors.stage import (
    ask,
    configure,
    declared,
    edit,
    edit_record,
    in_world,
    restart,
    sync_status,
)
from tests.simulation.world import World

Figures = dict[str, dict[str, float]]


async def lag(world: World) -> Figures:
    return cast("Figures", (await sync_status(world))["lag"])


@in_world()
async def test_lag_is_measured_each_way_and_survives_a_restart(world: World) -> None:
    incident_id = await declared(world)
    await edit(world, incident_id, title="VPN is down")
    await trio.sleep(5)
    edit_record(world, incident_id, short_description="VPN is down in Lisbon")
    await trio.sleep(5)
    before = await lag(world)
    assert before["outbound"]["count"] == 2  # the create, and the edit
    assert 0.0 < before["outbound"]["p50"] <= before["outbound"]["p99"] <= before["outbound"]["max"] < 5.0
    assert before["inbound"]["count"] == 1
    assert 0.0 <= before["inbound"]["max"] < 6.0  # ServiceNow stamps whole seconds
    await restart(world)
    await trio.sleep(5)
    assert await lag(world) == before
    await trio.sleep(1000)
    assert await lag(world) == {"outbound": None, "inbound": None}


@in_world()
async def test_an_outage_shows_in_lag_queue_and_errors_and_ends(world: World) -> None:
    incident_id = await declared(world)
    world.instance.arm("maintenance_503")
    await edit(world, incident_id, title="VPN is down")
    await trio.sleep(60)
    status = await sync_status(world)
    queue, errors = cast("dict[str, object]", status["queue"]), cast("list[dict[str, object]]", status["last_errors"])
    assert (status["state"], queue["outbox"], queue["clears_in_s"], queue["paced_by"]) == ("down", 1, None, "instance")
    assert (errors[0]["kind"], errors[0]["remedy"]) == (
        "unavailable",
        "nothing is lost, it is tried again by itself; to find out why: im integration test demo",
    )
    assert cast("int", errors[0]["times"]) >= 3
    world.instance.disarm()
    await trio.sleep(30)
    status = await sync_status(world)
    assert status["state"] == "healthy"
    assert cast("Figures", status["lag"])["outbound"]["max"] >= 60.0
    outcomes = cast("dict[str, dict[str, int]]", status["api"])["outcomes"]
    assert outcomes["ok"] > 0
    assert outcomes["unavailable"] >= 3


@in_world(rate_limit=1)
async def test_a_backlog_has_a_forecast_that_comes_true(world: World) -> None:
    await configure(world, enabled=False)
    names = [
        await ask(world, "POST", "/api/v1/incidents", {"title": f"no {n}", "severity": "SEV-3"}, status=201)
        for n in range(20)
    ]
    assert len(names) == 20
    await configure(world, enabled=True)
    await trio.sleep(2)
    queue = cast("dict[str, object]", (await sync_status(world))["queue"])
    assert cast("int", queue["outbox"]) >= 10
    assert queue["paced_by"] == "rate_limit"
    await trio.sleep(cast("float", queue["clears_in_s"]) + 5)
    assert cast("dict[str, float]", (await sync_status(world))["queue"])["outbox"] == 0


@in_world()
async def test_answers_that_take_long_show_in_the_latency(world: World) -> None:
    await declared(world)
    latency = cast("dict[str, dict[str, float]]", (await sync_status(world))["api"])["latency"]
    assert 0.0 < latency["p50"] <= latency["max"] < 5.0
