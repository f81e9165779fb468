"""What an instance does by itself beside our writes: it comes in as anybody's edit, and nothing is written back."""

import trio

from syncd.simulator.fixtures import HUMANS
from tests.actors.stage import (
    configure,
    create_record,
    declared,
    edit,
    edit_record,
    in_world,
    incident,
    incident_of,
    letters,
    lines,
    link,
    record,
    sync_status,
)
from tests.simulation.world import CLOSE, World

JOE = next(sys_id for user_name, _, _, sys_id, *_ in HUMANS if user_name == "joe.employee")


async def writes_in_a_minute(world: World) -> int:
    """Requests that change something, within a quiet minute with a reconcile in its middle."""
    before = world.writes()
    await trio.sleep(30)
    await world.reconcile()
    await trio.sleep(30)
    return world.writes() - before


@in_world()
async def test_a_status_that_is_set_by_way_of_incident_state_comes_in_and_ours_sets_both(world: World) -> None:
    incident_id = await declared(world)
    edit_record(world, incident_id, incident_state="3", hold_reason="4")
    await trio.sleep(5)
    assert incident(world, incident_id).status == "mitigated"
    await edit(world, incident_id, status="open")
    await trio.sleep(5)
    row = record(world, incident_id)
    assert (row["state"], row["incident_state"]) == ("2", "2")
    assert await writes_in_a_minute(world) == 0


@in_world()
async def test_a_record_that_is_not_active_any_more_is_read_and_kept_in_step(world: World) -> None:
    incident_id = await declared(world)
    edit_record(world, incident_id, state="8")
    await trio.sleep(5)
    assert record(world, incident_id)["active"] == "false"
    assert incident(world, incident_id).status == "canceled"
    world.instance.edit_as("admin", link(world, incident_id).external_id, {"state": "2", "description": "after all"})
    await trio.sleep(5)
    found = incident(world, incident_id)
    assert (found.status, found.description) == ("open", "after all")
    assert await writes_in_a_minute(world) == 0


@in_world()
async def test_a_resolve_whose_answer_was_lost_is_not_stamped_twice(world: World) -> None:
    incident_id = await declared(world)
    world.instance.arm("patch_commits_then_reset", times=1)
    await edit(world, incident_id, status="resolved")
    await trio.sleep(5)
    stamped = record(world, incident_id)
    assert (stamped["state"], stamped["resolved_by"] != "") == ("6", True)
    assert await writes_in_a_minute(world) == 0
    row = record(world, incident_id)
    names = ("resolved_at", "resolved_by", "sys_mod_count")
    assert [row[name] for name in names] == [stamped[name] for name in names]
    assert incident(world, incident_id).status == "resolved"


@in_world()
async def test_a_write_that_finds_its_value_there_already_is_settled_and_sets_off_nothing(world: World) -> None:
    incident_id = await declared(world)
    sys_id = link(world, incident_id).external_id
    titles = {"short_description": "The same on both sides"}
    armed = world.instance.on_request.copy()

    def meanwhile(line: object) -> None:  # between our read and our write somebody sets the very value
        if getattr(line, "method", "") == "GET" and "sys_idIN" in getattr(line, "target", ""):
            world.instance.edit_as("beth.anglin", sys_id, titles)
            world.instance.on_request[:] = armed

    world.instance.set_webhook("", "")
    world.instance.on_request.append(meanwhile)
    await edit(world, incident_id, title=titles["short_description"])
    await trio.sleep(5)
    (sent,) = lines(world.instance, "PATCH")
    assert sent.status == 200
    row = record(world, incident_id)
    assert (row["sys_mod_count"], row["sys_updated_by"]) == ("1", "beth.anglin")
    assert letters(world) == []
    assert link(world, incident_id).outbox is None
    assert await writes_in_a_minute(world) == 0


@in_world()
async def test_an_assignment_rule_that_acts_on_our_priority_comes_in_with_the_answer(world: World) -> None:
    incident_id = await declared(world)
    world.instance.set_switch("assign_on_priority", "david.loo")
    world.instance.set_webhook("", "")
    await edit(world, incident_id, severity="SEV-1")
    await trio.sleep(5)
    assert incident(world, incident_id).assigned_to == "david.loo@example.com"
    assert len(lines(world.instance, "PATCH")) == 1
    assert await writes_in_a_minute(world) == 0


@in_world()
async def test_a_callers_comment_that_resumes_work_opens_the_incident_and_is_not_undone(world: World) -> None:
    await configure(world, external_defaults={**CLOSE, "create": {"caller_id": JOE}, "hold_reason": "1"})
    incident_id = await declared(world)
    await edit(world, incident_id, status="mitigated")
    await trio.sleep(5)
    assert (record(world, incident_id)["state"], record(world, incident_id)["hold_reason"]) == ("3", "1")
    world.instance.edit_as("joe.employee", link(world, incident_id).external_id, {"comments": "it works again"})
    await trio.sleep(5)
    assert (record(world, incident_id)["state"], record(world, incident_id)["hold_reason"]) == ("2", "")
    assert incident(world, incident_id).status == "open"
    assert world.state.notes.get(incident_id, ()) == (), "a comment is for the caller, and no work note"
    assert await writes_in_a_minute(world) == 0


@in_world()
async def test_children_that_our_own_write_resolved_unannounced_are_found_by_a_reconcile(world: World) -> None:
    world.instance.set_switch("cascade_to_children", "on")
    world.instance.set_switch("rule_skips_api_user", "on")
    parent = await declared(world, "The cause")
    child = create_record(world, "A symptom", parent_incident=link(world, parent).external_id)
    await trio.sleep(10)
    await edit(world, parent, status="resolved", resolution_notes="restarted")
    await trio.sleep(10)
    await world.reconcile()
    await trio.sleep(10)
    assert incident(world, incident_of(world, child)).status == "resolved"
    assert await writes_in_a_minute(world) == 0


@in_world()
async def test_a_parent_that_we_resolve_takes_its_children_along_and_their_incidents_follow(world: World) -> None:
    world.instance.set_switch("cascade_to_children", "on")
    world.instance.set_switch("rule_skips_api_user", "off")
    parent = await declared(world, "The cause")
    children = [
        create_record(world, f"A symptom {number}", parent_incident=link(world, parent).external_id)
        for number in range(3)
    ]
    await trio.sleep(10)
    await edit(world, parent, status="resolved", resolution_notes="restarted")
    await trio.sleep(10)
    incidents = [incident_of(world, sys_id) for sys_id in children]
    assert [incident(world, one).status for one in incidents] == ["resolved"] * 3
    assert [record(world, one)["state"] for one in incidents] == ["6"] * 3
    assert await writes_in_a_minute(world) == 0
    assert letters(world) == []
    await edit(world, incidents[0], status="open")
    await trio.sleep(10)
    assert [incident(world, one).status for one in (parent, *incidents)] == ["resolved", "open", "resolved", "resolved"]
    assert await writes_in_a_minute(world) == 0


@in_world()
async def test_basic_credentials_that_end_on_a_date_pause_and_go_on_when_they_are_let_in_again(world: World) -> None:
    incident_id = await declared(world)
    world.instance.set_switch("basic_enforced_at", world.instance.kernel.clock.stamp())
    began = trio.current_time()
    await edit(world, incident_id, title="Waits")
    await trio.sleep(900)
    status = await sync_status(world)
    assert status["state"] == "paused"
    assert len(lines(world.instance, "GET", "PATCH", since_s=began)) <= 6, "a try a second later, then every 5 minutes"
    world.instance.set_switch("basic_enforced_at", "")
    await trio.sleep(330)
    assert (await sync_status(world))["state"] == "healthy"
    assert record(world, incident_id)["short_description"] == "Waits"
    assert letters(world) == []


@in_world()
async def test_a_session_that_lost_its_roles_now_and_then_delays_nothing(world: World) -> None:
    incident_id = await declared(world)
    for number in range(5):
        world.instance.arm("api_acl_403", times=1)
        await edit(world, incident_id, title=f"edit {number}")
        await trio.sleep(5)
        assert record(world, incident_id)["short_description"] == f"edit {number}"
    assert (await sync_status(world))["state"] == "healthy"
    assert letters(world) == []
