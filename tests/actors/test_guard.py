"""Who answers at the address: pinned at first contact, and nothing is read or written where another one answers."""

import trio

from tests.actors.stage import (
    AGENT,
    INTEGRATIONS,
    ask,
    configure,
    declare,
    declared,
    edit,
    edit_record,
    hint_of,
    in_world,
    incident,
    lines,
    link,
    record,
    restart,
    second_instance,
    sync_status,
)
from tests.simulation.world import URL, World

STRANGER = "another one"


def pinned(world: World) -> tuple[str, bool] | None:
    one = world.state.integrations[world.integration_id].instance
    return None if one is None else (one.name, one.by_api)


def rename(world: World, name: str) -> None:
    """What happens when a copy is restored over an instance, or its name is changed."""
    table = world.instance.kernel.store.tables["sys_properties"]
    for row in table.rows.values():
        row["value"] = name
    world.instance.kernel.name = name


def close_properties(world: World) -> None:
    world.instance.account("svc.sync").hidden["sys_properties"] = "nameISNOTEMPTY"


@in_world()
async def test_the_instance_is_pinned_at_first_contact_and_stays_so_over_a_restart(world: World) -> None:
    await declared(world)
    assert pinned(world) == ("dev12345", True)
    await restart(world)
    assert pinned(world) == ("dev12345", True)


@in_world()
async def test_another_instance_at_the_address_gets_no_read_and_no_write_until_it_is_confirmed(world: World) -> None:
    incident_id = await declared(world)
    sys_id = link(world, incident_id).external_id
    await world.stop()
    rename(world, STRANGER)
    world.instance.edit_as(AGENT, sys_id, {"description": "of the other one"})
    began = trio.current_time()
    await world.start()
    await edit(world, incident_id, title="for the first one only")
    await trio.sleep(900)
    status = await sync_status(world)
    assert status["state"] == "paused"
    assert f"'{STRANGER}', and this integration belongs to 'dev12345'" in str(status["reasons"])
    assert "--base-url" in str(status["reasons"])
    asked = lines(world.instance, "GET", "POST", "PATCH", since_s=began)
    assert {one.target.partition("?")[0] for one in asked} == {"/api/now/v2/table/sys_properties"}
    assert len(asked) <= 6  # twice, and then a slow probe
    assert incident(world, incident_id).description == ""

    settings = await ask(world, "GET", f"{INTEGRATIONS}/{world.integration_id}")
    assert isinstance(settings, dict)
    await configure(world, base_url=settings["base_url"])
    await trio.sleep(20)
    assert pinned(world) == (STRANGER, True)
    assert (await sync_status(world))["state"] == "healthy"
    assert record(world, incident_id)["short_description"] == "for the first one only"


@in_world()
async def test_an_instance_that_is_another_one_after_an_outage_is_refused(world: World) -> None:
    incident_id = await declared(world)
    world.instance.arm("maintenance_503")
    await edit(world, incident_id, title="waits")
    await trio.sleep(60)
    rename(world, STRANGER)
    world.instance.disarm()
    await trio.sleep(60)
    assert (await sync_status(world))["state"] == "paused"
    assert record(world, incident_id)["short_description"] != "waits"


@in_world()
async def test_other_settings_do_not_confirm_an_instance(world: World) -> None:
    await declared(world)
    await configure(world, rate_limit=5)
    assert pinned(world) == ("dev12345", True)


@in_world()
async def test_where_the_name_is_hidden_the_first_webhook_tells_it(world: World) -> None:
    close_properties(world)
    await configure(world, base_url=f"http://{next(iter(world.instances))}")  # forgets what it knew
    incident_id = await declared(world)
    assert pinned(world) is None
    edit_record(world, incident_id, description="said by webhook")
    await trio.sleep(5)
    assert pinned(world) == ("dev12345", False)
    assert incident(world, incident_id).description == "said by webhook"


@in_world()
async def test_what_the_api_says_comes_before_what_a_webhook_said(world: World) -> None:
    close_properties(world)
    await configure(world, base_url=f"http://{next(iter(world.instances))}")
    incident_id = await declared(world)
    answer = await world.ask("POST", *_delivery(world, incident_id, 1, "a clone that was first"))
    assert answer is not None
    assert (answer.status_code, pinned(world)) == (202, ("a clone that was first", False))
    world.instance.account("svc.sync").hidden.clear()
    await restart(world)
    await trio.sleep(5)
    assert pinned(world) == ("dev12345", True)


def _delivery(world: World, incident_id: str, number: int, name: str) -> tuple[str, bytes, dict[str, str]]:
    outgoing = hint_of(world, link(world, incident_id).external_id, number, instance_name=name, sys_mod_count="99")
    return outgoing.url.removeprefix(URL), outgoing.body, dict(outgoing.headers)


@in_world()
async def test_a_webhook_of_a_clone_is_refused_sets_off_no_read_and_shows_in_the_status(world: World) -> None:
    incident_id = await declared(world)
    await trio.sleep(30)
    began, position = trio.current_time(), world.state.position
    answer = await world.ask("POST", *_delivery(world, incident_id, 1, "test"))
    assert answer is not None
    assert answer.status_code == 403
    assert "'test', and the integration belongs to 'dev12345'" in answer.text
    await trio.sleep(60)
    assert lines(world.instance, "GET", "POST", "PATCH", since_s=began) == []
    assert world.state.position == position
    status = await sync_status(world)
    assert (status["state"], status["webhooks"]["rejected"]) == ("degraded", 1)  # type: ignore[index]
    assert "webhooks of another instance, 'test'" in str(status["reasons"])
    await trio.sleep(3600)
    assert (await sync_status(world))["state"] == "healthy"


@in_world()
async def test_each_integration_has_an_instance_of_its_own(world: World) -> None:
    _, other = await second_instance(world)
    await declare(world)
    await trio.sleep(10)
    assert pinned(world) == ("dev12345", True)
    one = world.state.integrations[other].instance
    assert one is not None


@in_world()
async def test_an_account_without_query_rights_gets_no_new_records_and_says_why(world: World) -> None:
    incident_id = await declared(world)
    sys_id = link(world, incident_id).external_id
    await world.stop()
    world.instance.account("svc.sync").range_denied.add(("incident", "sys_created_on"))
    made = world.instance.create_as(AGENT, {"short_description": "unseen"})
    world.instance.edit_as(AGENT, sys_id, {"description": "read by its id all the same"})
    await trio.sleep(60)  # the webhooks find nobody
    await world.start()
    await trio.sleep(30)
    status = await sync_status(world)
    assert status["state"] == "degraded"
    assert "ServiceNow ignores the range in a query on sys_created_on" in str(status["reasons"])
    assert "query_range" in str(status["reasons"])
    assert incident(world, incident_id).description == "read by its id all the same"
    assert (world.integration_id, made["sys_id"]) not in world.state.link_of_record
    world.instance.account("svc.sync").range_denied.clear()
    await world.reconcile()
    await trio.sleep(10)
    assert (await sync_status(world))["state"] == "healthy"
    assert (world.integration_id, made["sys_id"]) in world.state.link_of_record


@in_world()
async def test_after_a_lost_connection_it_is_asked_anew_who_is_there(world: World) -> None:
    incident_id = await declared(world)
    world.instance.arm("request_lost", times=1)
    await edit(world, incident_id, description="its connection is lost")
    await trio.sleep(0.2)
    rename(world, STRANGER)
    await trio.sleep(60)
    assert record(world, incident_id)["description"] == ""
    status = await sync_status(world)
    assert (status["state"], STRANGER in str(status["reasons"])) == ("paused", True)


@in_world()
async def test_another_instance_that_comes_unnoticed_is_found_out_within_ten_minutes(world: World) -> None:
    incident_id = await declared(world)
    rename(world, STRANGER)
    world.instance.set_webhook("", "")
    await trio.sleep(600)
    before = world.writes()
    await edit(world, incident_id, title="for the first one only")
    await trio.sleep(60)
    assert world.writes() == before
    assert (await sync_status(world))["state"] == "paused"


@in_world()
async def test_a_quiet_day_asks_no_more_often_who_is_there_than_it_does_anything_else(world: World) -> None:
    incident_id = await declared(world)
    asked = len([line for line in lines(world.instance, "GET") if "sys_properties" in line.target])
    for number in range(4):
        await trio.sleep(3600)
        await edit(world, incident_id, title=f"edit {number}")
        await trio.sleep(10)
    again = [line for line in lines(world.instance, "GET") if "sys_properties" in line.target]
    assert len(again) - asked == 4
