"""Polling: two-way sync with an instance that cannot call us."""

from urllib.parse import quote_plus

import trio

from syncd.systems.answers import stamp_text
from tests.actors.stage import (
    AGENT,
    ask,
    configure,
    create_record,
    declared,
    edit,
    edit_record,
    in_world,
    incident,
    incident_of,
    lines,
    link,
    record,
    restart,
    sync_status,
)
from tests.simulation.world import ACCOUNT, World

PROMISE_S = 5.0


def silence(world: World) -> None:
    """No business rule calls us any more."""
    world.instance.set_webhook("", "")


async def no_webhooks(world: World) -> None:
    """Neither now nor from what was under way."""
    silence(world)
    await trio.sleep(3)


def polls(world: World) -> list[float]:
    """When the records were polled, in virtual time."""
    return [one.at_s for one in lines(world.instance, "GET") if "ORDERBYsys_updated_on" in one.target]


@in_world(poll_interval="2s")
async def test_both_ways_keep_five_seconds_at_polls_of_two_without_any_webhook(world: World) -> None:
    await no_webhooks(world)
    incident_id = await declared(world)
    for number in range(5):
        edit_record(world, incident_id, short_description=f"there {number}", state="2")
        await trio.sleep(PROMISE_S)
        assert incident(world, incident_id).title == f"there {number}"
        await edit(world, incident_id, title=f"here {number}")
        await trio.sleep(PROMISE_S)
        assert record(world, incident_id)["short_description"] == f"here {number}"
    sys_id = create_record(world, "found by looking")
    world.instance.note_as(AGENT, link(world, incident_id).external_id, "a word from there")
    await trio.sleep(PROMISE_S)
    assert incident(world, incident_of(world, sys_id)).title == "found by looking"
    assert [note.text for note in world.state.notes[incident_id]] == ["a word from there"]
    assert not world.instance.webhooks()


@in_world(poll_interval="2s", rate_limit=50)
async def test_three_hundred_records_with_one_stamp_come_in_and_change_each_once(world: World) -> None:
    await no_webhooks(world)
    made = [create_record(world, f"bulk {number}") for number in range(300)]
    await trio.sleep(30)
    assert all(incident_of(world, sys_id) for sys_id in made)
    assert len(world.state.incidents) == 300
    for sys_id in made:
        world.instance.edit_as(AGENT, sys_id, {"description": "all at once"})
    await trio.sleep(30)
    assert all(one.description == "all at once" for one in world.state.incidents.values())


@in_world(poll_interval="2s")
async def test_what_commits_late_is_found_behind_the_watermark(world: World) -> None:
    await no_webhooks(world)
    early, late = await declared(world, "early"), await declared(world, "late")
    world.instance.set_switch("late_update_stamp", "start")
    world.instance.edit_as(AGENT, link(world, late).external_id, {"short_description": "slow rule"}, late_s=120)
    for number in range(12):
        edit_record(world, early, short_description=f"overtakes {number}")
        await trio.sleep(10)
    await trio.sleep(PROMISE_S)
    assert incident(world, late).title == "slow rule"


@in_world(poll_interval="2s", rate_limit=50)
async def test_many_changes_make_the_long_look_back_rarer_and_lose_no_late_one(world: World) -> None:
    await no_webhooks(world)
    late = await declared(world, "late")
    for number in range(900):
        create_record(world, f"bulk {number}")
    world.instance.edit_as(AGENT, link(world, late).external_id, {"short_description": "slow rule"}, late_s=30)
    await trio.sleep(45)
    world.instance.reset_counts()
    await trio.sleep(60)
    assert len(polls(world)) < 30 + 2 * 6  # one request a poll, and the five pages of a long look once or twice
    assert incident(world, late).title == "slow rule"


@in_world(poll_interval="2s")
async def test_a_note_that_moves_no_stamp_is_found_and_the_next_one_in_time(world: World) -> None:
    world.instance.set_switch("note_stamps", "off")
    await no_webhooks(world)
    incident_id = await declared(world)
    sys_id = link(world, incident_id).external_id
    world.instance.note_as(AGENT, sys_id, "first")
    await trio.sleep(40)
    assert [note.text for note in world.state.notes[incident_id]] == ["first"]
    world.instance.note_as(AGENT, sys_id, "second")
    await trio.sleep(PROMISE_S)
    assert [note.text for note in world.state.notes[incident_id]] == ["first", "second"]


@in_world(poll_interval="2s")
async def test_polls_go_on_behind_the_watermark_after_a_restart(world: World) -> None:
    await no_webhooks(world)
    incident_id = await declared(world)
    await trio.sleep(400)
    mark_s = world.state.integrations[world.integration_id].polled_upto_s
    assert mark_s is not None

    sys_id = link(world, incident_id).external_id
    world.instance.reset_counts()
    await restart(world, 600, lambda: world.instance.edit_as(AGENT, sys_id, {"short_description": "while down"}))
    assert world.state.integrations[world.integration_id].polled_upto_s == mark_s
    await trio.sleep(PROMISE_S)
    assert incident(world, incident_id).title == "while down"
    first = next(one for one in lines(world.instance, "GET") if "ORDERBYsys_updated_on" in one.target)
    assert f"sys_updated_on%3E%3D{quote_plus(stamp_text(mark_s - 300))}" in first.target


@in_world(poll_interval="2s")
async def test_a_restart_in_the_middle_of_a_walk_doubles_and_loses_nothing(world: World) -> None:
    await no_webhooks(world)
    made = [create_record(world, f"bulk {number}") for number in range(500)]
    for _ in range(4):
        await trio.sleep(1.1)
        await restart(world)
    await trio.sleep(60)
    assert sorted(incident_of(world, sys_id) for sys_id in made) == sorted(world.state.incidents)
    assert len(world.state.incidents) == 500


@in_world(poll_interval="2s")
async def test_a_rule_of_so_many_requests_an_hour_makes_polls_rarer_and_the_status_says_so(world: World) -> None:
    await no_webhooks(world)
    world.instance.arm("rate_limit", 100)
    await trio.sleep(80)
    world.instance.reset_counts()
    await trio.sleep(3600)
    assert 40 <= len(polls(world)) <= 51
    assert not [one for one in lines(world.instance, "GET") if one.status == 429]
    status = await sync_status(world)
    polling = status["polling"]
    assert isinstance(polling, dict)
    assert (polling["asked_interval_s"], polling["used_interval_s"]) == (2, 72)
    assert "100 requests an hour" in polling["reason"]
    assert "polled every 72 s instead of every 2 s" in str(status["reasons"])
    assert status["state"] == "healthy"


@in_world(poll_interval="1s", rate_limit=0.5)
async def test_our_own_rate_limit_makes_polls_rarer_too(world: World) -> None:
    await no_webhooks(world)
    polling = (await sync_status(world))["polling"]
    assert isinstance(polling, dict)
    assert (polling["used_interval_s"], polling["reason"]) == (
        4,
        "rate_limit allows 0.5 requests a second, of which polls take half at most",
    )


@in_world(poll_interval="2s")
async def test_a_quiet_poll_is_one_request_and_nothing_in_the_journal(world: World) -> None:
    await no_webhooks(world)
    await declared(world)
    await trio.sleep(120)
    before = world.state.position
    world.instance.reset_counts()
    await trio.sleep(60)
    assert world.state.position == before
    assert len(polls(world)) in {30, 31}
    assert world.instance.counts["GET"] <= 31 + 3  # notes are looked for twice a minute


@in_world(poll_interval="2s")
async def test_nothing_is_polled_while_it_is_disabled_or_has_no_direction_or_polls_are_off(world: World) -> None:
    await no_webhooks(world)
    for settings in ({"enabled": False}, {"enabled": True, "sync_direction": "none"}):
        await configure(world, **settings)
        await trio.sleep(3)
        world.instance.reset_counts()
        await trio.sleep(30)
        assert not world.instance.requests
    await configure(world, sync_direction="bidirectional", poll_interval="off")
    await trio.sleep(30)
    assert not polls(world)
    assert (await sync_status(world))["polling"] is None
    await configure(world, poll_interval="2s")
    await trio.sleep(30)
    assert polls(world)


@in_world(poll_interval="2s")
async def test_a_query_that_is_widened_moves_no_watermark_and_shows_in_the_status(world: World) -> None:
    await no_webhooks(world)
    incident_id = await declared(world)
    world.instance.account(ACCOUNT).range_denied.add(("incident", "sys_updated_on"))
    await trio.sleep(400)
    mark_s = world.state.integrations[world.integration_id].polled_upto_s
    status = await sync_status(world)
    assert "polls do not get through" in str(status["reasons"])
    world.instance.account(ACCOUNT).range_denied.clear()
    edit_record(world, incident_id, short_description="seen again")
    await trio.sleep(20)
    assert incident(world, incident_id).title == "seen again"
    assert world.state.integrations[world.integration_id].polled_upto_s >= (mark_s or 0)  # type: ignore[operator]


@in_world(poll_interval="2s")
async def test_a_stamp_in_the_future_takes_the_watermark_nowhere(world: World) -> None:
    await no_webhooks(world)
    strange, plain = await declared(world, "strange"), await declared(world, "plain")
    edit_record(world, strange, description="from 2099", sys_updated_on="2099-01-01 00:00:00")
    await trio.sleep(20)
    edit_record(world, plain, description="after that")
    await trio.sleep(PROMISE_S)
    assert incident(world, strange).description == "from 2099"
    assert incident(world, plain).description == "after that"


@in_world()
async def test_an_interval_is_a_duration_of_a_second_at_least_or_off(world: World) -> None:
    path = f"/api/v1/integrations/{world.integration_id}"
    for wrong in ("0.5s", "soon", 2):
        refused = await ask(world, "PATCH", path, {"poll_interval": wrong}, status=422)
        assert "poll_interval" in str(refused)
    assert isinstance(shown := await ask(world, "PATCH", path, {"poll_interval": "30s"}), dict)
    assert shown["poll_interval"] == "30s"


@in_world(poll_interval="2s")
async def test_what_changed_while_our_account_was_shown_nothing_is_found_behind_that(world: World) -> None:
    await no_webhooks(world)
    await declared(world)
    await trio.sleep(400)
    world.instance.account(ACCOUNT).hidden["incident"] = "sys_idISNOTEMPTY"
    await trio.sleep(60)
    sys_id = create_record(world, "made in the dark")
    await trio.sleep(1200)
    assert incident_of(world, sys_id) == ""
    world.instance.account(ACCOUNT).hidden.clear()
    await trio.sleep(PROMISE_S)
    assert incident(world, incident_of(world, sys_id)).title == "made in the dark"
