"""What frees a dead letter: time, other settings, an edit of the record, roles that are back; and what does not."""

from typing import cast

import trio

from syncd.simulator.rules import AbortRule
from tests.actors.stage import (
    ask,
    configure,
    declare,
    declared,
    edit,
    edit_record,
    in_world,
    letters,
    link,
    record,
)
from tests.simulation.world import CLOSE, World

HOUR_S = 3600.0
NO_SEV_1 = AbortRule("No SEV-1 from outside", "priority=1")


async def dlq(world: World) -> list[dict[str, object]]:
    path = f"/api/v1/integrations/{world.integration_id}/dlq"
    return cast("list[dict[str, object]]", await ask(world, "GET", path))


@in_world()
async def test_a_refused_group_is_tried_again_by_itself_and_keeps_its_entry_until_it_gets_through(world: World) -> None:
    incident_id = await declared(world)
    world.instance.rulebook.aborts.append(NO_SEV_1)
    await edit(world, incident_id, severity="SEV-1")
    await trio.sleep(5)
    (letter,) = letters(world)
    world.instance.reset_counts()
    await trio.sleep(HOUR_S - 60)
    assert world.instance.counts["PATCH"] == 0
    await trio.sleep(120)
    assert world.instance.counts["PATCH"] == 1
    assert [(one.id, one.attempts) for one in letters(world)] == [(letter.id, letter.attempts + 1)]
    world.instance.rulebook.aborts.clear()
    await trio.sleep(HOUR_S)
    assert record(world, incident_id)["priority"] == "1"
    assert letters(world) == []


@in_world()
async def test_an_entry_says_since_when_it_is_there_when_it_is_tried_next_and_what_would_be_sent(world: World) -> None:
    incident_id = await declared(world)
    world.instance.rulebook.aborts.append(NO_SEV_1)
    await edit(world, incident_id, severity="SEV-1")
    await trio.sleep(5)
    (shown,) = await dlq(world)
    assert shown["would_send"] == {"impact": "1", "urgency": "1"}
    assert str(shown["created_at"]) < str(shown["next_attempt_at"])
    await edit(world, incident_id, title="edited meanwhile")
    await trio.sleep(5)
    assert [one["id"] for one in await dlq(world)] == [shown["id"]]


@in_world(external_defaults={})
async def test_an_edit_of_the_record_tries_what_it_refused_again(world: World) -> None:
    incident_id = await declared(world)
    await edit(world, incident_id, status="resolved")
    await trio.sleep(5)
    assert len(letters(world)) == 1
    edit_record(world, incident_id, short_description="filled in", **CLOSE)
    await trio.sleep(5)
    assert record(world, incident_id)["state"] == "6"
    assert letters(world) == []


@in_world()
async def test_when_one_letter_gets_through_those_refused_in_the_same_words_follow(world: World) -> None:
    names = [await declared(world, f"incident {number}") for number in range(3)]
    world.instance.rulebook.aborts.append(NO_SEV_1)
    for name in names:
        await edit(world, name, severity="SEV-1")
    await trio.sleep(5)
    assert len(letters(world)) == 3
    world.instance.rulebook.aborts.clear()
    first = letters(world)[0]
    await ask(world, "POST", f"/api/v1/integrations/{world.integration_id}/dlq/{first.id}/retry")
    await trio.sleep(10)
    assert [record(world, name)["priority"] for name in names] == ["1", "1", "1"]
    assert letters(world) == []


@in_world(external_defaults={})
async def test_what_was_discarded_stays_so_through_settings_and_edits_of_other_fields(world: World) -> None:
    incident_id = await declared(world)
    await edit(world, incident_id, status="resolved")
    await trio.sleep(5)
    (letter,) = letters(world)
    await ask(world, "POST", f"/api/v1/integrations/{world.integration_id}/dlq/{letter.id}/discard")
    await configure(world, external_defaults=CLOSE)
    await edit(world, incident_id, title="another field")
    edit_record(world, incident_id, description="the record, too")
    await trio.sleep(5)
    await world.reconcile()
    await trio.sleep(5)
    assert record(world, incident_id)["state"] == "1"
    assert record(world, incident_id)["short_description"] == "another field"
    await edit(world, incident_id, status="mitigated")
    await edit(world, incident_id, status="resolved")
    await trio.sleep(5)
    assert record(world, incident_id)["state"] == "6"


@in_world()
async def test_a_retry_sends_what_holds_now_and_not_what_was_refused(world: World) -> None:
    incident_id = await declared(world)
    world.instance.rulebook.aborts.append(NO_SEV_1)
    await edit(world, incident_id, severity="SEV-1")
    await trio.sleep(5)
    (letter,) = letters(world)
    edit_record(world, incident_id, impact="2", urgency="1")  # three days of work go on over there
    await trio.sleep(5)
    world.instance.rulebook.aborts.clear()
    await ask(world, "POST", f"/api/v1/integrations/{world.integration_id}/dlq/{letter.id}/retry", status=404)
    await trio.sleep(5)
    assert record(world, incident_id)["priority"] == "2"
    assert world.state.incidents[incident_id].severity == "SEV-2"
    assert letters(world) == []


@in_world(enabled=True)
async def test_nothing_is_tried_again_while_the_integration_is_disabled(world: World) -> None:
    incident_id = await declared(world)
    world.instance.rulebook.aborts.append(NO_SEV_1)
    await edit(world, incident_id, severity="SEV-1")
    await trio.sleep(5)
    await configure(world, enabled=False)
    world.instance.reset_counts()
    await trio.sleep(HOUR_S + 60)
    assert sum(world.instance.counts.values()) == 0
    world.instance.rulebook.aborts.clear()
    await configure(world, enabled=True)
    await trio.sleep(10)
    assert record(world, incident_id)["priority"] == "1"
    assert link(world, incident_id).held == {}


@in_world()
async def test_a_record_that_an_unconfirmed_create_may_have_made_does_not_come_in_as_another_incident(
    world: World,
) -> None:
    world.instance.account("svc.sync").write_denied.add(("incident", "correlation_id"))
    await declared(world, "shows that correlation ids are dropped")
    world.instance.arm("create_commits_then_reset", times=1)
    await declare(world, "answered by nothing")
    await trio.sleep(150)  # twice the transaction quota, and some
    (letter,) = letters(world)
    assert (letter.operation, letter.error.kind) == ("create", "unconfirmed")
    assert "im integration unlink" in letter.remedy
    (sys_id,) = (
        row["sys_id"] for row in world.instance.incidents() if row["short_description"] == "answered by nothing"
    )
    world.instance.edit_as("beth.anglin", sys_id, {"description": "the agent writes on"})
    await trio.sleep(60)
    await world.reconcile()
    assert len(world.state.incidents) == 2
