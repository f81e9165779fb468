"""Mappings that people set, told as stories: columns of their own, another column, one taken back."""

from typing import cast

import trio

from syncd.simulator.rules import AbortRule
from syncd.simulator.tables import Column
from tests.actors.stage import (
    INTEGRATIONS,
    ask,
    asked,
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
    restart,
    sync_status,
)
from tests.actors.test_people import user, who
from tests.simulation.world import World

VALUES = {"SEV-1": "critical", "SEV-2": "high", "SEV-3": "normal", "SEV-4": ["low", "none"]}


def add_columns(world: World, *names: str) -> None:
    for name in names:
        world.instance.kernel.incidents.add_column(Column(name, name, length_max=40, owner="incident"))
        for row in world.instance.kernel.incidents.rows.values():
            row.setdefault(name, "")


async def set_mapping(world: World, field: str, **body: object) -> None:
    await asked(world, "PUT", f"{INTEGRATIONS}/{world.integration_id}/field-mapping/{field}", body)
    await trio.sleep(10)


async def remove_mapping(world: World, field: str) -> None:
    await ask(world, "DELETE", f"{INTEGRATIONS}/{world.integration_id}/field-mapping/{field}")
    await trio.sleep(10)


@in_world()
async def test_a_service_goes_both_ways_once_it_has_a_column_and_not_before(world: World) -> None:
    add_columns(world, "u_service")
    incident_id = await declared(world, service="checkout")
    assert record(world, incident_id)["u_service"] == ""
    await set_mapping(world, "service", external_field="u_service")
    assert record(world, incident_id)["u_service"] == "checkout", "the side that has something stands"
    edit_record(world, incident_id, u_service="payments")
    await trio.sleep(5)
    assert incident(world, incident_id).service == "payments"
    edit_record(world, incident_id, u_service="")
    await trio.sleep(5)
    assert incident(world, incident_id).service is None
    await restart(world)
    new_id = await declared(world, service="search")
    assert record(world, new_id)["u_service"] == "search"
    inbound = create_record(world, u_service="mail")
    await trio.sleep(5)
    assert incident(world, incident_of(world, inbound)).service == "mail"
    assert world.state.conflicts == {}


@in_world()
async def test_a_mapping_taken_back_stops_that_field_and_nothing_else(world: World) -> None:
    add_columns(world, "u_service")
    await set_mapping(world, "service", external_field="u_service")
    incident_id = await declared(world, service="checkout")
    await remove_mapping(world, "service")
    await edit(world, incident_id, service="search", title="Checkout is down")
    edit_record(world, incident_id, u_service="payments", description="since noon")
    await trio.sleep(5)
    assert incident(world, incident_id).service == "search"
    assert incident(world, incident_id).description == "since noon"
    assert record(world, incident_id)["u_service"] == "payments"
    assert record(world, incident_id)["short_description"] == "Checkout is down"
    assert world.state.conflicts == {}
    await set_mapping(world, "service", external_field="u_service")
    (kept,) = world.state.conflicts.values()
    assert (kept.field, kept.external, incident(world, incident_id).service) == ("service", "payments", "search")


@in_world()
async def test_a_severity_by_values_fills_empty_columns_and_is_never_emptied(world: World) -> None:
    add_columns(world, "u_sev")
    incident_id = await declared(world)
    await set_mapping(world, "severity", external_field="u_sev", values=VALUES)
    assert record(world, incident_id)["u_sev"] == "normal"
    edit_record(world, incident_id, u_sev="none")
    await trio.sleep(5)
    assert incident(world, incident_id).severity == "SEV-4"
    edit_record(world, incident_id, u_sev="")
    await trio.sleep(5)
    assert incident(world, incident_id).severity == "SEV-4"
    await edit(world, incident_id, severity="SEV-1")
    await trio.sleep(5)
    assert record(world, incident_id)["u_sev"] == "critical"
    edit_record(world, incident_id, u_sev="odd")
    await trio.sleep(5)
    assert incident(world, incident_id).severity == "SEV-1"
    reasons = cast("list[str]", (await sync_status(world))["reasons"])
    assert any("'odd'" in reason for reason in reasons)
    assert letters(world) == []


@in_world()
async def test_other_values_for_the_same_column_are_not_read_as_edits(world: World) -> None:
    add_columns(world, "u_sev")
    await set_mapping(world, "severity", external_field="u_sev", values=VALUES)
    incident_id = await declared(world)
    world.instance.reset_counts()
    await set_mapping(world, "severity", external_field="u_sev", values=VALUES | {"SEV-2": "normal", "SEV-3": "high"})
    assert incident(world, incident_id).severity == "SEV-3"
    assert record(world, incident_id)["u_sev"] == "normal"
    assert world.instance.counts["PATCH"] == 0
    edit_record(world, incident_id, u_sev="high")
    await trio.sleep(5)
    assert incident(world, incident_id).severity == "SEV-3"


@in_world()
async def test_another_column_is_no_edit_either_and_what_differs_is_the_owners(world: World) -> None:
    add_columns(world, "u_sev")
    incident_id = await declared(world)
    edit_record(world, incident_id, u_sev="critical")
    await trio.sleep(5)
    await set_mapping(world, "severity", external_field="u_sev", values=VALUES)
    assert incident(world, incident_id).severity == "SEV-3"
    assert record(world, incident_id)["u_sev"] == "normal"
    (kept,) = world.state.conflicts.values()
    assert (kept.field, kept.external) == ("severity", "SEV-1")
    await remove_mapping(world, "severity")
    await edit(world, incident_id, severity="SEV-2")
    await trio.sleep(5)
    assert record(world, incident_id)["priority"] == "2"
    assert len(world.state.conflicts) == 1


@in_world()
async def test_a_direction_of_its_own_keeps_a_field_from_spreading(world: World) -> None:
    add_columns(world, "u_service")
    await set_mapping(world, "service", external_field="u_service", direction="inbound")
    incident_id = await declared(world)
    await edit(world, incident_id, service="checkout", title="Checkout is down")
    await trio.sleep(5)
    assert record(world, incident_id)["u_service"] == ""
    assert record(world, incident_id)["short_description"] == "Checkout is down"
    edit_record(world, incident_id, u_service="payments")
    await trio.sleep(5)
    assert incident(world, incident_id).service == "payments"


@in_world()
async def test_what_stayed_here_beside_an_empty_column_is_kept_when_an_agent_fills_it(world: World) -> None:
    add_columns(world, "u_sev")
    await set_mapping(world, "severity", external_field="u_sev", values=VALUES, direction="inbound")
    sys_id = create_record(world)
    await trio.sleep(5)
    incident_id = incident_of(world, sys_id)
    await edit(world, incident_id, severity="SEV-4")
    await trio.sleep(5)
    edit_record(world, incident_id, u_sev="normal")
    await trio.sleep(5)
    assert incident(world, incident_id).severity == "SEV-3"
    (kept,) = world.state.conflicts.values()
    assert (kept.field, kept.platform, kept.status) == ("severity", "SEV-4", "resolved")


@in_world()
async def test_states_of_a_customer_are_written_and_read_also_on_a_create(world: World) -> None:
    values = {"open": ["10", "11"], "mitigated": "3", "resolved": "6", "closed": "7", "canceled": "8"}
    await set_mapping(world, "status", external_field="state", values=values)
    incident_id = await declared(world)
    assert record(world, incident_id)["state"] == "10"
    edit_record(world, incident_id, state="11")
    await trio.sleep(5)
    assert incident(world, incident_id).status == "open"
    await edit(world, incident_id, status="resolved")
    await trio.sleep(5)
    assert record(world, incident_id)["state"] == "6"
    assert record(world, incident_id)["close_code"] == "Solution provided"


@in_world()
async def test_a_column_that_is_not_there_moves_nothing_and_is_told(world: World) -> None:
    incident_id = await declared(world, service="checkout")
    await set_mapping(world, "service", external_field="u_typo")
    assert incident(world, incident_id).service == "checkout"
    assert link(world, incident_id).base["service"].reason == "unreadable"
    assert letters(world) == []
    await declared(world, service="search")
    assert letters(world) == []
    assert any("service" in str(reason) for reason in cast("list[str]", (await sync_status(world))["reasons"]))


@in_world(conflict_strategy="manual-review", conflict_window="always")
async def test_what_waits_for_a_person_is_let_go_with_the_mapping(world: World) -> None:
    add_columns(world, "u_service")
    await set_mapping(world, "service", external_field="u_service")
    incident_id = await declared(world, service="checkout")
    world.instance.set_webhook("", "")
    edit_record(world, incident_id, u_service="payments")
    await edit(world, incident_id, service="search")
    await trio.sleep(5)
    (held,) = world.state.conflicts.values()
    assert held.status == "pending"
    await remove_mapping(world, "service")
    (held,) = world.state.conflicts.values()
    assert (held.status, held.decided) == ("ignored", "mapping-removed")
    assert held.resolved_at_s is not None
    assert held.resolved_by
    assert world.state.waiting == {}


@in_world()
async def test_who_is_assigned_may_stand_in_a_column_of_ones_own_and_whom_nobody_knows_is_told(world: World) -> None:
    world.instance.kernel.incidents.add_column(
        Column("u_owner", "Owner", "reference", 32, "sys_user", owner="incident")
    )
    await set_mapping(world, "assigned_to", external_field="u_owner")
    incident_id = await declared(world, assigned_to="david.loo")
    david, beth = (user(world, name)["sys_id"] for name in ("david.loo", "beth.anglin"))
    assert (record(world, incident_id)["u_owner"], who(world, incident_id)) == (david, "")
    edit_record(world, incident_id, u_owner=beth, assigned_to=david)
    await trio.sleep(5)
    assert incident(world, incident_id).assigned_to == "beth.anglin@example.com"
    await edit(world, incident_id, assigned_to="don.goodliffe")
    await trio.sleep(5)
    assert record(world, incident_id)["u_owner"] == user(world, "don.goodliffe")["sys_id"]
    assert who(world, incident_id) == "david.loo", "nobody touches the other column"
    await edit(world, incident_id, assigned_to="nobody.known")
    await trio.sleep(5)
    (letter,) = letters(world)
    assert (letter.fields, letter.error.kind) == (("assigned_to",), "unresolved-person")
    await edit(world, incident_id, assigned_to=None)
    await trio.sleep(5)
    assert (record(world, incident_id)["u_owner"], letters(world)) == ("", [])
    world.instance.rulebook.aborts.append(AbortRule("No owners", f"u_owner={beth}"))
    await edit(world, incident_id, assigned_to="beth.anglin")
    await trio.sleep(5)
    (letter,) = letters(world)
    assert "No owners" in letter.error.detail
    assert not any("sys_user_grmember" in line.target for line in world.instance.requests), "its group has no say"


@in_world()
async def test_who_is_assigned_may_come_in_only(world: World) -> None:
    incident_id = await declared(world)
    await set_mapping(world, "assigned_to", external_field="assigned_to", direction="inbound")
    await edit(world, incident_id, assigned_to="david.loo")
    await trio.sleep(5)
    assert who(world, incident_id) == ""
    edit_record(world, incident_id, assigned_to=user(world, "beth.anglin")["sys_id"])
    await trio.sleep(5)
    assert incident(world, incident_id).assigned_to == "beth.anglin@example.com"
