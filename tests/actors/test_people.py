"""Who is assigned, on both sides: taken over, found, not found, refused, renamed, and never cleared by accident."""

from random import Random
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from syncd.actors import people
from syncd.actors.breaker import Breaker
from syncd.actors.people import FOUND_KNOWN_S, MISSED_KNOWN_S, People
from syncd.actors.ports import External
from syncd.core.people import Person
from syncd.simulator.fixtures import GONE_USER_SYS_ID, GROUPS
from syncd.simulator.rules import AbortRule
from tests.actors.stage import (
    ask,
    asked,
    configure,
    create_record,
    declare,
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
    second_instance,
    sync_status,
)
from tests.simulation.world import World

SOFTWARE, _ = GROUPS["Software"]
HOUR_S = 3600.0


def user(world: World, user_name: str) -> dict[str, str]:
    row = world.instance.kernel.accounts.user_row(user_name)
    assert row is not None
    return row


def who(world: World, incident_id: str) -> str:
    """The user name of whom the record is assigned to; empty when nobody is."""
    sys_id = record(world, incident_id)["assigned_to"]
    rows = world.instance.kernel.store.find("sys_user", "sys_id", sys_id)
    return next((row["user_name"] for row in rows), sys_id)


def look_ups(world: World) -> int:
    return sum("/sys_user" in line.target for line in lines(world.instance, "GET"))


@in_world()
async def test_an_assignee_travels_both_ways_and_clearing_does_too(world: World) -> None:
    incident_id = await declared(world)
    edit_record(world, incident_id, assigned_to=user(world, "beth.anglin")["sys_id"])
    await trio.sleep(5)
    assert incident(world, incident_id).assigned_to == "beth.anglin@example.com"
    await edit(world, incident_id, assigned_to="don.goodliffe")
    await trio.sleep(5)
    assert who(world, incident_id) == "don.goodliffe"
    assert incident(world, incident_id).assigned_to == "don.goodliffe", "the platform's way to name him stays"
    edit_record(world, incident_id, assigned_to="")
    await trio.sleep(5)
    assert incident(world, incident_id).assigned_to is None
    await edit(world, incident_id, assigned_to="ana.ruiz2@example.com")
    await trio.sleep(5)
    await edit(world, incident_id, assigned_to=None)
    await trio.sleep(5)
    assert who(world, incident_id) == ""
    assert letters(world) == []


@in_world()
async def test_a_person_may_be_named_another_way_without_a_write(world: World) -> None:
    incident_id = await declared(world, assigned_to="beth.anglin")
    assert who(world, incident_id) == "beth.anglin"
    world.instance.reset_counts()
    await edit(world, incident_id, assigned_to="Beth.Anglin@example.com")
    await trio.sleep(5)
    assert world.instance.counts["PATCH"] == 0
    assert incident(world, incident_id).assigned_to == "Beth.Anglin@example.com"


@in_world()
async def test_a_record_that_comes_in_brings_its_assignee_and_one_without_email_its_user_name(world: World) -> None:
    user(world, "fred.luddy")["email"] = ""
    with_email = create_record(world, assigned_to=user(world, "ops.night")["sys_id"])
    without = create_record(world, assigned_to=user(world, "fred.luddy")["sys_id"])
    inactive = create_record(world, assigned_to=user(world, "ingrid.gone")["sys_id"])
    nobody = create_record(world)
    await trio.sleep(5)
    shown = [incident(world, incident_of(world, one)).assigned_to for one in (with_email, without, inactive, nobody)]
    assert shown == ["operations@example.com", "fred.luddy", "ingrid.gone@example.com", None]


@in_world()
async def test_a_new_record_is_created_with_its_assignee(world: World) -> None:
    incident_id = await declared(world, assigned_to="david.loo")
    assert who(world, incident_id) == "david.loo"
    assert world.instance.counts["PATCH"] == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nobody@example.com", "nobody who is active"),
        ("operations@example.com", "more than one person"),
        ("ingrid.gone", "nobody who is active"),
        ("Ana Ruiz", "nobody who is active"),
        ("x^ORuser_name=david.loo", "is not asked"),
    ],
)
def test_whom_nobody_can_tell_for_certain_is_left_on_both_sides_and_said(text: str, words: str) -> None:
    async def story(world: World) -> None:
        incident_id = await declared(world, assigned_to="david.loo")
        await edit(world, incident_id, assigned_to=text, title="The rest goes on")
        await trio.sleep(5)
        assert who(world, incident_id) == "david.loo"
        assert record(world, incident_id)["short_description"] == "The rest goes on"
        assert incident(world, incident_id).assigned_to == text
        (letter,) = letters(world)
        assert (letter.operation, letter.fields, letter.error.kind) == ("update", ("assigned_to",), "unresolved-person")
        assert words in letter.error.message
        told = cast("list[dict[str, object]]", await ask(world, "GET", f"/api/v1/incidents/{incident_id}/timeline"))
        assert "im.sync.dead_letter" in {one["type"] for one in told}
        assert (await sync_status(world))["dlq"] == 1
        await edit(world, incident_id, assigned_to="don.goodliffe")
        await trio.sleep(5)
        assert who(world, incident_id) == "don.goodliffe"
        assert letters(world) == []

    in_world()(story)()


@in_world()
async def test_a_record_is_created_without_an_assignee_whom_nobody_knows(world: World) -> None:
    incident_id = await declared(world, assigned_to="nobody@example.com")
    assert who(world, incident_id) == ""
    assert incident(world, incident_id).assigned_to == "nobody@example.com"
    assert [letter.fields for letter in letters(world)] == [("assigned_to",)]


@in_world()
async def test_who_was_not_known_is_found_by_itself_when_added_or_at_once_on_a_retry(world: World) -> None:
    incident_id = await declared(world, assigned_to="new.hire")
    other_id = await declared(world, assigned_to="other.hire")
    world.instance.kernel.accounts.add("new.hire", None, email="new.hire@example.com", active="true")
    await trio.sleep(HOUR_S + 60)
    assert who(world, incident_id) == "new.hire"
    assert who(world, other_id) == ""
    world.instance.kernel.accounts.add("other.hire", None, email="other.hire@example.com", active="true")
    (letter,) = letters(world)
    await trio.sleep(MISSED_KNOWN_S)
    await ask(world, "POST", f"/api/v1/integrations/{world.integration_id}/dlq/{letter.id}/retry")
    await trio.sleep(5)
    assert who(world, other_id) == "other.hire"
    assert letters(world) == []


@in_world()
async def test_the_group_rule_refuses_the_assignee_alone_and_the_remedy_names_it(world: World) -> None:
    incident_id = await declared(world)
    edit_record(world, incident_id, assignment_group=SOFTWARE)
    await trio.sleep(5)
    beth = user(world, "beth.anglin")["sys_id"]
    world.instance.rulebook.aborts.append(
        AbortRule("Abort changes on group", f"assignment_group={SOFTWARE}^assigned_to={beth}")
    )
    await edit(world, incident_id, assigned_to="beth.anglin", title="Checkout is down")
    await trio.sleep(5)
    assert record(world, incident_id)["short_description"] == "Checkout is down"
    assert who(world, incident_id) == ""
    (letter,) = letters(world)
    assert letter.fields == ("assigned_to",)
    assert "Abort changes on group" in letter.remedy
    edit_record(world, incident_id, assignment_group=GROUPS["Network"][0])  # which is no synced field
    await trio.sleep(5)
    assert who(world, incident_id) == "beth.anglin"
    assert letters(world) == []


@in_world()
async def test_a_create_that_is_refused_with_its_assignee_is_made_without(world: World) -> None:
    beth = user(world, "beth.anglin")["sys_id"]
    world.instance.rulebook.aborts.append(AbortRule("Abort changes on group", f"assigned_to={beth}"))
    incident_id = await declared(world, assigned_to="beth.anglin")
    assert who(world, incident_id) == ""
    assert [(letter.operation, letter.fields) for letter in letters(world)] == [("update", ("assigned_to",))]


@in_world()
async def test_who_has_left_or_whose_row_is_gone_stays_assigned_and_is_not_cleared(world: World) -> None:
    incident_id = await declared(world, assigned_to="david.loo")
    user(world, "david.loo")["active"] = "false"
    edit_record(world, incident_id, description="seen again")
    await trio.sleep(5)
    assert incident(world, incident_id).assigned_to == "david.loo"
    edit_record(world, incident_id, assigned_to=GONE_USER_SYS_ID)
    await trio.sleep(5)
    assert incident(world, incident_id).assigned_to == "david.loo"
    assert who(world, incident_id) == GONE_USER_SYS_ID
    reasons = cast("list[str]", (await sync_status(world))["reasons"])
    assert any(GONE_USER_SYS_ID[:20] in reason for reason in reasons)


@in_world()
async def test_an_assignee_that_the_account_may_not_read_is_left_alone(world: World) -> None:
    incident_id = await declared(world, assigned_to="david.loo")
    denied = world.instance.account("svc.sync").read_denied
    denied |= {("sys_user", "email"), ("sys_user", "user_name")}
    edit_record(world, incident_id, description="seen again")
    await trio.sleep(5)
    assert incident(world, incident_id).description == "seen again"
    assert incident(world, incident_id).assigned_to == "david.loo"
    await edit(world, incident_id, assigned_to="beth.anglin")
    await trio.sleep(5)
    assert who(world, incident_id) == "david.loo"
    denied.clear()
    edit_record(world, incident_id, description="and again")
    await trio.sleep(5)
    assert who(world, incident_id) == "beth.anglin"


@in_world(conflict_strategy="manual-review", conflict_window="always")
async def test_two_assignments_at_once_wait_for_a_person_and_the_choice_is_carried_out(world: World) -> None:
    incident_id = await declared(world)
    world.instance.set_webhook("", "")
    edit_record(world, incident_id, assigned_to=user(world, "beth.anglin")["sys_id"])
    await edit(world, incident_id, assigned_to="don.goodliffe")
    await trio.sleep(5)
    (found,) = cast("list[dict[str, object]]", await ask(world, "GET", "/api/v1/conflicts?status=pending"))
    assert (found["field"], found["platform"], found["external"]) == (
        "assigned_to",
        "don.goodliffe",
        "beth.anglin@example.com",
    )
    await asked(world, "POST", f"/api/v1/conflicts/{found['id']}/resolve", {"value": "fred.luddy"})
    await trio.sleep(5)
    assert who(world, incident_id) == "fred.luddy"
    assert incident(world, incident_id).assigned_to == "fred.luddy"


@in_world()
async def test_a_first_link_keeps_one_person_under_two_names_and_else_servicenows(world: World) -> None:
    await configure(world, create_external=False, create_platform=False)
    same, other, free = [
        await declare(world, title, assigned_to=name)
        for title, name in (("a", "beth.anglin"), ("b", "don.goodliffe"), ("c", None))
    ]
    beth = user(world, "beth.anglin")["sys_id"]
    for incident_id, assigned_to in ((same, beth), (other, beth), (free, beth)):
        body = {"incident_id": incident_id, "external_id": create_record(world, assigned_to=assigned_to)}
        await asked(world, "POST", f"/api/v1/integrations/{world.integration_id}/links", body, status=201)
    await trio.sleep(5)
    assert [incident(world, one).assigned_to for one in (same, other, free)] == [
        "beth.anglin",
        "beth.anglin@example.com",
        "beth.anglin@example.com",
    ]
    kept = [one for one in world.state.conflicts.values() if one.field == "assigned_to"]
    assert [(one.incident_id, one.platform) for one in kept] == [(other, "don.goodliffe")]


@in_world()
async def test_an_assignee_from_one_instance_is_looked_up_in_the_other(world: World) -> None:
    other, integration_id = await second_instance(world, organization_id="default")
    incident_id = await declared(world)
    edit_record(world, incident_id, assigned_to=user(world, "beth.anglin")["sys_id"])
    await trio.sleep(10)
    there = other.record(link(world, incident_id, integration_id).external_id)
    assert there["assigned_to"] == user(world, "beth.anglin")["sys_id"], "the same fixtures"
    assert incident(world, incident_id).assigned_to == "beth.anglin@example.com"


@in_world()
async def test_an_assignment_whose_answer_was_lost_is_our_own_and_no_edit(world: World) -> None:
    incident_id = await declared(world)
    world.instance.arm("patch_commits_then_reset", times=1)
    await edit(world, incident_id, assigned_to="don.goodliffe")
    await trio.sleep(60)
    assert who(world, incident_id) == "don.goodliffe"
    assert incident(world, incident_id).assigned_to == "don.goodliffe"
    assert world.state.conflicts == {}


@in_world()
async def test_a_person_is_looked_up_once_for_many_records(world: World) -> None:
    for number in range(5):
        await declare(world, f"incident {number}", assigned_to="david.loo")
    await trio.sleep(10)
    assert look_ups(world) <= 4, "as many as requests at once"
    before = look_ups(world)
    await declared(world, assigned_to="David.Loo")
    assert look_ups(world) == before


class Asked:
    """An instance that knows one person, and counts."""

    def __init__(self) -> None:
        self.names: list[str] = []

    async def find_person(self, text: str) -> Person:
        await trio.lowlevel.checkpoint()
        self.names.append(text)
        return Person("a1") if text == "ann" else Person(problem="nobody")


async def test_who_was_found_is_known_for_an_hour_and_who_was_not_for_a_minute(autojump_clock: MockClock) -> None:
    external = Asked()
    known = People(cast("External", external), Breaker(Random(1), 1))
    for _ in range(3):
        assert (await known.find("ann")).sys_id == "a1"
        assert (await known.find("bob")).sys_id == ""
    assert external.names == ["ann", "bob"]
    await trio.sleep(MISSED_KNOWN_S)
    await known.find("ann")
    await known.find("bob")
    assert external.names == ["ann", "bob", "bob"]
    await trio.sleep(FOUND_KNOWN_S)
    await known.find("ann")
    assert external.names[-1] == "ann"


async def test_a_crowd_of_names_does_not_grow_what_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "PEOPLE_KNOWN_MAX", 3)
    external = Asked()
    known = People(cast("External", external), Breaker(Random(1), 1))
    for name in ("ann", "b", "c", "d"):
        await known.find(name)
    await known.find("d")
    assert external.names == ["ann", "b", "c", "d"]
    await known.find("ann")
    assert external.names[-1] == "ann"
