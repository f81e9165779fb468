"""Ownership, directions and verdicts against the simulator: who stands, what is put back, and no circles."""

import trio

from tests.actors.stage import (
    INTEGRATIONS,
    asked,
    configure,
    create_record,
    declared,
    edit,
    edit_record,
    in_world,
    incident,
    incident_of,
    letters,
    link,
    record,
    second_instance,
    second_integration,
)
from tests.simulation.world import INSTANCE_HOST, World


async def own(world: World, field: str, owner: str, integration_id: str = "", **rule: object) -> None:
    """Set the rule of a field."""
    path = f"{INTEGRATIONS}/{integration_id or world.integration_id}/field-ownership/{field}"
    await asked(world, "PUT", path, {"owner": owner, **rule})


async def disputed(world: World) -> str:
    """An incident whose title was edited on both sides before either had seen the other's edit."""
    incident_id = await declared(world)
    edit_record(world, incident_id, short_description="there")
    await edit(world, incident_id, title="here")
    await trio.sleep(20)
    return incident_id


def decided(world: World) -> list[tuple[str, str]]:
    """What became of each conflict, oldest first."""
    return [(one.status, one.decided) for one in world.state.conflicts.values()]


# Exclusive owners


@in_world()
async def test_an_agents_edit_of_an_exclusive_field_is_put_back_and_kept_on_record(world: World) -> None:
    incident_id = await declared(world)
    await own(world, "title", "platform", exclusive=True)
    edit_record(world, incident_id, short_description="by an agent", description="flows")
    await trio.sleep(10)
    assert record(world, incident_id)["short_description"] == "Checkout is slow"
    assert (incident(world, incident_id).title, incident(world, incident_id).description) == (
        "Checkout is slow",
        "flows",
    )
    (conflict,) = world.state.conflicts.values()
    assert (conflict.external, conflict.status, conflict.decided) == ("by an agent", "resolved", "platform: exclusive")
    before = world.writes()
    await world.reconcile()
    await trio.sleep(30)
    assert world.writes() == before


@in_world()
async def test_a_platform_edit_of_what_servicenow_owns_exclusively_is_put_back_and_kept_on_record(world: World) -> None:
    incident_id = await declared(world)
    await own(world, "severity", "external", exclusive=True)
    before = world.writes()
    await edit(world, incident_id, severity="SEV-1", title="flows")
    await trio.sleep(10)
    assert (incident(world, incident_id).severity, record(world, incident_id)["priority"]) == ("SEV-3", "3")
    assert record(world, incident_id)["short_description"] == "flows"
    (conflict,) = world.state.conflicts.values()
    assert (conflict.platform, conflict.decided) == ("SEV-1", "external: exclusive")
    assert incident(world, incident_id).updated_by.startswith("integration:")
    assert world.writes() == before + 1


@in_world()
async def test_the_owners_own_edit_of_an_exclusive_field_goes_across(world: World) -> None:
    incident_id = await declared(world)
    await own(world, "title", "external", exclusive=True)
    edit_record(world, incident_id, short_description="by its owner")
    await trio.sleep(10)
    assert incident(world, incident_id).title == "by its owner"
    assert not world.state.conflicts


@in_world()
async def test_a_rule_in_servicenow_that_rewrites_what_is_put_back_ends_in_a_dead_letter_and_no_loop(
    world: World,
) -> None:
    incident_id = await declared(world)
    await own(world, "title", "platform", exclusive=True)
    world.instance.set_switch("title_prefix", "[EU] ")
    before = world.writes()
    edit_record(world, incident_id, short_description="by an agent")
    await trio.sleep(600)
    assert world.writes() == before + 1
    (letter,) = letters(world)
    assert (letter.error.kind, letter.fields) == ("not-kept", ("title",))
    assert record(world, incident_id)["short_description"] == "[EU] Checkout is slow"
    await world.reconcile()
    await trio.sleep(60)
    assert world.writes() == before + 1


@in_world()
async def test_whoever_undoes_each_put_back_a_moment_later_ends_in_a_conflict_for_a_person(world: World) -> None:
    incident_id = await declared(world)
    await own(world, "title", "platform", exclusive=True)

    async def undone(minutes: int) -> None:
        for _ in range(minutes):
            if record(world, incident_id)["short_description"] != "by a script":
                edit_record(world, incident_id, short_description="by a script")
            await trio.sleep(60)

    before = world.writes()
    await undone(minutes=10)
    assert world.writes() == before + 3
    (waiting,) = (one for one in world.state.conflicts.values() if one.status == "pending")
    assert (waiting.reason, waiting.external) == ("put-back-too-often", "by a script")
    await undone(minutes=5)
    assert world.writes() == before + 3
    await asked(world, "POST", f"/api/v1/conflicts/{waiting.id}/resolve", {"use": "external"})
    await trio.sleep(10)
    assert incident(world, incident_id).title == "by a script"


@in_world()
async def test_two_instances_that_both_own_a_field_exclusively_do_not_fight_over_it_for_ever(world: World) -> None:
    _, other_id = await second_instance(world, organization_id="default")
    await trio.sleep(2)
    incident_id = await declared(world)
    await own(world, "title", "external", exclusive=True)
    await own(world, "title", "external", other_id, exclusive=True)
    edit_record(world, incident_id, short_description="from the first")
    await trio.sleep(60)
    version = incident(world, incident_id).version
    assert version < 10
    (waiting,) = (one for one in world.state.conflicts.values() if one.status == "pending")
    assert waiting.reason == "put-back-too-often"
    await trio.sleep(60)
    assert incident(world, incident_id).version == version


@in_world(conflict_strategy="manual-review", conflict_window="always")
async def test_an_exclusive_rule_decides_what_waited_for_a_person(world: World) -> None:
    incident_id = await disputed(world)
    assert world.state.waiting
    await own(world, "title", "external", exclusive=True)
    await trio.sleep(10)
    assert not world.state.waiting
    assert incident(world, incident_id).title == "there"


@in_world(conflict_strategy="ownership-priority", conflict_window="always")
async def test_the_side_that_a_rule_names_stands_and_another_rule_gives_another_winner(world: World) -> None:
    for owner, stands in (("external", "there"), ("platform", "here")):
        await own(world, "title", owner, priority=10)
        incident_id = await disputed(world)
        assert (incident(world, incident_id).title, record(world, incident_id)["short_description"]) == (stands, stands)
    assert decided(world) == [("resolved", "external: owner"), ("resolved", "platform: owner")]


# Verdicts while ServiceNow is away


@in_world(conflict_strategy="manual-review", conflict_window="always")
async def test_a_conflict_is_settled_while_the_instance_is_down_and_written_when_it_is_back(world: World) -> None:
    incident_id = await disputed(world)
    (conflict,) = world.state.conflicts.values()
    instance = world.instances.pop(INSTANCE_HOST)
    shown = await asked(world, "GET", f"/api/v1/conflicts/{conflict.id}")
    assert shown["would_write"] == {
        "use_platform": {"incident": {}, "record": {"short_description": "here"}},
        "use_external": {"incident": {"title": "there"}, "record": {}},
    }
    answer = await asked(world, "POST", f"/api/v1/conflicts/{conflict.id}/resolve", {"use": "platform"})
    assert answer["status"] == "resolved"
    await trio.sleep(60)
    world.instances[INSTANCE_HOST] = instance
    await trio.sleep(60)
    assert record(world, incident_id)["short_description"] == "here"


@in_world(conflict_strategy="manual-review", conflict_window="always")
async def test_a_verdict_on_a_conflict_that_has_moved_on_is_refused_with_the_new_picture(world: World) -> None:
    incident_id = await disputed(world)
    (conflict,) = world.state.conflicts.values()
    await edit(world, incident_id, title="here, later")
    await trio.sleep(5)
    answer = await world.ask(
        "POST", f"/api/v1/conflicts/{conflict.id}/resolve", {"use": "platform"}, {"If-Match": f'"{conflict.version}"'}
    )
    assert answer is not None
    assert (answer.status_code, answer.json()["current"]["platform"]) == (412, "here, later")
    assert "'here, later'" in answer.json()["detail"]
    assert world.state.waiting


@in_world(conflict_strategy="manual-review", conflict_window="always")
async def test_a_value_that_a_person_types_stands_on_both_sides(world: World) -> None:
    incident_id = await disputed(world)
    (conflict,) = world.state.conflicts.values()
    await asked(world, "POST", f"/api/v1/conflicts/{conflict.id}/resolve", {"value": "both of us"})
    await trio.sleep(10)
    assert incident(world, incident_id).title == "both of us"
    assert record(world, incident_id)["short_description"] == "both of us"


@in_world(conflict_strategy="manual-review", conflict_window="always")
async def test_a_status_that_waits_for_a_person_holds_its_close_data_and_the_rest_flows(world: World) -> None:
    incident_id = await declared(world)
    closing = {"state": "6", "close_code": "Solution provided", "close_notes": "by the agent"}
    edit_record(world, incident_id, **closing, description="flows in")
    await edit(world, incident_id, status="mitigated", resolution_notes="from here", severity="SEV-1")
    await trio.sleep(20)
    (conflict,) = world.state.conflicts.values()
    assert (conflict.field, conflict.status) == ("status", "pending")
    assert incident(world, incident_id).description == "flows in"
    assert record(world, incident_id)["priority"] == "1"
    await edit(world, incident_id, resolution_notes="still from here", title="goes out")
    await trio.sleep(20)
    there = record(world, incident_id)
    assert {name: there[name] for name in closing} == closing
    assert there["short_description"] == "goes out"
    await asked(world, "POST", f"/api/v1/conflicts/{conflict.id}/resolve", {"value": "closed"})
    await trio.sleep(10)
    there = record(world, incident_id)
    assert (there["state"], there["close_notes"]) == ("7", "still from here")


# Directions


@in_world(sync_direction="outbound")
async def test_under_outbound_an_agents_edit_stays_there_and_ours_still_goes(world: World) -> None:
    incident_id = await declared(world)
    edit_record(world, incident_id, short_description="stays there")
    await edit(world, incident_id, description="goes")
    await trio.sleep(10)
    assert incident(world, incident_id).title == "Checkout is slow"
    assert record(world, incident_id)["description"] == "goes"
    await configure(world, sync_direction="bidirectional")
    await trio.sleep(20)
    assert incident(world, incident_id).title == "Checkout is slow"  # it was settled on its own half, not kept back
    assert record(world, incident_id)["short_description"] == "stays there"


@in_world()
async def test_under_none_and_disabled_nothing_is_decided_and_nothing_is_lost(world: World) -> None:
    incident_id = await declared(world)
    for off, on in (
        ({"sync_direction": "none"}, {"sync_direction": "bidirectional"}),
        ({"enabled": False}, {"enabled": True}),
    ):
        await configure(world, **off)
        edit_record(world, incident_id, short_description=f"there, {off}")
        await edit(world, incident_id, description=f"here, {off}")
        before = link(world, incident_id).base
        await trio.sleep(60)
        assert link(world, incident_id).base == before
        await configure(world, **on)
        await trio.sleep(20)
        assert incident(world, incident_id).title == f"there, {off}"
        assert record(world, incident_id)["description"] == f"here, {off}"
    assert not world.state.conflicts


# Two integrations on one instance


@in_world()
async def test_two_integrations_of_one_organization_on_one_instance_make_no_record_out_of_each_others(
    world: World,
) -> None:
    beside = await second_integration(world)
    await trio.sleep(2)
    ours = await declared(world)
    agents = create_record(world, "by an agent")
    await trio.sleep(30)
    assert len(world.state.incidents) == 2
    brought_in = incident_of(world, agents) or incident_of(world, agents, beside)
    for incident_id in (ours, brought_in):
        records = {link(world, incident_id, one).external_id for one in (world.integration_id, beside)}
        assert len(records) == 2
    assert len(world.instance.incidents()) == 4
    edit_record(world, ours, short_description="from the first")
    await trio.sleep(15)
    second = world.instance.record(link(world, ours, beside).external_id)
    assert second["short_description"] == "from the first"
    before = world.writes()
    await world.reconcile()
    await world.replay_webhooks(3)
    await trio.sleep(60)
    assert (len(world.state.incidents), len(world.instance.incidents()), world.writes()) == (2, 4, before)


@in_world()
async def test_they_do_so_even_where_the_instance_drops_the_correlation_id(world: World) -> None:
    world.instance.account("svc.sync").write_denied.add(("incident", "correlation_id"))
    await second_integration(world)
    await trio.sleep(2)
    await declared(world)
    create_record(world, "by an agent")
    await trio.sleep(60)
    await world.reconcile()
    await trio.sleep(60)
    assert (len(world.state.incidents), len(world.instance.incidents())) == (2, 4)
