"""An edit that seems to need no write, against the simulator: one look at the record, and nobody's edit is lost."""

import trio

from tests.actors.stage import configure, declared, edit, edit_record, in_world, incident, lines, link, record
from tests.simulation.world import World

LONG = "Checkout is slow: " + "x" * 200


async def shortened(world: World) -> tuple[str, str]:
    """An incident whose title ServiceNow has cut, and what it has left of it; from now on no webhook comes."""
    incident_id = await declared(world, LONG)
    world.instance.outbound.targets.clear()
    await trio.sleep(20)
    return incident_id, record(world, incident_id)["short_description"]


@in_world()
async def test_an_edit_to_what_servicenow_was_last_known_to_hold_meets_the_agents_edit_that_nobody_told(
    world: World,
) -> None:
    incident_id, cut = await shortened(world)
    edit_record(world, incident_id, short_description="VPN is down")
    await trio.sleep(20)
    await edit(world, incident_id, title=cut)
    await trio.sleep(10)
    assert (incident(world, incident_id).title, record(world, incident_id)["short_description"]) == (cut, cut)
    (conflict,) = world.state.conflicts.values()
    assert (conflict.platform, conflict.external, conflict.decided) == (cut, "VPN is down", "platform: later-edit")


@in_world()
async def test_it_costs_one_read_and_no_write_where_nobody_edited_it_there(world: World) -> None:
    incident_id, cut = await shortened(world)
    writes, since_s = world.writes(), trio.current_time()
    await edit(world, incident_id, title=cut)
    await trio.sleep(10)
    assert link(world, incident_id).base["title"].reason == "converged"
    assert (len(lines(world.instance, "GET", since_s=since_s)), world.writes()) == (1, writes)
    await world.reconcile()
    await world.reconcile()
    assert (world.writes(), world.state.conflicts) == (writes, {})


@in_world()
async def test_it_waits_for_an_instance_that_is_down_and_outlives_a_restart(world: World) -> None:
    incident_id, cut = await shortened(world)
    edit_record(world, incident_id, short_description="VPN is down")
    await configure(world, sync_direction="inbound")
    world.instance.arm("maintenance_503")
    await edit(world, incident_id, title=cut)
    await trio.sleep(5)
    await world.stop()
    await world.start()
    world.instance.disarm()
    await trio.sleep(40)
    (conflict,) = world.state.conflicts.values()
    assert (conflict.platform, conflict.external) == (cut, "VPN is down")
    assert incident(world, incident_id).title == "VPN is down"
