"""Imports: existing records come in once each, over crashes and faults, and nothing that was not asked for does."""

import pytest
import trio

from syncd.core import hints
from syncd.core.events import Event
from syncd.core.model import Integration, Observation
from syncd.core.sending import Offset
from tests.actors.stage import (
    AGENT,
    INTEGRATIONS,
    ask,
    asked,
    configure,
    create_record,
    declared,
    edit_record,
    in_world,
    incident,
    incident_of,
    link,
    restart,
    second_integration,
)
from tests.simulation.world import ACCOUNT, World

ALL = "short_descriptionSTARTSWITHold"


def path(world: World) -> str:
    return f"{INTEGRATIONS}/{world.integration_id}/import"


async def bring_in(world: World, query: str = ALL, *, dry_run: bool = False, status: int = 200) -> dict[str, object]:
    """An import; returns when it is over."""
    body = {"query": query, "dry_run": dry_run}
    answer = await asked(world, "POST", path(world), body, status=status if dry_run or status != 200 else 202)
    while answer.get("status") == "running":
        await trio.sleep(1)
        answer = await asked(world, "GET", path(world))
    return answer


def counts(answer: dict[str, object]) -> dict[str, int]:
    found = answer["counts"]
    assert isinstance(found, dict)
    return {name: count for name, count in found.items() if count}


async def with_old_records(world: World, number: int, **columns: object) -> list[str]:
    """Records that were there before the integration was enabled, ever."""
    made = [create_record(world, f"old {one}", **columns) for one in range(number)]
    await trio.sleep(10)
    await configure(world, enabled=True)
    await trio.sleep(5)
    assert not world.state.incidents
    return made


def check_each_once(world: World, made: list[str]) -> None:
    assert sorted(incident_of(world, sys_id) for sys_id in made) == sorted(world.state.incidents)
    assert len(world.state.incidents) == len(made)


@in_world(enabled=False, rate_limit=100)
async def test_more_than_a_thousand_old_records_come_in_once_each_with_their_notes_over_kills_and_faults(
    world: World,
) -> None:
    made = [create_record(world, f"old {one}") for one in range(1100)]
    for sys_id in made[::100]:
        world.instance.note_as(AGENT, sys_id, f"a word about {sys_id}")
    made += await with_old_records(world, 0)
    world.instance.arm("error_500", probability=0.1)
    world.instance.arm("truncated_200", probability=0.1)
    world.instance.set_switch("request_ms", 200)
    await ask(world, "POST", path(world), {"query": ALL}, status=202)
    for _ in range(5):
        await trio.sleep(2.3)
        await restart(world)
    seen_before = len(world.state.incidents)
    assert 0 < seen_before < 1100
    answer = await bring_in(world)
    assert (answer["status"], answer["checked"], answer["total"]) == ("finished", 1100, 1100)
    assert counts(answer) == {"imported": 1100}
    check_each_once(world, made)
    for sys_id in made[::100]:
        assert [one.text for one in world.state.notes[incident_of(world, sys_id)]] == [f"a word about {sys_id}"]
    world.instance.disarm()
    again = await bring_in(world)
    assert counts(again) == {"linked": 1100}
    assert again["id"] != answer["id"]
    check_each_once(world, made)
    await trio.sleep(30)
    assert world.writes() == 0
    edit_record(world, incident_of(world, made[7]), short_description="old, and lives on")
    await trio.sleep(5)
    assert incident(world, incident_of(world, made[7])).title == "old, and lives on"


@in_world(enabled=False)
async def test_a_dry_run_says_what_would_come_in_and_changes_nothing(world: World) -> None:
    await with_old_records(world, 30)
    before = world.state.position
    answer = await bring_in(world, dry_run=True)
    assert (answer["status"], answer["dry_run"], counts(answer)) == ("finished", True, {"imported": 30})
    coming = answer["coming"]
    assert isinstance(coming, list)
    assert len(coming) == 20
    shown = {one["external_id"]: (one["external_number"], one["title"], one["incident_id"]) for one in coming}
    rows = {row["sys_id"]: row for row in world.instance.incidents()}
    assert shown == {name: (rows[name]["number"], rows[name]["short_description"], None) for name in shown}
    assert {(one["severity"], one["status"]) for one in coming} == {("SEV-3", "open")}
    assert world.state.position == before
    assert await ask(world, "GET", path(world), status=404)


@in_world()
async def test_a_dry_run_while_the_instance_is_left_alone_says_so_at_once(world: World) -> None:
    world.instance.account(ACCOUNT).password = "another password now"
    await ask(world, "POST", "/api/v1/incidents", {"title": "in vain", "severity": "SEV-3"}, status=201)
    await trio.sleep(10)
    begun = trio.current_time()
    answer = await bring_in(world, dry_run=True, status=503)
    assert trio.current_time() - begun < 1
    assert "not authenticated" in str(answer["detail"])
    world.instance.account(ACCOUNT).password = "sync-secret"
    await configure(world, credentials={"username": ACCOUNT, "password": "sync-secret"})
    await trio.sleep(5)
    assert (await bring_in(world, dry_run=True))["status"] == "finished"


@in_world(create_platform=False)
async def test_what_stays_as_it_is_is_counted_and_named_with_the_reason(world: World) -> None:
    own = await declared(world, "old, made here")
    parted = await declared(world, "old, unlinked")
    parted_id = link(world, parted).external_id
    world.instance.edit_as("admin", parted_id, {"correlation_id": ""})
    await trio.sleep(5)
    await ask(world, "DELETE", f"{INTEGRATIONS}/{world.integration_id}/links/{parted}", status=204)
    copy = str(world.instance.copy_as(AGENT, link(world, own).external_id, has_correlation=True)["sys_id"])
    await trio.sleep(5)
    for dry_run in (True, False):
        answer = await bring_in(world, dry_run=dry_run)
        assert counts(answer) == {"linked": 1, "unlinked": 1, "ours": 1}
        left = answer["left"]
        assert isinstance(left, list)
        why = {one["external_id"]: one["why"] for one in left}
        assert "im integration link" in why[parted_id]
        assert "correlation id" in why[copy]
    assert incident_of(world, parted_id) == incident_of(world, copy) == ""


@in_world(create_platform=False)
async def test_a_record_of_an_incident_that_lacks_one_is_adopted_by_it(world: World) -> None:
    world.instance.arm("create_commits_then_500", times=1)
    world.instance.on_request.append(lambda one: one.method == "POST" and world.instance.arm("error_500"))  # type: ignore[arg-type]
    body = {"title": "old, and made without an answer", "severity": "SEV-3"}
    made = await asked(world, "POST", "/api/v1/incidents", body, status=201)
    await trio.sleep(5)
    (row,) = world.instance.incidents()
    assert incident_of(world, row["sys_id"]) == ""
    world.instance.disarm()
    answer = await bring_in(world)
    assert set(counts(answer)) <= {"adopted", "linked"}
    assert incident_of(world, row["sys_id"]) == made["id"]
    assert len(world.state.incidents) == len(world.instance.incidents()) == 1


@in_world(create_platform=False)
async def test_what_another_integration_has_is_left_to_it(world: World) -> None:
    beside = await second_integration(world, create_external=False)
    await trio.sleep(5)
    sys_id = create_record(world, "old, through the other")
    await trio.sleep(10)
    assert incident_of(world, sys_id, beside)
    assert counts(await bring_in(world))["elsewhere"] == 1
    assert incident_of(world, sys_id) == ""


@in_world(enabled=False)
async def test_a_query_that_servicenow_ignores_brings_nothing_in(world: World) -> None:
    await with_old_records(world, 60)
    unknown = await bring_in(world, "u_no_such=7")
    assert unknown["status"] == "stopped"
    assert "does not show the column u_no_such" in str(unknown["reason"])
    world.instance.account(ACCOUNT).match_denied.add(("incident", "priority"))
    widened = await bring_in(world, "priority=1")
    assert widened["status"] == "stopped"
    assert "does not match priority=1" in str(widened["reason"])
    world.instance.account(ACCOUNT).match_denied.clear()
    world.instance.account(ACCOUNT).read_denied.add(("incident", "priority"))
    hidden = await bring_in(world, "priority=3", dry_run=True)
    assert "does not show the column priority" in str(hidden["reason"])
    assert not world.state.incidents


@in_world(enabled=False)
async def test_a_query_that_cannot_be_checked_is_refused_with_the_way_out(world: World) -> None:
    await with_old_records(world, 1)
    world.instance.reset_counts()
    for query in ("", "opened_atRELATIVEGT@day@ago@1", "active=true^NQstate=2", "ORDERBYnumber", "a=javascript:x"):
        refused = await ask(world, "POST", path(world), {"query": query}, status=422)
        assert "'path': 'query'" in str(refused)
    assert not world.instance.requests


@in_world(enabled=False)
async def test_an_import_is_stopped_and_goes_on_where_it_was_and_another_query_must_wait(world: World) -> None:
    made = await with_old_records(world, 450)
    world.instance.set_switch("request_ms", 2000)
    await ask(world, "POST", path(world), {"query": ALL}, status=202)
    await trio.sleep(20)
    refused = await asked(world, "POST", path(world), {"query": "active=true"}, status=409)
    assert "is under way" in str(refused["detail"])
    stopped = await asked(world, "POST", f"{path(world)}/stop", {})
    assert stopped["status"] == "stopped"
    checked = stopped["checked"]
    await trio.sleep(20)
    assert (await asked(world, "GET", path(world)))["checked"] == checked == 200
    answer = await bring_in(world)
    assert (answer["id"], answer["status"], counts(answer)) == (stopped["id"], "finished", {"imported": 450})
    check_each_once(world, made)


@in_world(enabled=False, rate_limit=5, max_concurrency=1)
async def test_an_import_yields_to_live_traffic(world: World) -> None:
    await with_old_records(world, 1000)
    names = [await declared(world, f"live {number}") for number in range(3)]
    world.instance.set_switch("request_ms", 500)
    await ask(world, "POST", path(world), {"query": ALL}, status=202)
    await trio.sleep(1)
    for name in names:
        edit_record(world, name, description="seen in time")
    await trio.sleep(5)
    assert all(incident(world, name).description == "seen in time" for name in names)
    assert len(world.state.incidents) < 1003


@in_world(enabled=False, sync_direction="outbound")
async def test_where_nothing_may_come_in_an_import_is_refused(world: World) -> None:
    await configure(world, enabled=True)
    await trio.sleep(3)
    refused = await asked(world, "POST", path(world), {"query": ALL}, status=409)
    assert "--direction bidirectional" in str(refused["hint"])


@in_world(import_query="priority=1")
async def test_new_records_whose_query_is_ignored_stay_out_and_the_status_says_why(world: World) -> None:
    await trio.sleep(3)
    world.instance.account(ACCOUNT).match_denied.add(("incident", "priority"))
    sys_id = create_record(world, "not wanted")
    incident_id = await declared(world, "flows on")
    edit_record(world, incident_id, description="while the other waits")
    await trio.sleep(5)
    assert incident_of(world, sys_id) == ""
    assert incident(world, incident_id).description == "while the other waits"
    status = await asked(world, "GET", f"{INTEGRATIONS}/{world.integration_id}/sync-status")
    assert "does not match priority=1" in str(status["last_errors"])


@in_world(enabled=False)
async def test_a_record_that_crashes_us_is_passed_over_and_the_others_become_incidents_of_their_own(
    world: World,
) -> None:
    made = [create_record(world, f"old {number}") for number in range(5)]
    bad = create_record(world, "old poison")
    await with_old_records(world, 0)
    sound = hints.bring_in

    def buggy(integration: Integration, seen: Observation, incident_id: str, offset: Offset) -> list[Event]:
        if seen.external_id == bad:
            raise LookupError("a case nobody thought of")
        return sound(integration, seen, incident_id, offset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hints, "bring_in", buggy)
        answer = await bring_in(world)
    assert (answer["status"], counts(answer)) == ("finished", {"imported": 5, "failed": 1})
    check_each_once(world, made)
    assert sorted(one.title for one in world.state.incidents.values()) == [f"old {number}" for number in range(5)]
    assert counts(await bring_in(world)) == {"linked": 5, "imported": 1}


@in_world(enabled=False)
async def test_an_import_whose_direction_turns_outbound_stops_and_says_so(world: World) -> None:
    made = await with_old_records(world, 450)
    world.instance.set_switch("request_ms", 2000)
    await ask(world, "POST", path(world), {"query": ALL}, status=202)
    await trio.sleep(20)
    await configure(world, sync_direction="outbound")
    await trio.sleep(60)
    stopped = await asked(world, "GET", path(world))
    assert stopped["status"] == "stopped"
    assert "direction" in str(stopped["reason"])
    assert counts(stopped).keys() <= {"imported"}
    world.instance.set_switch("request_ms", 0)
    await configure(world, sync_direction="bidirectional")
    await trio.sleep(3)
    answer = await bring_in(world)
    assert (answer["id"], counts(answer)) == (stopped["id"], {"imported": 450})
    check_each_once(world, made)
