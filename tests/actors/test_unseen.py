"""A webhook that was acknowledged is never forgotten, however long ServiceNow does not show the record it names."""

import trio

from tests.actors.stage import (
    call_webhook,
    declare,
    declared,
    edit_record,
    hint_of,
    in_world,
    incident,
    lines,
    link,
    sync_status,
)
from tests.simulation.world import World

HOUR_S = 3600.0


async def many(world: World, count: int) -> list[str]:
    names = [await declare(world, f"incident {number}") for number in range(count)]
    await trio.sleep(60)
    return names


def old(world: World, names: list[str]) -> list[str]:
    return [name for name in names if incident(world, name).title != "edited there"]


@in_world()
async def test_edits_made_while_our_account_saw_nothing_come_in_when_it_sees_again(world: World) -> None:
    names = await many(world, 30)
    account = world.instance.account("svc.sync")
    account.hidden["incident"] = "sys_idISNOTEMPTY"
    for name in names:
        edit_record(world, name, short_description="edited there")
    await trio.sleep(300)
    assert {link(world, name).state for name in names} == {"active"}  # nothing is concluded from seeing nothing
    status = await sync_status(world)
    assert status["state"] == "degraded"
    assert "webhooks told of 30 records that ServiceNow does not show" in str(status["reasons"])
    account.hidden.clear()
    await trio.sleep(HOUR_S / 6)
    assert old(world, names) == []
    assert (await sync_status(world))["state"] == "healthy"


@in_world()
async def test_edits_of_more_hidden_records_than_may_be_parked_come_in_when_they_are_shown(world: World) -> None:
    names = await many(world, 14)
    hidden = names[:12]
    account = world.instance.account("svc.sync")
    account.hidden["incident"] = "sys_idIN" + ",".join(link(world, name).external_id for name in hidden)
    for name in hidden:
        edit_record(world, name, short_description="edited there")
    await trio.sleep(120)
    assert [link(world, name).state for name in hidden].count("parked") <= 10
    account.hidden.clear()
    await trio.sleep(HOUR_S / 6)
    assert old(world, hidden) == []


@in_world()
async def test_what_is_not_shown_is_asked_for_more_and_more_seldom(world: World) -> None:
    name = await declared(world)
    world.instance.account("svc.sync").hidden["incident"] = "sys_idISNOTEMPTY"
    edit_record(world, name, short_description="edited there")
    await trio.sleep(HOUR_S / 4)
    began = trio.current_time()
    await trio.sleep(HOUR_S)
    asked = [one for one in lines(world.instance, "GET", since_s=began) if link(world, name).external_id in one.target]
    assert 10 <= len(asked) <= 13


@in_world()
async def test_whether_our_account_sees_anything_is_asked_once_before_a_hint_is_given_up(world: World) -> None:
    await declared(world)
    began = trio.current_time()
    await call_webhook(world, hint_of(world, "0" * 32, 1))
    await trio.sleep(60)
    asked = lines(world.instance, "GET", since_s=began)
    assert sum("0" * 32 in one.target for one in asked) == 5
    assert len(asked) == 6


@in_world()
async def test_a_link_that_a_webhook_parked_is_freed_by_itself_without_any_run(world: World) -> None:
    hidden = await declared(world, "hidden")
    await declared(world, "kept")
    account = world.instance.account("svc.sync")
    account.hidden["incident"] = f"sys_id={link(world, hidden).external_id}"
    edit_record(world, hidden, short_description="edited there")
    await trio.sleep(60)
    assert link(world, hidden).state == "parked"
    account.hidden.clear()
    await trio.sleep(320)
    assert link(world, hidden).state == "active"
    assert incident(world, hidden).title == "edited there"
    assert world.state.runs.get(world.integration_id, {}) == {}
