"""An instance that is down is asked by somebody, whoever else has reason to."""

from itertools import pairwise

import trio

from tests.actors.stage import ask, create_record, declared, edit, in_seconds, in_world, lines, record, sync_status
from tests.simulation.world import World


async def fall_silent(world: World) -> None:
    """Three requests that nobody repeats meet an instance that is down."""
    world.instance.arm("maintenance_503")
    path = f"/api/v1/integrations/{world.integration_id}/links"
    body = {"incident_id": "INC-1", "external_id": "f" * 32}
    await ask(world, "POST", "/api/v1/incidents", {"title": "t", "severity": "SEV-3"}, status=201)
    body["incident_id"] = list(world.state.incidents)[-1]
    for _ in range(3):
        await ask(world, "POST", path, body, status=503)


@in_world(create_external=False)
async def test_an_instance_that_is_down_is_probed_every_15_s_with_nothing_to_do(world: World) -> None:
    create_record(world)
    await trio.sleep(310)  # where none was shown at the start, it is looked again
    await fall_silent(world)
    began = trio.current_time()
    assert (await sync_status(world))["state"] == "down"
    await trio.sleep(300)
    times = [in_seconds(one) for one in lines(world.instance, "GET", since_s=began)]
    gaps = [later - earlier for earlier, later in pairwise([began, *times])]
    assert max(gaps) <= 15.0
    assert len(times) >= 20
    world.instance.disarm()
    await trio.sleep(15)
    assert (await sync_status(world))["state"] == "healthy"
    world.instance.reset_counts()
    await trio.sleep(600)
    assert sum(world.instance.counts.values()) == 0  # and nobody asks on


@in_world()
async def test_after_an_outage_delivery_resumes_within_20_s_of_the_first_good_answer(world: World) -> None:
    incident_id = await declared(world)
    world.instance.arm("bad_gateway_502")
    await edit(world, incident_id, title="waits for an hour")
    await trio.sleep(3600)
    world.instance.disarm()
    await trio.sleep(35)  # a probe within 15 s, delivery within 20 s of its answer
    assert record(world, incident_id)["short_description"] == "waits for an hour"
