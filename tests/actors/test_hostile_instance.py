"""An instance that answers wrongly: whatever it shows, no run and no start writes anything, on either side."""

from collections.abc import Callable

import pytest
import trio

from tests.actors.stage import AGENT, declare, in_world, incident, link, reconciled, restart, sync_status
from tests.simulation.runner import simulate
from tests.simulation.world import World

LINKS = 30
COLUMNS = ("short_description", "description", "priority", "impact", "urgency", "state", "assigned_to")
CLOSED = {"state": "7", "close_code": "Solution provided", "close_notes": "all of them"}
MODES: dict[str, dict[str, object]] = {"dry-run": {"dry_run": True}, "report": {}, "heal": {"auto_heal": True}}


def sys_ids(world: World) -> list[str]:
    """The linked records."""
    rows = world.instance.incidents()
    return sorted(str(row["sys_id"]) for row in rows if str(row["correlation_id"]).startswith("syncd:"))


def empty(world: World) -> None:
    world.instance.account("svc.sync").hidden["incident"] = "sys_idISNOTEMPTY"


def first_page_only(world: World) -> None:
    world.instance.account("svc.sync").hidden["incident"] = f"sys_id>{sys_ids(world)[9]}"


def html(world: World) -> None:
    world.instance.arm("hibernating")


def all_closed(world: World) -> None:
    for sys_id in sys_ids(world):
        world.instance.edit_as("admin", sys_id, CLOSED, has_rules=False)


def role_lost(world: World) -> None:
    world.instance.account("svc.sync").read_denied.update(("incident", column) for column in COLUMNS)


def widened(world: World) -> None:
    world.instance.account("svc.sync").match_denied.add(("incident", "sys_id"))


SHAPES: dict[str, Callable[[World], None]] = {
    "empty": empty,
    "first page only": first_page_only,
    "HTML": html,
    "all closed": all_closed,
    "role lost": role_lost,
    "widened query": widened,
}


async def settled(world: World) -> None:
    """Thirty pairs, and a few records that are older than the integration."""
    for number in range(LINKS):
        await declare(world, f"incident {number}", description="as it is")
    for number in range(5):
        old = {"short_description": f"old {number}", "sys_created_on": "2020-01-01 00:00:00"}
        world.instance.create_as("admin", old, has_rules=False)
    await trio.sleep(60)
    assert len(sys_ids(world)) == LINKS
    await world.reconcile()


def pictured(world: World) -> object:
    """What must not change: the incidents, the records as far as people see them, the links that there are."""
    links = {one.id: one.external_id for one in world.state.links.values()}
    return dict(world.state.incidents), links, world.writes()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", SHAPES)
def test_no_run_writes_anything_to_either_side(shape: str, mode: str) -> None:
    async def story(world: World) -> None:
        await settled(world)
        SHAPES[shape](world)
        before = pictured(world)
        done = await reconciled(world, **MODES[mode])
        assert (done["status"] == "stopped") == (mode == "heal" or shape in {"empty", "HTML", "widened query"}), done
        assert done["reason"]
        await trio.sleep(120)
        assert pictured(world) == before
        reasons = str((await sync_status(world))["reasons"])
        assert mode != "heal" or str(done["id"]) in reasons or shape in {"HTML", "widened query"}

    simulate(lambda rng: lambda: World(rng).run(story), 1)


@pytest.mark.parametrize("shape", SHAPES)
def test_nor_does_the_start(shape: str) -> None:
    async def story(world: World) -> None:
        await settled(world)
        before = pictured(world)
        await restart(world, 5, lambda: SHAPES[shape](world))
        await trio.sleep(120)
        assert pictured(world) == before

    simulate(lambda rng: lambda: World(rng).run(story), 1)


@in_world()
async def test_the_next_run_goes_on_by_itself_when_the_instance_is_well_again(world: World) -> None:
    await settled(world)
    empty(world)
    assert (await reconciled(world, auto_heal=True))["status"] == "stopped"
    world.instance.account("svc.sync").hidden.clear()
    name = next(iter(world.state.incidents))
    world.instance.edit_as(AGENT, link(world, name).external_id, {"description": "by script"}, has_rules=False)
    done = await reconciled(world, auto_heal=True)
    assert (done["status"], done["causes"]) == ("finished", {"missed-webhook": 1})
    assert (await sync_status(world))["state"] == "healthy"


@in_world()
async def test_a_second_look_that_shows_only_a_part_does_not_get_the_rest_past_the_brake(world: World) -> None:
    await settled(world)
    chosen, before = sys_ids(world)[:15], pictured(world)
    for sys_id in chosen:
        resolved = {"state": "6", "close_code": "Solution provided", "close_notes": "by script"}
        world.instance.edit_as(AGENT, sys_id, resolved, has_rules=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hide_soon, world, chosen[:8])
        done = await reconciled(world, auto_heal=True)
    assert done["status"] == "stopped", done
    assert "a second look did not show its record, 8 and close 7 of 30 links" in str(done["reason"])
    assert pictured(world) == before


async def hide_soon(world: World, chosen: list[str]) -> None:
    """Between the two looks of a run, these records are hidden."""
    await trio.sleep(3)
    world.instance.account("svc.sync").hidden["incident"] = f"sys_idIN{','.join(chosen)}"


@in_world()
async def test_the_look_at_the_start_is_made_again_until_it_may_be_acted_upon(world: World) -> None:
    await settled(world)
    name = next(iter(world.state.incidents))
    sys_id = link(world, name).external_id

    def meanwhile() -> None:
        empty(world)
        world.instance.edit_as(AGENT, sys_id, {"description": "while down"}, has_rules=False)

    await restart(world, 5, meanwhile)
    await trio.sleep(60)
    assert "what changed while we were not there" in str((await sync_status(world))["reasons"])
    world.instance.account("svc.sync").hidden.clear()
    await trio.sleep(300)
    assert incident(world, name).description == "while down"
    assert (await sync_status(world))["state"] == "healthy"


@in_world()
async def test_force_overrides_the_brake_once(world: World) -> None:
    await settled(world)
    all_closed(world)
    stopped = await reconciled(world, auto_heal=True)
    assert "it would close" in str(stopped["reason"])
    assert "--auto-heal --force" in str((await sync_status(world))["reasons"])
    told = await reconciled(world, dry_run=True)
    assert (told["status"], told["found"]) == ("finished", LINKS)
    assert "healing this would be stopped" in str(told["reason"])
    done = await reconciled(world, auto_heal=True, force=True)
    assert (done["status"], done["found"]) == ("finished", LINKS)
    assert {one.status for one in world.state.incidents.values()} == {"closed"}
    assert (await sync_status(world))["state"] == "healthy"


@in_world()
async def test_ten_links_may_close_without_being_asked_and_eleven_not(world: World) -> None:
    await settled(world)
    for sys_id in sys_ids(world)[:10]:
        world.instance.edit_as("admin", sys_id, CLOSED, has_rules=False)
    assert (await reconciled(world, auto_heal=True))["status"] == "finished"
    for sys_id in sys_ids(world)[10:21]:
        world.instance.edit_as("admin", sys_id, CLOSED, has_rules=False)
    assert (await reconciled(world, auto_heal=True))["status"] == "stopped"


@in_world()
async def test_the_only_record_that_is_gone_is_not_taken_for_blindness_where_others_are_shown(world: World) -> None:
    name = await declare(world)
    await trio.sleep(10)
    world.instance.set_webhook("", "")
    world.instance.create_as("admin", {"short_description": "another", "sys_created_on": "2020-01-01 00:00:00"})
    world.instance.delete_as("admin", link(world, name).external_id)
    assert (await reconciled(world, auto_heal=True))["status"] == "finished"
    assert link(world, name).state == "parked"
    assert incident(world, name).status == "open"
