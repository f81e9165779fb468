"""A record that ServiceNow no longer shows is said to be missing, and nothing is concluded from it."""

import trio

from tests.actors.stage import INTEGRATIONS, ask, declared, edit, in_world, sync_status
from tests.simulation.world import World


@in_world()
async def test_a_deleted_record_is_told_by_sync_status_and_never_taken_for_an_edit(world: World) -> None:
    kept, gone = await declared(world, "kept"), await declared(world, "gone")
    link = next(one for one in world.state.links.values() if one.incident_id == gone)
    world.instance.delete_as("admin", link.external_id)
    await world.reconcile()
    await trio.sleep(30)
    status = await sync_status(world)
    assert status["state"] == "degraded"
    assert "1 linked record is not shown" in " ".join(status["reasons"])  # type: ignore[arg-type]
    await edit(world, kept, title="still synced")
    await trio.sleep(5)
    assert world.state.incidents[gone].status == "open"
    rows = [row["short_description"] for row in world.instance.incidents()]
    assert rows == ["still synced"]


@in_world()
async def test_a_missing_record_that_is_unlinked_is_missed_no_longer(world: World) -> None:
    gone = await declared(world, "gone")
    link = next(one for one in world.state.links.values() if one.incident_id == gone)
    world.instance.delete_as("admin", link.external_id)
    await world.reconcile()
    assert (await sync_status(world))["state"] == "degraded"
    await ask(world, "DELETE", f"{INTEGRATIONS}/{world.integration_id}/links/{gone}", status=204)
    assert (await sync_status(world))["state"] == "healthy"
