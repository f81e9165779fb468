"""The connection test through the API, in a house that runs: whatever state the integration is in."""

import json
from typing import Any

import trio

from tests.actors.stage import INTEGRATIONS, configure, declared, edit, in_world, lines, sync_status
from tests.simulation.world import World


async def report_of(world: World, **body: object) -> dict[str, Any]:
    answer = await world.ask("POST", f"{INTEGRATIONS}/{world.integration_id}/test", json.dumps(body).encode())
    assert answer is not None
    assert answer.status_code == 200, answer.text
    report: dict[str, Any] = json.loads(answer.content)
    return report


def verdicts(report: dict[str, Any]) -> dict[str, str]:
    return {step["name"]: step["verdict"] for step in report["steps"]}


@in_world()
async def test_a_running_integration_is_tested_over_its_own_connection(world: World) -> None:
    await declared(world)
    report = await report_of(world)
    failed = [name for name, verdict in verdicts(report).items() if verdict == "failed"]
    assert failed == ["clock"]  # an instance of this world is minutes off
    assert verdicts(report)["credentials"] == "ok"
    assert list(verdicts(report))[-1] == "webhook"


@in_world()
async def test_a_disabled_integration_is_tested_as_well(world: World) -> None:
    await declared(world)
    await configure(world, enabled=False)
    world.instance.reset_counts()
    assert verdicts(await report_of(world))["queries"] == "ok"
    await trio.sleep(60)
    assert 0 < sum(world.instance.counts.values()) < 40
    assert (await sync_status(world))["state"] == "paused"


@in_world()
async def test_an_integration_that_is_left_alone_is_tested_at_once(world: World) -> None:
    incident_id = await declared(world)
    world.instance.arm("unauthorized_401")
    await edit(world, incident_id, title="waits")
    await trio.sleep(30)
    assert (await sync_status(world))["state"] == "paused"
    began = trio.current_time()
    report = await report_of(world)
    assert trio.current_time() - began < 5
    assert (report["verdict"], verdicts(report)["credentials"]) == ("failed", "failed")
    world.instance.disarm()
    assert verdicts(await report_of(world))["credentials"] == "ok"


@in_world()
async def test_the_incident_of_the_write_check_does_not_come_in(world: World) -> None:
    await declared(world)
    before = set(world.state.incidents)
    step = next(one for one in (await report_of(world, write_check=True))["steps"] if one["name"] == "write check")
    assert step["verdict"] == "ok", step
    await trio.sleep(120)
    await world.reconcile()
    await trio.sleep(10)
    assert set(world.state.incidents) == before


@in_world()
async def test_an_oauth_client_syncs_over_the_end_of_its_token_and_a_wrong_secret_pauses(world: World) -> None:
    incident_id = await declared(world)
    client = {"client_id": "sync-client", "client_secret": "sync-client-secret"}
    await configure(world, credentials=client)
    await trio.sleep(10)
    for number in range(3):
        await edit(world, incident_id, title=f"edit {number}")
        await trio.sleep(1800)
    assert (await sync_status(world))["state"] == "healthy"
    assert any(row["short_description"] == "edit 2" for row in world.instance.incidents())

    began = trio.current_time()
    await configure(world, credentials={**client, "client_secret": "wrong"})
    await edit(world, incident_id, title="refused")
    await trio.sleep(120)
    status = await sync_status(world)
    assert status["state"] == "paused"
    assert "--client-id … --client-secret-file …" in str(status["reasons"])
    asked = lines(world.instance, "POST", "GET", "PATCH", since_s=began)
    assert [one.target for one in asked] == ["/oauth_token.do"] * 2
