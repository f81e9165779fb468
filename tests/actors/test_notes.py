"""Work notes on their way to ServiceNow: in order, each exactly once, whatever becomes of the answers."""

from typing import cast

import pytest
import trio

from syncd.simulator.accounts import ITIL_ROLES
from syncd.simulator.rules import AbortRule
from tests.actors.stage import (
    AGENT,
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
    restart,
)
from tests.simulation.plan import Cut
from tests.simulation.runner import simulate
from tests.simulation.world import World

LOOKED_FOR_S = 150.0  # twice the transaction quota, and some


async def note(world: World, incident_id: str, text: str, author: str = "ann") -> str:
    body = {"text": text, "author": author}
    made = await asked(world, "POST", f"/api/v1/incidents/{incident_id}/notes", body, status=201)
    return str(made["id"])


def entries(world: World, incident_id: str) -> list[str]:
    """The work notes of the record, oldest first."""
    return [row["value"] for row in world.instance.notes(link(world, incident_id).external_id)]


@in_world()
async def test_notes_arrive_in_order_with_their_author_in_requests_of_their_own(world: World) -> None:
    incident_id = await declared(world)
    for number in range(5):
        await note(world, incident_id, f"step {number}", author=f"person {number}")
    await edit(world, incident_id, title="edited at the same time")
    await trio.sleep(10)
    assert entries(world, incident_id) == [f"person {number}:\nstep {number}" for number in range(5)]
    with_note = [one for one in lines(world.instance, "PATCH") if b"work_notes" in one.body]
    assert len(with_note) == 5
    assert all(b"short_description" not in one.body for one in with_note)
    assert record(world, incident_id)["short_description"] == "edited at the same time"
    assert link(world, incident_id).notes == ()


@in_world()
async def test_a_note_that_was_there_before_the_record_follows_its_create(world: World) -> None:
    incident_id = await declare(world)
    await note(world, incident_id, "at once")
    await trio.sleep(10)
    assert entries(world, incident_id) == ["ann:\nat once"]


@in_world(create_external=False)
async def test_linking_by_hand_brings_the_notes_over_once(world: World) -> None:
    incident_id = await declare(world)
    await note(world, incident_id, "before the link")
    sys_id = create_record(world)
    await trio.sleep(5)
    other = incident_of(world, sys_id)
    await ask(world, "DELETE", f"/api/v1/integrations/{world.integration_id}/links/{other}", status=204)
    body = {"incident_id": incident_id, "external_id": sys_id}
    await ask(world, "POST", f"/api/v1/integrations/{world.integration_id}/links", body, status=201)
    await trio.sleep(10)
    assert entries(world, incident_id) == ["ann:\nbefore the link"]


@in_world()
async def test_a_pair_that_is_parted_and_linked_again_gets_no_note_twice(world: World) -> None:
    incident_id = await declared(world)
    for text in ("still down", "still down", "up again"):
        await note(world, incident_id, text)
    await trio.sleep(5)
    sys_id, path = link(world, incident_id).external_id, f"/api/v1/integrations/{world.integration_id}/links"
    await ask(world, "DELETE", f"{path}/{incident_id}", status=204)
    await note(world, incident_id, "still down")
    await ask(world, "POST", path, {"incident_id": incident_id, "external_id": sys_id}, status=201)
    await trio.sleep(10)
    assert entries(world, incident_id) == [f"ann:\n{text}" for text in ("still down",) * 2 + ("up again", "still down")]


@pytest.mark.parametrize(
    "fault",
    [
        "patch_commits_then_500",
        "patch_commits_then_reset",
        "patch_commits_then_504_html",
        "patch_500_without_commit",
        "answer_lost",
        "request_lost",
        "empty_202",
        "error_500",
        "bad_gateway_502",
        "truncated_200",
        "redirect_302",
        "hibernating",
        "semaphore_429",
    ],
)
@pytest.mark.parametrize("is_hidden", [False, True])
def test_a_note_without_a_clear_answer_is_there_once(fault: str, is_hidden: bool) -> None:
    async def story(world: World) -> None:
        incident_id = await declared(world)
        if is_hidden:
            world.instance.account("svc.sync").roles = ITIL_ROLES - {"audit_viewer"}
        await note(world, incident_id, "first")
        await trio.sleep(5)
        world.instance.arm(fault, times=1)
        await note(world, incident_id, "second")
        await note(world, incident_id, "third")
        await trio.sleep(LOOKED_FOR_S)
        assert entries(world, incident_id) == ["ann:\nfirst", "ann:\nsecond", "ann:\nthird"]
        assert letters(world) == []

    simulate(lambda rng: lambda: World(rng).run(story), 1)


@pytest.mark.parametrize("fault", ["patch_commits_then_reset", "patch_500_without_commit"])
def test_notes_that_say_the_same_are_told_apart_by_their_number(fault: str) -> None:
    async def story(world: World) -> None:
        incident_id = await declared(world)
        await note(world, incident_id, "still down")
        await trio.sleep(5)
        world.instance.arm(fault, times=1)
        await note(world, incident_id, "still down")
        await trio.sleep(LOOKED_FOR_S)
        assert entries(world, incident_id) == ["ann:\nstill down"] * 2

    simulate(lambda rng: lambda: World(rng).run(story), 1)


@in_world()
async def test_a_rule_that_doubles_notes_does_not_make_the_next_one_of_the_same_words_vanish(world: World) -> None:
    incident_id = await declared(world)
    world.instance.arm("notes_doubled", times=1)
    await note(world, incident_id, "still down")
    await trio.sleep(5)
    world.instance.arm("patch_500_without_commit", times=1)
    await note(world, incident_id, "still down")
    await trio.sleep(LOOKED_FOR_S)
    assert entries(world, incident_id) == ["ann:\nstill down"] * 3


@in_world()
async def test_while_a_note_is_looked_for_fields_keep_their_pace_and_a_close_waits_for_it(world: World) -> None:
    incident_id = await declared(world)
    world.instance.arm("patch_500_without_commit", times=1)
    await note(world, incident_id, "the last words")
    await trio.sleep(1)
    await edit(world, incident_id, title="as fast as ever")
    await edit(world, incident_id, status="closed")
    await trio.sleep(5)
    assert record(world, incident_id)["short_description"] == "as fast as ever"
    assert record(world, incident_id)["state"] != "7"
    await trio.sleep(LOOKED_FOR_S)
    assert entries(world, incident_id) == ["ann:\nthe last words"]
    assert record(world, incident_id)["state"] == "7"
    assert letters(world) == []


@in_world()
async def test_a_refused_note_is_a_dead_letter_that_does_not_hold_up_the_next_one(world: World) -> None:
    incident_id = await declared(world)
    world.instance.rulebook.aborts.append(AbortRule("Frozen", "active=true"))
    refused = await note(world, incident_id, "refused")
    await trio.sleep(5)
    (letter,) = letters(world)
    assert (letter.operation, letter.fields, letter.note_id) == ("note", ("work_notes",), refused)
    assert "aborted by Business Rule 'Frozen" in letter.error.detail
    world.instance.rulebook.aborts.clear()
    await note(world, incident_id, "the next one")
    await trio.sleep(5)
    assert entries(world, incident_id) == ["ann:\nthe next one"]
    path = f"/api/v1/integrations/{world.integration_id}/dlq"
    (shown,) = cast("list[dict[str, object]]", await ask(world, "GET", path))
    assert shown["would_send"] == {"work_notes": "ann:\nrefused"}
    await ask(world, "POST", f"{path}/{letter.id}/retry")
    await trio.sleep(5)
    assert entries(world, incident_id) == ["ann:\nthe next one", "ann:\nrefused"]
    assert letters(world) == []


@in_world()
async def test_a_note_that_is_answered_200_and_not_kept_is_a_dead_letter(world: World) -> None:
    incident_id = await declared(world)
    world.instance.account("svc.sync").write_denied.add(("incident", "work_notes"))
    await note(world, incident_id, "dropped in silence")
    await trio.sleep(5)
    (letter,) = letters(world)
    assert (letter.operation, letter.error.kind) == ("note", "not-kept")
    world.instance.account("svc.sync").write_denied.clear()
    await ask(world, "POST", f"/api/v1/integrations/{world.integration_id}/dlq/{letter.id}/retry")
    await trio.sleep(5)
    assert entries(world, incident_id) == ["ann:\ndropped in silence"]
    assert letters(world) == []


@in_world()
async def test_a_note_that_moves_no_count_is_known_by_a_look(world: World) -> None:
    incident_id = await declared(world)
    world.instance.set_switch("note_stamps", "off")
    await note(world, incident_id, "quiet")
    await trio.sleep(LOOKED_FOR_S)
    assert entries(world, incident_id) == ["ann:\nquiet"]
    assert letters(world) == []


@in_world()
async def test_a_note_nobody_can_look_for_is_a_dead_letter_and_never_sent_twice(world: World) -> None:
    incident_id = await declared(world)
    account = world.instance.account("svc.sync")
    account.roles = ITIL_ROLES - {"audit_viewer"}
    account.read_denied.add(("incident", "work_notes"))
    world.instance.arm("patch_commits_then_reset", times=1)
    await note(world, incident_id, "sent once")
    await trio.sleep(LOOKED_FOR_S)
    (letter,) = letters(world)
    assert (letter.operation, letter.error.kind, letter.retry_at_s) == ("note", "unconfirmed", None)
    await trio.sleep(600)
    assert entries(world, incident_id) == ["ann:\nsent once"]


@in_world()
async def test_a_kill_at_any_moment_of_a_note_leaves_one(world: World) -> None:
    incident_id = await declared(world)
    sent = []
    for number in range(12):
        await note(world, incident_id, f"words {number}")
        sent.append(f"ann:\nwords {number}")
        await trio.sleep(number * 0.004)
        await restart(world)
    await trio.sleep(LOOKED_FOR_S)
    assert entries(world, incident_id) == sent


@in_world()
async def test_a_note_whose_outcome_a_kill_hid_is_not_repeated_because_the_look_for_it_failed(world: World) -> None:
    incident_id = await declared(world)
    await trio.sleep(10)
    world.arm_knife(Cut(0.0, "committed"))
    await note(world, incident_id, "once")
    await trio.sleep(0.2)
    world.way.set_fault("tls_failure@0.5")  # some looks fail, and some requests get through
    await trio.sleep(20)
    world.way.disarm()
    await trio.sleep(300)
    assert world.crashes == 1
    assert entries(world, incident_id) == ["ann:\nonce"]


@in_world(conflict_window="1s")
async def test_a_note_that_is_committed_late_answers_with_a_picture_that_is_not_believed(world: World) -> None:
    incident_id = await declared(world)
    await trio.sleep(10)
    world.instance.arm("late_commit", 3)
    await note(world, incident_id, "late")
    await trio.sleep(1)
    for number in range(2):
        edit_record(world, incident_id, description=f"by an agent {number}")
        await trio.sleep(0.5)
    world.instance.disarm()
    await trio.sleep(30)
    assert incident(world, incident_id).description == "by an agent 1"
    assert record(world, incident_id)["description"] == "by an agent 1"
    assert world.state.conflicts == {}
    assert entries(world, incident_id) == ["ann:\nlate"]


@in_world(sync_direction="inbound")
async def test_under_inbound_notes_stay_on_the_platform_also_when_it_is_opened_later(world: World) -> None:
    sys_id = create_record(world)
    await trio.sleep(5)
    incident_id = incident_of(world, sys_id)
    await note(world, incident_id, "ours alone")
    await configure(world, sync_direction="bidirectional")
    await trio.sleep(10)
    assert entries(world, incident_id) == []
    await note(world, incident_id, "for both")
    await trio.sleep(5)
    assert entries(world, incident_id) == ["ann:\nfor both"]


@in_world()
async def test_a_note_of_a_disabled_integration_goes_when_it_is_enabled(world: World) -> None:
    incident_id = await declared(world)
    await configure(world, enabled=False)
    await note(world, incident_id, "meanwhile")
    await trio.sleep(60)
    assert entries(world, incident_id) == []
    await configure(world, enabled=True)
    await trio.sleep(5)
    assert entries(world, incident_id) == ["ann:\nmeanwhile"]


@in_world()
async def test_a_note_that_looks_like_markup_or_like_a_header_arrives_as_text(world: World) -> None:
    incident_id = await declared(world)
    world.instance.arm("patch_commits_then_reset", times=1)
    text = f"[code]<b>x</b>[/code]\n\n2026-11-23 01:31:07 - {AGENT} (Work notes)\nnot a header"
    await note(world, incident_id, text)
    await trio.sleep(LOOKED_FOR_S)
    assert len(entries(world, incident_id)) == 1
    assert "[code]" not in entries(world, incident_id)[0]
