"""A record that is not shown any more: its link is parked after two looks, and freed by the first that shows it."""

from collections.abc import Collection
from typing import cast

import pytest
import trio

from syncd.actors.survey import Survey
from tests.actors.stage import (
    AGENT,
    INTEGRATIONS,
    ask,
    asked,
    declare,
    declared,
    edit,
    in_world,
    incident,
    lines,
    link,
    reconciled,
    record,
    restart,
    sync_status,
)
from tests.simulation.world import URL, WEBHOOK_SECRET, World


async def reasons(world: World) -> str:
    """Why the integration is not healthy."""
    return " ".join((await sync_status(world))["reasons"])  # type: ignore[arg-type]


async def waits(world: World) -> dict[str, object]:
    """The queue as sync-status tells it."""
    return cast("dict[str, object]", (await sync_status(world))["queue"])


@in_world()
async def test_a_deleted_record_is_parked_and_told_and_never_taken_for_an_edit(world: World) -> None:
    kept, gone = await declared(world, "kept"), await declared(world, "gone")
    world.instance.delete_as("admin", link(world, gone).external_id)  # its rule tells us
    await trio.sleep(30)
    assert link(world, gone).state == "parked"
    assert "does not show the record" in link(world, gone).reason
    status = await sync_status(world)
    assert status["state"] == "degraded"
    assert "1 linked record is not shown" in await reasons(world)
    await edit(world, kept, title="still synced")
    await trio.sleep(5)
    assert incident(world, gone).status == "open"
    assert [row["short_description"] for row in world.instance.incidents()] == ["still synced"]


@in_world()
async def test_a_hint_that_says_deleted_looks_twice(world: World) -> None:
    incident_id = await declared(world)
    await declared(world, "kept")
    sys_id = link(world, incident_id).external_id
    before = trio.current_time()
    world.instance.delete_as("admin", sys_id)
    await trio.sleep(30)
    looks = [one for one in lines(world.instance, "GET", since_s=before) if sys_id in one.target]
    assert len(looks) == 2
    assert link(world, incident_id).state == "parked"


@in_world()
async def test_the_start_looks_twice_half_a_minute_apart(world: World) -> None:
    gone = await declared(world)
    await declared(world, "kept")
    sys_id = link(world, gone).external_id
    world.instance.set_webhook("", "")
    await restart(world, 5, lambda: world.instance.delete_as("admin", sys_id))
    await trio.sleep(20)
    assert link(world, gone).state == "active"
    await trio.sleep(20)
    assert link(world, gone).state == "parked"


@in_world()
async def test_a_hidden_record_is_freed_by_itself_when_it_is_shown_again_and_nothing_was_lost(world: World) -> None:
    hidden = await declared(world)
    await declared(world, "kept")
    account, sys_id = world.instance.account("svc.sync"), link(world, hidden).external_id
    account.hidden["incident"] = f"sys_id={sys_id}"
    await world.reconcile()
    assert link(world, hidden).state == "parked"
    await edit(world, hidden, title="edited here meanwhile")
    await trio.sleep(60)
    assert link(world, hidden).state == "parked"  # looked at, in vain
    world.instance.edit_as(AGENT, sys_id, {"description": "edited there meanwhile"})
    account.hidden.clear()
    await trio.sleep(320)
    assert link(world, hidden).state == "active"
    assert incident(world, hidden).description == "edited there meanwhile"
    assert record(world, hidden)["short_description"] == "edited here meanwhile"
    assert (await sync_status(world))["state"] == "healthy"


@in_world()
async def test_an_edit_of_an_incident_whose_record_is_gone_ends_in_a_parked_link_and_no_storm(world: World) -> None:
    gone = await declared(world)
    world.instance.set_webhook("", "")
    world.instance.delete_as("admin", link(world, gone).external_id)
    await edit(world, gone, title="late")
    await trio.sleep(60)
    assert link(world, gone).state == "parked"
    began = trio.current_time()
    await trio.sleep(600)
    assert len(lines(world.instance, "GET", since_s=began)) <= 3


@in_world()
async def test_a_missing_record_that_is_unlinked_is_missed_no_longer(world: World) -> None:
    gone = await declared(world, "gone")
    await declared(world, "kept")
    world.instance.delete_as("admin", link(world, gone).external_id)
    await trio.sleep(30)
    assert (await sync_status(world))["state"] == "degraded"
    await ask(world, "DELETE", f"{INTEGRATIONS}/{world.integration_id}/links/{gone}", status=204)
    assert (await sync_status(world))["state"] == "healthy"


@in_world()
async def test_a_parked_link_says_so_in_the_list_and_in_explain(world: World) -> None:
    gone = await declared(world, "gone")
    await declared(world, "kept")
    world.instance.delete_as("admin", link(world, gone).external_id)
    await trio.sleep(30)
    shown = await ask(world, "GET", f"{INTEGRATIONS}/{world.integration_id}/links")
    assert isinstance(shown, list)
    assert [one["state"] for one in shown] == ["parked", "active"]
    assert f"im integration unlink {world.settings.handle} {gone}" in shown[0]["reason"]
    told = await asked(world, "GET", f"/api/v1/incidents/{gone}/explain")
    assert "parked" in str(told)


@in_world()
async def test_what_waits_for_a_record_that_is_not_shown_is_no_backlog(world: World) -> None:
    gone = await declared(world)
    await declared(world, "kept")
    world.instance.delete_as("admin", link(world, gone).external_id)
    await trio.sleep(60)
    await edit(world, gone, title="late")
    await ask(world, "POST", f"/api/v1/incidents/{gone}/notes", {"text": "late"}, status=201)
    await trio.sleep(2 * 3600)
    queue = await waits(world)
    assert (queue["outbox"], queue["oldest_age_s"], queue["clears_in_s"], queue["stalled"]) == (0, None, None, 1)
    assert "1 linked record is not shown" in await reasons(world)


@in_world()
async def test_edits_to_more_missing_records_than_are_parked_are_told_and_no_backlog(world: World) -> None:
    names = [await declared(world, f"no {number}") for number in range(14)]
    world.instance.set_webhook("", "")
    for name in names:
        world.instance.delete_as("admin", link(world, name).external_id)
        await edit(world, name, title="late")
    await trio.sleep(3600)
    left = sum(link(world, name).state == "active" for name in names)
    assert left > 0  # so many are parked at most
    queue = await waits(world)
    assert (queue["outbox"], queue["oldest_age_s"], queue["clears_in_s"], queue["stalled"]) == (0, None, None, left)
    assert f"{left} linked records are not shown by ServiceNow and not parked" in await reasons(world)


@in_world()
async def test_more_records_are_gone_than_may_be_parked_at_once_and_force_parks_them_all(world: World) -> None:
    names = await many(world, 14)
    for name in names[:11]:
        world.instance.delete_as("admin", link(world, name).external_id)
    stopped = await reconciled(world, auto_heal=True)
    assert stopped["status"] == "stopped"
    forced = await reconciled(world, auto_heal=True, force=True)
    assert forced["status"] == "finished"
    assert {one["healed"] for one in forced["drifts"]} == {True}  # type: ignore[attr-defined]
    assert [link(world, name).state for name in names] == ["parked"] * 11 + ["active"] * 3


@in_world()
async def test_one_record_that_is_gone_at_each_run_is_parked_each_time(world: World) -> None:
    names = await many(world, 14)
    for name in names[:12]:
        world.instance.delete_as("admin", link(world, name).external_id)
        assert [one["healed"] for one in (await reconciled(world, auto_heal=True))["drifts"]] == [True]  # type: ignore[attr-defined]
        assert link(world, name).state == "parked"


@in_world()
async def test_a_record_that_is_shown_while_a_run_goes_on_is_not_parked(world: World) -> None:
    hidden = (await many(world, 3))[0]
    account, sys_id = world.instance.account("svc.sync"), link(world, hidden).external_id
    world.instance.set_webhook(f"{URL}/api/v1/webhooks/{world.integration_id}", WEBHOOK_SECRET)
    account.hidden["incident"] = f"sys_id={sys_id}"
    second_pass = Survey.second_pass

    async def slow(self: Survey, odd: Collection[str], *, heals: bool, forced: bool) -> None:
        await second_pass(self, odd, heals=heals, forced=forced)
        account.hidden.clear()
        world.instance.edit_as(AGENT, sys_id, {"short_description": "shown and edited"})
        await trio.sleep(10)
        assert incident(world, hidden).title == "shown and edited"

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Survey, "second_pass", slow)
        await reconciled(world, auto_heal=True)
    assert link(world, hidden).state == "active"


async def many(world: World, count: int) -> list[str]:
    """So many linked incidents, of whose records no webhook tells."""
    names = [await declare(world, f"incident {number}") for number in range(count)]
    await trio.sleep(60)
    world.instance.set_webhook("", "")
    return names
