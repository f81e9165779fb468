"""Links are opened, and every dirty link is merged: at once, many at a time, and to its end."""

import trio

from tests.actors.stage import (
    configure,
    create_record,
    declare,
    declared,
    edit,
    edit_record,
    in_world,
    incident,
    incident_of,
    link,
    record,
    restart,
    second_instance,
)
from tests.simulation.world import World


@in_world(rate_limit=200, max_concurrency=20)
async def test_more_dirty_links_than_mergers_are_all_merged(world: World) -> None:
    names = [await declare(world, f"incident {number}") for number in range(80)]
    await trio.sleep(10)
    assert not world.state.unlinked[world.integration_id]
    for name in names:
        edit_record(world, name, description="by an agent")
    await world.reconcile()
    await trio.sleep(5)
    assert not world.state.dirty[world.integration_id]
    assert all(incident(world, name).description == "by an agent" for name in names)


@in_world()
async def test_what_was_declared_or_edited_before_a_crash_is_delivered_after_it(world: World) -> None:
    old = await declared(world, "old")
    world.instance.arm("hibernating")
    await edit(world, old, title="edited before the crash")
    new = await declare(world, "declared before the crash")
    await restart(world)
    world.instance.disarm()
    await trio.sleep(20)
    assert record(world, old)["short_description"] == "edited before the crash"
    assert record(world, new)["short_description"] == "declared before the crash"
    assert len(world.instance.incidents()) == 2


@in_world(create_external=False)
async def test_incidents_stay_here_when_no_records_are_to_be_made(world: World) -> None:
    await declare(world)
    await trio.sleep(10)
    assert not world.state.links
    assert world.writes() == 0


@in_world()
async def test_a_change_in_one_instance_reaches_another_through_the_platform(world: World) -> None:
    other, other_id = await second_instance(world, organization_id="default")
    await trio.sleep(2)
    incident_id = await declared(world)
    ours, theirs = record(world, incident_id), other.incidents()[0]
    assert ours["short_description"] == theirs["short_description"]
    edit_record(world, incident_id, short_description="from the first", state="2")
    await trio.sleep(5)
    assert other.record(theirs["sys_id"])["short_description"] == "from the first"
    sys_id = create_record(world, "made in the first")
    await trio.sleep(10)
    second = link(world, incident_of(world, sys_id), other_id)
    assert other.record(second.external_id)["short_description"] == "made in the first"
    before = world.writes() + other.writes()
    await world.reconcile()
    await world.replay_webhooks(3)
    await trio.sleep(30)
    assert world.writes() + other.writes() == before


# Conflicts


@in_world()
async def test_two_edits_within_the_window_leave_the_later_one_and_a_record_of_both(world: World) -> None:
    incident_id = await declared(world)
    world.instance.arm("webhook_delay", 8)
    world.instance.arm("slow", 4)  # ours is still on its way when theirs happens
    await edit(world, incident_id, title="from here")
    edit_record(world, incident_id, short_description="from there")
    await trio.sleep(60)
    (conflict,) = world.state.conflicts.values()
    assert {conflict.platform, conflict.external} == {"from here", "from there"}
    assert (conflict.field, conflict.status, conflict.base) == ("title", "resolved", "Checkout is slow")
    assert record(world, incident_id)["short_description"] == incident(world, incident_id).title
    assert incident(world, incident_id).title in ("from here", "from there")


@in_world(conflict_strategy="manual-review", conflict_window="always")
async def test_manual_review_holds_one_field_until_a_person_decides(world: World) -> None:
    incident_id = await declared(world)
    for winner in ("platform", "external"):
        world.instance.set_webhook("", "")
        edit_record(world, incident_id, short_description=f"there, for {winner}", description=f"flows {winner}")
        await edit(world, incident_id, title=f"here, for {winner}")
        await trio.sleep(20)
        (conflict,) = (one for one in world.state.conflicts.values() if one.status == "pending")
        assert record(world, incident_id)["short_description"] == f"there, for {winner}"
        assert incident(world, incident_id).title == f"here, for {winner}"
        assert incident(world, incident_id).description == f"flows {winner}"
        answer = await world.ask("POST", f"/api/v1/conflicts/{conflict.id}/resolve", {"use": winner})
        assert answer is not None
        assert answer.status_code == 200
        await trio.sleep(10)
        word = "here" if winner == "platform" else "there"
        assert record(world, incident_id)["short_description"] == f"{word}, for {winner}"
        assert incident(world, incident_id).title == f"{word}, for {winner}"
        assert not world.state.waiting


@in_world(conflict_strategy="manual-review", conflict_window="always")
async def test_another_strategy_decides_what_waited_for_a_person(world: World) -> None:
    incident_id = await declared(world)
    edit_record(world, incident_id, short_description="there")
    await edit(world, incident_id, title="here")
    await trio.sleep(20)
    assert world.state.waiting
    await configure(world, conflict_strategy="ownership-priority")
    await trio.sleep(10)
    assert not world.state.waiting
    assert record(world, incident_id)["short_description"] == "here"


@in_world()
async def test_an_edit_long_after_ours_is_one_sided_and_no_conflict(world: World) -> None:
    incident_id = await declared(world)
    await edit(world, incident_id, title="from here")
    await trio.sleep(20)
    edit_record(world, incident_id, short_description="from there")
    await trio.sleep(5)
    assert incident(world, incident_id).title == "from there"
    assert not world.state.conflicts
