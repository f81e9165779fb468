"""Closing: late edits of closed records, accounts that may not close, auto-close, reopening and cancelling."""

from typing import Any

import pytest
import trio

from syncd.simulator.rules import DataPolicy
from tests.actors.stage import (
    configure,
    declared,
    edit,
    edit_record,
    in_world,
    incident,
    letters,
    link,
    record,
    restart,
    sync_status,
)
from tests.simulation.runner import simulate
from tests.simulation.world import World

AUTOCLOSE_DAYS = 0.0005  # the job runs at the first look after it is switched on, and closes what is 43 s old


async def at_rest(world: World, *, pause_s: float = 70.0) -> None:
    """Nothing is written in a quiet minute, a reconcile included, nor in the one after it."""
    before = world.writes()
    await trio.sleep(pause_s)
    await world.reconcile()
    await trio.sleep(pause_s)
    assert world.writes() == before


async def closed_there(world: World, state: str = "7") -> str:
    """An incident whose record an administrator has closed or cancelled."""
    incident_id = await declared(world)
    close = {"close_code": "Solution provided", "close_notes": "done"}
    world.instance.edit_as("admin", link(world, incident_id).external_id, {"state": state, **close})
    await trio.sleep(10)
    assert incident(world, incident_id).status == ("closed" if state == "7" else "canceled")
    return incident_id


@pytest.mark.parametrize("state", ["7", "8"])
@pytest.mark.parametrize("mode", ["refuse", "ignore"])
def test_a_late_edit_parks_its_link_with_the_reason_and_is_written_when_the_record_is_open_again(
    mode: str, state: str
) -> None:
    async def story(world: World) -> None:
        world.instance.set_switch("closed_write", mode)
        incident_id = await closed_there(world, state)
        await edit(world, incident_id, title="too late", description="and this")
        await trio.sleep(10)
        parked = link(world, incident_id)
        assert (parked.state, letters(world)) == ("parked", [])
        assert f"{parked.external_number} is closed in ServiceNow and takes no edits" in parked.reason
        status = await sync_status(world)
        assert (status["state"], status["links"]) == ("healthy", {"total": 1, "active": 0, "pending": 0, "parked": 1})
        assert "1 link parked" in str(status["reasons"])
        await at_rest(world)
        world.instance.edit_as("admin", parked.external_id, {"state": "2"})
        await trio.sleep(10)
        assert record(world, incident_id)["short_description"] == "too late"
        assert record(world, incident_id)["description"] == "and this"
        assert (link(world, incident_id).state, incident(world, incident_id).status) == ("active", "open")
        assert (await sync_status(world))["reasons"] == []
        await at_rest(world)

    simulate(lambda rng: lambda: World(rng).run(story), 3)


@in_world()
async def test_a_parked_link_costs_one_write_for_each_new_edit_and_none_for_a_start(world: World) -> None:
    incident_id = await closed_there(world)
    for number in range(3):
        before = world.writes()
        await edit(world, incident_id, title=f"late {number}")
        await trio.sleep(10)
        assert world.writes() == before + 1
        assert link(world, incident_id).state == "parked"
    await restart(world, 5)
    await at_rest(world)


@in_world()
async def test_another_policy_or_account_tries_a_parked_link_again(world: World) -> None:
    incident_id = await closed_there(world)
    await edit(world, incident_id, title="late")
    await trio.sleep(10)
    world.instance.set_switch("closed_write", "allow")
    await at_rest(world)  # nobody tells us
    await configure(world, rate_limit=9)
    await trio.sleep(10)
    assert (record(world, incident_id)["short_description"], record(world, incident_id)["state"]) == ("late", "7")
    assert link(world, incident_id).state == "active"


@in_world(closed_policy="note")
async def test_under_the_policy_note_a_late_edit_is_told_in_a_note_and_is_then_settled(world: World) -> None:
    world.instance.set_switch("closed_notes", "allow")
    incident_id = await closed_there(world)
    await edit(world, incident_id, title="too late")
    await trio.sleep(10)
    (note,) = world.instance.notes(link(world, incident_id).external_id)
    assert note["value"] == (
        "syncd:\nEdited after this record was closed, which takes no edits:\ntitle is now 'too late' (by anonymous)"
    )
    assert (link(world, incident_id).state, letters(world)) == ("active", [])
    assert incident(world, incident_id).title == "too late"
    await at_rest(world)
    await edit(world, incident_id, title="later", severity="SEV-1")  # each of them is a group of its own
    await trio.sleep(10)
    assert len(world.instance.notes(link(world, incident_id).external_id)) == 3
    await at_rest(world)


@in_world(closed_policy="note")
async def test_a_closed_record_that_takes_no_notes_either_leaves_a_dead_letter(world: World) -> None:
    incident_id = await closed_there(world)
    await edit(world, incident_id, title="too late")
    await trio.sleep(10)
    (letter,) = letters(world)
    assert (letter.operation, letter.error.status) == ("note", 403)
    await at_rest(world)


@in_world(closed_policy="reopen")
async def test_under_the_policy_reopen_a_late_edit_opens_both_sides_where_that_is_allowed(world: World) -> None:
    world.instance.set_switch("closed_write", "allow")
    incident_id = await closed_there(world)
    await edit(world, incident_id, title="not over")
    await trio.sleep(10)
    shown = record(world, incident_id)
    assert (shown["short_description"], shown["state"]) == ("not over", "2")
    assert incident(world, incident_id).status == "open"
    assert letters(world) == []
    await at_rest(world)


@pytest.mark.parametrize("mode", ["refuse", "ignore"])
def test_a_record_that_cannot_be_reopened_is_parked_instead(mode: str) -> None:
    async def story(world: World) -> None:
        world.instance.set_switch("closed_write", mode)
        incident_id = await closed_there(world)
        await edit(world, incident_id, title="not over")
        await trio.sleep(10)
        parked = link(world, incident_id)
        assert (parked.state, letters(world)) == ("parked", [])
        assert "cannot be reopened" in parked.reason
        await at_rest(world)

    simulate(lambda rng: lambda: World(rng, {"closed_policy": "reopen"}).run(story), 3)


@pytest.mark.parametrize("mode", ["refuse", "ignore"])
@pytest.mark.parametrize("before", ["open", "resolved"])
def test_an_account_that_may_not_close_resolves_and_leaves_the_rest_to_auto_close(mode: str, before: str) -> None:
    async def story(world: World) -> None:
        world.instance.set_switch("close_by_api", mode)
        incident_id = await declared(world)
        if before != "open":
            await edit(world, incident_id, status=before)
            await trio.sleep(10)
        await edit(world, incident_id, status="closed")
        await trio.sleep(10)
        assert (record(world, incident_id)["state"], incident(world, incident_id).status) == ("6", "closed")
        assert (letters(world), link(world, incident_id).state) == ([], "active")
        status = await sync_status(world)
        assert status["state"] == "healthy"
        assert "1 incident closed here and Resolved in ServiceNow" in str(status["reasons"])
        await at_rest(world)
        other = await declared(world, "The next one")  # it is known by now
        writes = world.writes()
        await edit(world, other, status="closed", title="The next one, closed")
        await trio.sleep(10)
        assert world.writes() == writes + 1
        assert record(world, other)["state"] == "6"
        await trio.sleep(60)
        world.instance.set_switch("autoclose_days", AUTOCLOSE_DAYS)
        world.instance.settle()  # the job that closes runs when somebody looks
        await trio.sleep(10)
        assert record(world, incident_id)["state"] == "7"
        assert incident(world, incident_id).status == "closed"
        assert (await sync_status(world))["reasons"] == []
        await at_rest(world)

    simulate(lambda rng: lambda: World(rng).run(story), 3)


@in_world()
async def test_what_was_left_to_auto_close_follows_either_side_that_reopens_it(world: World) -> None:
    world.instance.set_switch("close_by_api", "refuse")
    names = [await declared(world, title) for title in ("by an agent", "by us")]
    for name in names:
        await edit(world, name, status="closed")
    await trio.sleep(10)
    edit_record(world, names[0], state="2")
    await edit(world, names[1], status="open")
    await trio.sleep(10)
    assert [incident(world, name).status for name in names] == ["open", "open"]
    assert [record(world, name)["state"] for name in names] == ["2", "2"]
    await at_rest(world)


@in_world()
async def test_an_account_that_may_write_nothing_is_not_taken_for_one_that_may_not_close(world: World) -> None:
    incident_id = await declared(world)
    world.instance.account("svc.sync").write_denied.add(("incident", "state"))
    await edit(world, incident_id, status="closed")
    await trio.sleep(10)
    (letter,) = letters(world)
    assert (letter.fields, letter.error.kind) == (("status",), "not-kept")
    assert world.state.integrations[world.integration_id].may_close
    await at_rest(world)


@pytest.mark.parametrize("measured", ["resolved_at", "last_update"])
def test_auto_close_comes_in_as_closed_and_is_not_written_back(measured: str) -> None:
    async def story(world: World) -> None:
        world.instance.set_switch("autoclose_from", measured)
        incident_id = await declared(world)
        await edit(world, incident_id, status="resolved")
        await trio.sleep(10)
        writes = world.writes()
        await trio.sleep(60)
        world.instance.set_switch("autoclose_days", AUTOCLOSE_DAYS)
        world.instance.settle()  # the job that closes runs when somebody looks
        await trio.sleep(10)
        assert record(world, incident_id)["state"] == "7"
        assert incident(world, incident_id).status == "closed"
        assert world.writes() == writes
        await at_rest(world)

    simulate(lambda rng: lambda: World(rng).run(story), 3)


@in_world()
async def test_cancelling_takes_the_close_data_along(world: World) -> None:
    policy: Any = DataPolicy(("8",), ("close_code", "close_notes"))
    world.instance.rulebook.policies.append(policy)
    incident_id = await declared(world)
    await edit(world, incident_id, status="canceled", resolution_code="Duplicate", resolution_notes="see INC-1")
    await trio.sleep(10)
    shown = record(world, incident_id)
    assert (shown["state"], shown["close_code"], shown["close_notes"]) == ("8", "Duplicate", "see INC-1")
    assert letters(world) == []
    await at_rest(world)
