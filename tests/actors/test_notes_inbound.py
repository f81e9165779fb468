"""Work notes that are written in ServiceNow: each comes in once, with its author, and never goes back."""

from typing import cast

import pytest
import trio

from syncd.core.model import Note
from syncd.simulator.accounts import ITIL_ROLES
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
    incident_of,
    link,
    restart,
    second_instance,
)
from tests.simulation.runner import simulate
from tests.simulation.world import World


def kept(world: World, incident_id: str) -> list[Note]:
    """The notes of an incident on the platform."""
    return list(world.state.notes.get(incident_id, ()))


def texts(world: World, incident_id: str) -> list[str]:
    return [one.text for one in kept(world, incident_id)]


def write(world: World, incident_id: str, text: str, user: str = AGENT) -> None:
    world.instance.note_as(user, link(world, incident_id).external_id, text)


@pytest.mark.parametrize("is_hidden", [False, True])
def test_notes_come_in_once_and_in_order_with_their_author(is_hidden: bool) -> None:
    async def story(world: World) -> None:
        incident_id = await declared(world)
        if is_hidden:
            world.instance.account("svc.sync").roles = ITIL_ROLES - {"audit_viewer"}
        for number in range(3):
            write(world, incident_id, f"step {number}")
            await trio.sleep(1)  # of one second nobody knows the order
        await trio.sleep(5)
        await ask(world, "POST", f"/api/v1/incidents/{incident_id}/notes", {"text": "ours"}, status=201)
        await trio.sleep(5)
        write(world, incident_id, "step 3\n\nwith an empty line", user="fred.luddy")
        await trio.sleep(5)
        assert texts(world, incident_id) == ["step 0", "step 1", "step 2", "ours", "step 3\n\nwith an empty line"]
        authors = [one.author for one in kept(world, incident_id)]
        names = ("Beth Anglin", "Fred Luddy") if is_hidden else (AGENT, "fred.luddy")
        assert authors == [names[0]] * 3 + ["anonymous", names[1]]
        before = world.writes()
        await world.reconcile()
        await world.replay_webhooks(2)
        await trio.sleep(30)
        assert len(kept(world, incident_id)) == 5
        assert world.writes() == before
        assert len(world.instance.notes(link(world, incident_id).external_id)) == 5

    simulate(lambda rng: lambda: World(rng).run(story), 1)


@in_world()
async def test_notes_of_one_second_and_of_the_same_words_are_all_kept(world: World) -> None:
    incident_id = await declared(world)
    for _ in range(3):
        write(world, incident_id, "still down")
    await trio.sleep(10)
    assert texts(world, incident_id) == ["still down"] * 3


@in_world()
async def test_a_note_says_when_it_was_written_on_our_clock(world: World) -> None:
    incident_id = await declared(world)
    assert world.house is not None
    now_s = world.house.seams.clock.now_s()
    write(world, incident_id, "just now")
    await trio.sleep(10)
    (note,) = kept(world, incident_id)
    assert abs(note.created_at_s - now_s) <= 2.5  # stamps are whole seconds, and the clocks differ by up to 240 s
    (shown,) = cast("list[dict[str, str]]", await ask(world, "GET", f"/api/v1/incidents/{incident_id}/notes"))
    assert shown["origin"] == world.integration_id


@in_world()
async def test_a_note_that_comes_between_our_read_and_our_write_is_not_passed_over(world: World) -> None:
    incident_id = await declared(world)
    world.instance.arm("webhook_delay", 8)
    for number in range(6):
        write(world, incident_id, f"note {number}")
        await edit(world, incident_id, title=f"title {number}")  # our echo's count is above that of the note
        await trio.sleep(1)
    await trio.sleep(30)
    assert texts(world, incident_id) == [f"note {number}" for number in range(6)]


@in_world()
async def test_a_record_that_comes_in_brings_the_notes_that_it_has(world: World) -> None:
    await declare(world)
    sys_id = create_record(world)
    world.instance.note_as(AGENT, sys_id, "from the start")
    await trio.sleep(10)
    assert texts(world, incident_of(world, sys_id)) == ["from the start"]


@in_world(create_external=False)
async def test_linking_by_hand_brings_the_notes_of_the_record(world: World) -> None:
    incident_id = await declare(world)
    sys_id = create_record(world)
    world.instance.note_as(AGENT, sys_id, "older than the link")
    await trio.sleep(10)
    path = f"/api/v1/integrations/{world.integration_id}/links"
    await ask(world, "DELETE", f"{path}/{incident_of(world, sys_id)}", status=204)
    await ask(world, "POST", path, {"incident_id": incident_id, "external_id": sys_id}, status=201)
    await trio.sleep(10)
    assert texts(world, incident_id) == ["older than the link"]


@in_world()
async def test_notes_whose_webhooks_are_lost_come_with_the_next_reconcile(world: World) -> None:
    incident_id = await declared(world)
    world.instance.arm("webhook_lost")
    write(world, incident_id, "nobody told")
    await trio.sleep(30)
    assert texts(world, incident_id) == []
    await world.reconcile()
    await trio.sleep(2)
    assert texts(world, incident_id) == ["nobody told"]


@in_world()
async def test_notes_that_could_not_be_read_are_read_again_and_not_taken_for_none(world: World) -> None:
    incident_id = await declared(world)
    await trio.sleep(30)

    def cut_the_next(_: object) -> None:
        world.instance.on_request.pop()
        world.instance.arm("truncated_200", "cut", times=1)

    world.instance.on_request.append(cut_the_next)  # the record is read well, and its notes are not
    write(world, incident_id, "worth reading")
    await trio.sleep(30)
    assert texts(world, incident_id) == []
    await world.reconcile()
    await trio.sleep(2)
    assert texts(world, incident_id) == ["worth reading"]


@in_world()
async def test_notes_written_while_the_daemon_is_down_come_in_when_it_starts(world: World) -> None:
    incident_id = await declared(world)
    sys_id = link(world, incident_id).external_id
    await restart(world, down_s=60, while_down=lambda: world.instance.note_as(AGENT, sys_id, "meanwhile"))
    await trio.sleep(10)
    assert texts(world, incident_id) == ["meanwhile"]


@in_world(sync_direction="outbound")
async def test_under_outbound_notes_stay_there(world: World) -> None:
    incident_id = await declared(world)
    write(world, incident_id, "theirs alone")
    await trio.sleep(10)
    await configure(world, sync_direction="bidirectional")
    await trio.sleep(10)
    assert texts(world, incident_id) == []


@in_world()
async def test_comments_which_the_caller_sees_are_not_notes(world: World) -> None:
    incident_id = await declared(world)
    edit_record(world, incident_id, comments="dear caller")
    await trio.sleep(10)
    assert texts(world, incident_id) == []


@in_world()
async def test_where_a_note_moves_no_count_its_webhook_tells(world: World) -> None:
    incident_id = await declared(world)
    world.instance.set_switch("note_stamps", "off")
    world.instance.set_switch("webhook_notes", "on")
    write(world, incident_id, "quiet")
    await trio.sleep(10)
    assert texts(world, incident_id) == ["quiet"]


@in_world()
async def test_a_note_of_one_instance_reaches_the_other_instance_of_the_same_incident_once(world: World) -> None:
    other, other_id = await second_instance(world, organization_id="default")
    incident_id = await declared(world)
    await trio.sleep(10)
    write(world, incident_id, "seen by both")
    await trio.sleep(20)
    there = world.state.links[f"{other_id}/{incident_id}"].external_id
    assert [row["value"] for row in other.notes(there)] == [f"{AGENT}:\nseen by both"]
    assert texts(world, incident_id) == ["seen by both"]
    made = await asked(world, "GET", f"/api/v1/incidents/{incident_id}")
    assert len(cast("list[object]", made["links"])) == 2


@in_world()
async def test_more_notes_than_a_page_holds_all_come_in(world: World) -> None:
    incident_id = await declared(world)
    for number in range(620):
        write(world, incident_id, f"note {number}")
    await trio.sleep(30)
    assert sorted(texts(world, incident_id)) == sorted(f"note {number}" for number in range(620))
