"""Assignee and group, which move together: what becomes of somebody whom ServiceNow does not take in this group."""

from random import Random
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from syncd.actors import people
from syncd.actors.breaker import Breaker
from syncd.actors.ports import External
from syncd.core.groups import Group
from syncd.simulator.fixtures import GROUPS
from syncd.simulator.instance import RequestLine
from syncd.simulator.rules import DataPolicy
from tests.actors.stage import (
    ask,
    create_record,
    declared,
    edit,
    edit_record,
    in_world,
    incident,
    incident_of,
    letters,
    lines,
    record,
    restart,
)
from tests.actors.test_people import user, who
from tests.actors.test_readback import quiet
from tests.simulation.world import World

NETWORK, SOFTWARE, DATABASE, HARDWARE = (GROUPS[name][0] for name in ("Network", "Software", "Database", "Hardware"))


def member_look_ups(world: World) -> list[RequestLine]:
    return [line for line in lines(world.instance, "GET") if "/sys_user_grmember?" in line.target]


async def grouped(world: World, group: str) -> str:
    """An incident whose record is in this group, where only members are taken."""
    incident_id = await declared(world)
    edit_record(world, incident_id, assignment_group=group)
    await trio.sleep(5)
    world.instance.set_switch("outside_assignee", "refuse")
    return incident_id


@in_world()
async def test_whom_the_records_group_does_not_take_takes_his_only_group_along(world: World) -> None:
    incident_id = await grouped(world, SOFTWARE)
    await edit(world, incident_id, assigned_to="ops.night", title="Checkout is down")
    await trio.sleep(5)
    row = record(world, incident_id)
    assert (who(world, incident_id), row["assignment_group"]) == ("ops.night", NETWORK)
    assert row["short_description"] == "Checkout is down"
    assert letters(world) == []
    assert len(member_look_ups(world)) == 1
    told = cast(
        "list[dict[str, dict[str, object]]]", await ask(world, "GET", f"/api/v1/incidents/{incident_id}/timeline")
    )
    moves = [(one["data"].get("assignment_group"), one["data"].get("assignment_group_before")) for one in told]
    assert ("Network", SOFTWARE) in moves, "the group that it had is told as well"
    assert ["assigned_to", "assignment_group"] in [one["data"].get("columns") for one in told]
    await quiet(world)


@in_world()
async def test_nobody_is_moved_to_a_group_while_the_record_takes_him_as_it_is(world: World) -> None:
    incident_id = await declared(world)
    edit_record(world, incident_id, assignment_group=SOFTWARE)
    await trio.sleep(5)
    await edit(world, incident_id, assigned_to="ops.night")
    await trio.sleep(5)
    assert (who(world, incident_id), record(world, incident_id)["assignment_group"]) == ("ops.night", SOFTWARE)
    assert member_look_ups(world) == []


@in_world()
async def test_of_several_groups_none_is_chosen_and_the_letter_names_them_until_one_of_them_has_the_record(
    world: World,
) -> None:
    incident_id = await grouped(world, SOFTWARE)
    await edit(world, incident_id, assigned_to="david.loo")
    await trio.sleep(5)
    (letter,) = letters(world)
    assert (letter.fields, letter.error.kind) == (("assigned_to",), "refused")
    assert "Assignee must be in the group" in letter.error.detail
    words = "'david.loo' is not in the record's assignment group; 'david.loo' is in 'Database', 'Service Desk'"
    assert letter.remedy.startswith(words)
    assert f"im incident update {incident_id} --assigned-to" in letter.remedy
    assert (who(world, incident_id), record(world, incident_id)["assignment_group"]) == ("", SOFTWARE)
    explained = cast(
        "dict[str, list[dict[str, object]]]",
        await ask(world, "GET", f"/api/v1/incidents/{incident_id}/explain?field=assigned_to"),
    )
    assert explained["fields"][0]["standing"] == "dead-letter"
    assert str(explained["fields"][0]["way_out"]).startswith(words)
    await quiet(world)
    edit_record(world, incident_id, assignment_group=DATABASE)  # which is no synced field
    await trio.sleep(5)
    assert who(world, incident_id) == "david.loo"
    assert letters(world) == []


@in_world()
async def test_where_memberships_are_hidden_nothing_is_guessed(world: World) -> None:
    incident_id = await grouped(world, SOFTWARE)
    world.instance.account("svc.sync").hidden["sys_user_grmember"] = "sys_idISNOTEMPTY"
    await edit(world, incident_id, assigned_to="ops.night")
    await trio.sleep(5)
    (letter,) = letters(world)
    assert "Assignee must be in the group" in letter.error.detail
    assert record(world, incident_id)["assignment_group"] == SOFTWARE


@in_world()
async def test_a_group_that_is_only_the_one_we_are_shown_moves_no_record(world: World) -> None:
    incident_id = await grouped(world, SOFTWARE)
    world.instance.account("svc.sync").hidden["sys_user_grmember"] = f"group!={DATABASE}"
    await edit(world, incident_id, assigned_to="david.loo")
    await trio.sleep(5)
    assert (who(world, incident_id), record(world, incident_id)["assignment_group"]) == ("", SOFTWARE)
    (letter,) = letters(world)
    assert "Assignee must be in the group" in letter.error.detail


@in_world()
async def test_a_mandatory_group_is_filled_with_the_only_one_of_the_assignee(world: World) -> None:
    incident_id = await declared(world)
    world.instance.rulebook.policies.append(DataPolicy(("1", "2"), ("assignment_group",)))
    await edit(world, incident_id, assigned_to="ops.day")
    await trio.sleep(5)
    assert (who(world, incident_id), record(world, incident_id)["assignment_group"]) == ("ops.day", NETWORK)


@in_world()
async def test_who_is_cleared_because_of_the_group_is_told_with_his_groups_and_not_sent_again(world: World) -> None:
    incident_id = await declared(world)
    edit_record(world, incident_id, assignment_group=SOFTWARE)
    await trio.sleep(5)
    world.instance.set_switch("outside_assignee", "blank")
    await edit(world, incident_id, assigned_to="ops.night")
    await trio.sleep(5)
    (letter,) = letters(world)
    assert (letter.fields, letter.error.kind) == (("assigned_to",), "not-kept")
    assert "'ops.night' is in 'Network'" in letter.remedy
    assert who(world, incident_id) == ""
    assert incident(world, incident_id).assigned_to == "ops.night", "the platform's value stays until somebody edits it"
    await quiet(world)


@in_world()
async def test_a_record_that_goes_to_another_group_there_clears_or_changes_the_assignee_here(world: World) -> None:
    world.instance.set_switch("outside_assignee", "blank")
    incident_id = await declared(world, assigned_to="ops.night")
    edit_record(world, incident_id, assignment_group=SOFTWARE)
    await trio.sleep(5)
    assert incident(world, incident_id).assigned_to is None
    edit_record(world, incident_id, assignment_group=DATABASE, assigned_to=user(world, "don.goodliffe")["sys_id"])
    await trio.sleep(5)
    assert incident(world, incident_id).assigned_to == "don.goodliffe@example.com"
    assert letters(world) == []
    await quiet(world)


@in_world()
async def test_whoever_is_assigned_instead_meanwhile_does_not_get_the_others_group(world: World) -> None:
    incident_id = await grouped(world, SOFTWARE)

    def instead(line: RequestLine) -> None:
        if "/sys_user_grmember?" in line.target:
            world._nursery.start_soon(lambda: edit(world, incident_id, assigned_to="don.goodliffe"))

    world.instance.on_request.append(instead)
    await edit(world, incident_id, assigned_to="ops.night")
    await trio.sleep(10)
    assert (who(world, incident_id), record(world, incident_id)["assignment_group"]) == ("don.goodliffe", SOFTWARE)
    assert letters(world) == []


@in_world()
async def test_a_reroute_whose_answer_is_lost_and_a_crash_before_it_end_the_same(world: World) -> None:
    first = await grouped(world, SOFTWARE)

    def lose_the_next_answer(line: RequestLine) -> None:
        if "/sys_user_grmember?" in line.target:
            world.instance.arm("patch_commits_then_reset", times=1)

    world.instance.on_request.append(lose_the_next_answer)
    await edit(world, first, assigned_to="ops.night")
    await trio.sleep(60)
    assert (who(world, first), record(world, first)["assignment_group"]) == ("ops.night", NETWORK)
    world.instance.on_request.remove(lose_the_next_answer)
    sys_id = create_record(world, assignment_group=SOFTWARE)
    await trio.sleep(5)
    second = incident_of(world, sys_id)
    await edit(world, second, assigned_to="ops.day")
    await trio.sleep(0.4)
    await restart(world)
    await trio.sleep(60)
    assert (who(world, second), record(world, second)["assignment_group"]) == ("ops.day", NETWORK)
    assert letters(world) == []


@in_world()
async def test_the_groups_of_one_person_are_asked_for_once_in_ten_minutes(world: World) -> None:
    ids = [await declared(world, f"incident {number}") for number in range(4)]
    for incident_id in ids:
        edit_record(world, incident_id, assignment_group=SOFTWARE)
    await trio.sleep(5)
    world.instance.set_switch("outside_assignee", "refuse")
    for incident_id in ids:
        await edit(world, incident_id, assigned_to="ops.night")
        await trio.sleep(5)
    assert len(member_look_ups(world)) == 1
    assert {record(world, one)["assignment_group"] for one in ids} == {NETWORK}


class Counting:
    """An instance that knows everybody's groups, and counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def groups_of(self, sys_id: str) -> tuple[Group, ...]:
        await trio.lowlevel.checkpoint()
        self.asked.append(sys_id)
        return (Group("g1", "Network"),)


async def test_groups_are_known_for_ten_minutes_and_those_of_so_many_people_at_most(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "GROUPS_KNOWN_MAX", 3)
    external = Counting()
    known = people.People(cast("External", external), Breaker(Random(1), 1))
    for name in ("a", "a", "b", "c", "d"):
        await known.groups_of(name)
    assert external.asked == ["a", "b", "c", "d"]
    await known.groups_of("d")
    await known.groups_of("a")
    assert external.asked[4:] == ["a"], "the first to come is the first to go"
    await trio.sleep(people.GROUPS_KNOWN_S)
    await known.groups_of("d")
    assert external.asked[5:] == ["d"]
