"""A write rests on a read that is fresh when it leaves, and never on one that a webhook has overtaken."""

import pytest
import trio

from tests.actors.stage import declared, edit, edit_record, in_world, lines, link, record
from tests.simulation.world import World


@in_world(max_concurrency=1, conflict_window="1s")
async def test_edits_in_servicenow_while_writes_wait_for_their_turn_are_not_overwritten(world: World) -> None:
    incidents = [await declared(world, f"incident {number}") for number in range(6)]
    world.instance.arm("slow", 2)
    for incident in incidents:
        await edit(world, incident, title=f"{incident} by an engineer")
    await trio.sleep(15)  # all have been read, the first writes are under way, the last ones wait behind them
    late = incidents[3:]
    for incident in late:
        external_id = link(world, incident).external_id
        row = world.instance.record(external_id)
        if row["short_description"].endswith("by an engineer"):
            continue
        edit_record(world, incident, short_description=f"{incident} by an agent")
    world.instance.disarm()
    await trio.sleep(90)
    for incident in late:
        title = world.state.incidents[incident].title
        shown = world.instance.record(link(world, incident).external_id)["short_description"]
        assert shown == title
        assert title == f"{incident} by an agent", "the later edit was overwritten"


@pytest.mark.parametrize("limit", [10, 11])  # with one of them the write would have to wait, with the other its read
def test_a_write_that_an_hourly_rule_holds_back_rests_on_a_read_made_after_the_wait(limit: int) -> None:
    @in_world(conflict_window="1s")
    async def story(world: World) -> None:
        world.instance.arm("rate_limit", limit)
        incident = await declared(world)
        external_id = link(world, incident).external_id
        number = 0
        while world.instance.record(external_id)["short_description"] == world.state.incidents[incident].title:
            number += 1
            await edit(world, incident, title=f"edit {number}")
            await trio.sleep(5)
        await trio.sleep(30)  # nothing goes any more for a while
        edit_record(world, incident, short_description="by an agent")
        await trio.sleep(4000)
        shown = world.instance.record(external_id)["short_description"]
        assert (shown, world.state.incidents[incident].title) == ("by an agent", "by an agent")

    story()


@in_world()
async def test_where_every_answer_takes_2_s_an_edit_costs_one_read_and_one_write_and_arrives_within_5_s(
    world: World,
) -> None:
    incident = await declared(world)
    world.instance.arm("slow", 2)
    edited_at = trio.current_time()
    await edit(world, incident, title="by an engineer")
    await trio.sleep(5)
    assert record(world, incident)["short_description"] == "by an engineer"
    await trio.sleep(60)
    assert [line.method for line in lines(world.instance, "GET", "PATCH", since_s=edited_at)] == ["GET", "PATCH"]


@in_world(conflict_window="1s")
async def test_a_write_that_a_full_disk_held_back_is_decided_anew_on_a_fresh_read(world: World) -> None:
    incident = await declared(world)
    await trio.sleep(30)
    world.instance.on_request.append(lambda _: world.fill_disk(0))  # while the record is read for the write
    await edit(world, incident, title="by an engineer")
    await trio.sleep(5)
    world.instance.on_request.clear()
    edit_record(world, incident, short_description="by an agent")
    await trio.sleep(2)
    world.fill_disk(None)
    since_s = trio.current_time()
    await trio.sleep(60)
    assert record(world, incident)["short_description"] == world.state.incidents[incident].title == "by an agent"
    assert [one.platform for one in world.state.conflicts.values()] == ["by an engineer"]
    assert "PATCH" not in [line.method for line in lines(world.instance, "GET", "PATCH", since_s=since_s)]
