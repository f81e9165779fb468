"""Work notes while the right to read the journal table comes and goes: none is lost, none comes twice."""

from random import Random

import pytest
import trio

from syncd.simulator.accounts import ITIL_ROLES
from tests.actors.stage import AGENT, ask, declared, edit_record, in_world, lines, link, restart
from tests.actors.test_notes_inbound import kept, texts, write
from tests.actors.test_people import user
from tests.simulation.world import World

HOUR_S = 3600.0


def let_read_the_journal(world: World, *, may: bool) -> None:
    roles = ITIL_ROLES | {"audit_viewer"} if may else ITIL_ROLES - {"audit_viewer"}
    world.instance.account("svc.sync").roles = frozenset(roles)


@in_world()
async def test_a_note_that_comes_while_the_table_is_hidden_again_comes_in_at_once(world: World) -> None:
    incident_id = await declared(world)
    for text in ("one", "two", "two"):
        write(world, incident_id, text)
        await trio.sleep(2)
    await trio.sleep(5)
    let_read_the_journal(world, may=False)
    write(world, incident_id, "two")
    await trio.sleep(5)
    assert texts(world, incident_id) == ["one", "two", "two", "two"]
    await trio.sleep(HOUR_S + 60)
    write(world, incident_id, "three")
    await trio.sleep(5)
    assert texts(world, incident_id) == ["one", "two", "two", "two", "three"]


@in_world()
async def test_the_right_to_read_the_table_that_is_given_later_doubles_nothing(world: World) -> None:
    let_read_the_journal(world, may=False)
    incident_id = await declared(world)
    for text in ("one", "two", "two"):
        write(world, incident_id, text)
        await trio.sleep(2)
    await ask(world, "POST", f"/api/v1/incidents/{incident_id}/notes", {"text": "ours"}, status=201)
    await trio.sleep(5)
    let_read_the_journal(world, may=True)
    await trio.sleep(HOUR_S + 60)
    write(world, incident_id, "two")
    await trio.sleep(5)
    assert texts(world, incident_id) == ["one", "two", "two", "ours", "two"]
    named = [one for one in kept(world, incident_id) if one.origin != "platform"]
    rows = {row["sys_id"] for row in world.instance.notes(link(world, incident_id).external_id)}
    assert {one.external_id for one in named} < rows, "each has its own id by now"
    await restart(world)
    write(world, incident_id, "three")
    await trio.sleep(5)
    assert texts(world, incident_id) == ["one", "two", "two", "ours", "two", "three"]


@in_world()
async def test_a_new_name_or_time_zone_makes_no_new_note_of_an_old_one(world: World) -> None:
    let_read_the_journal(world, may=False)
    incident_id = await declared(world)
    write(world, incident_id, "one")
    await trio.sleep(5)
    user(world, AGENT)["name"] = "Beth Married"
    user(world, "svc.sync")["time_zone"] = "Europe/Berlin"
    write(world, incident_id, "two")
    await trio.sleep(5)
    assert texts(world, incident_id) == ["one", "two"]


@in_world()
async def test_the_row_that_shows_the_table_to_be_open_may_go_with_its_record(world: World) -> None:
    first, second = await declared(world, "first"), await declared(world, "second")
    write(world, first, "one")
    await trio.sleep(5)
    table = world.instance.kernel.store.tables["sys_journal_field"]
    for sys_id in [row["sys_id"] for row in world.instance.notes(link(world, first).external_id)]:
        del table.rows[sys_id]
    world.instance.delete_as("admin", link(world, first).external_id)
    write(world, second, "two")
    await trio.sleep(5)
    assert texts(world, second) == ["two"]
    assert kept(world, second)[0].author == AGENT


@in_world()
async def test_while_the_table_is_open_the_notes_of_an_edit_cost_one_request(world: World) -> None:
    incident_id = await declared(world)
    write(world, incident_id, "one")
    await trio.sleep(5)
    before = len(lines(world.instance, "GET"))
    edit_record(world, incident_id, description="edited")
    await trio.sleep(5)
    asked = [line.target for line in lines(world.instance, "GET")[before:]]
    assert sum("sys_journal_field" in target for target in asked) == 1
    assert not any("sysparm_display_value" in target for target in asked)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_the_rights_do_each_note_comes_in_once(seed: int) -> None:
    @in_world(seed)
    async def story(world: World) -> None:
        rng, written = Random(seed), list[str]()
        incident_id = await declared(world)
        for _ in range(25):
            match rng.randrange(6):
                case 0:
                    let_read_the_journal(world, may=rng.random() < 0.5)
                case 1:
                    await trio.sleep(rng.choice((30, HOUR_S + 1)))
                case 2 if rng.random() < 0.3:
                    await restart(world, rng.choice((0, 30)))
                case _:
                    written.append(rng.choice(("still down", "rolled back", "two\n\nparts")))
                    write(world, incident_id, written[-1])
                    await trio.sleep(rng.choice((0.2, 3, 10)))
        await trio.sleep(60)
        await world.reconcile()
        await trio.sleep(20)
        assert sorted(texts(world, incident_id)) == sorted(written)

    story()
