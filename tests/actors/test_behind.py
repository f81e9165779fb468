"""An old backup is restored: nothing is doubled, nobody's edit is overwritten silently, and it is said."""

import trio

from syncd.core.capture import digest
from syncd.journal.past import state_at
from tests.actors.stage import (
    AGENT,
    INTEGRATIONS,
    ask,
    configure,
    declare,
    declared,
    edit,
    in_world,
    incident,
    lines,
    link,
    record,
    restart,
    sync_status,
)
from tests.actors.test_importer import bring_in, counts
from tests.actors.test_notes import entries, note
from tests.simulation.disk import SimDisk
from tests.simulation.world import STATE_DIR, World

LONG_S = 700.0


def backup(world: World) -> SimDisk:
    """A copy of the state folder, as it is on disk."""
    copy = SimDisk()
    for path, block in world._disk.files().items():
        copy.put(path, block)
    return copy


async def restore(world: World, copy: SimDisk) -> None:
    await world.stop()
    world._disk = copy
    world.ledger.position = 0
    await world.start()


def records_for(world: World, incident_id: str) -> list[str]:
    rows = world.instance.kernel.store.tables["incident"].rows.values()
    return [row["sys_id"] for row in rows if row["correlation_id"].endswith(f":{incident_id}")]


async def confirm(world: World) -> None:
    settings = await ask(world, "GET", f"{INTEGRATIONS}/{world.integration_id}")
    assert isinstance(settings, dict)
    await configure(world, base_url=settings["base_url"])


@in_world()
async def test_a_restored_backup_halts_before_anything_is_written_and_doubles_nothing_after(world: World) -> None:
    linked = await declared(world, "was there before")
    await note(world, linked, "noted before")
    await trio.sleep(10)
    world.instance.arm("bad_gateway_502")
    to_come = await declare(world, "declared before, made after")
    await note(world, linked, "written before, sent after")
    await note(world, to_come, "follows its record")
    copy = backup(world)
    world.instance.disarm()
    await trio.sleep(60)
    assert len(records_for(world, to_come)) == 1
    later = await declared(world, "declared after the backup")
    await edit(world, linked, title="edited after the backup")
    await trio.sleep(20)
    world.instance.edit_as(AGENT, link(world, linked).external_id, {"description": "an agent's, after it"})
    await trio.sleep(20)
    sys_id, told = link(world, linked).external_id, entries(world, linked)
    assert told == ["ann:\nnoted before", "ann:\nwritten before, sent after"]

    await restore(world, copy)
    began = trio.current_time()
    await trio.sleep(LONG_S)
    status = await sync_status(world)
    assert status["state"] == "paused"
    assert "the journal is older than what ServiceNow shows" in str(status["reasons"])
    assert lines(world.instance, "POST", "PATCH", since_s=began) == []
    assert later not in world.state.incidents
    await restart(world)  # it does not forget
    await trio.sleep(LONG_S)
    assert (await sync_status(world))["state"] == "paused"
    assert lines(world.instance, "POST", "PATCH", since_s=began) == []

    await confirm(world)
    await trio.sleep(LONG_S)
    assert (await sync_status(world))["state"] == "healthy"
    assert len(records_for(world, to_come)) == 1
    assert link(world, to_come).external_id == records_for(world, to_come)[0]
    assert [row["value"] for row in world.instance.notes(sys_id)] == told
    assert entries(world, to_come) == ["ann:\nfollows its record"]
    assert record(world, linked)["short_description"] == "edited after the backup"
    assert incident(world, linked).title == "edited after the backup"
    assert incident(world, linked).description == "an agent's, after it"
    assert len(records_for(world, later)) == 1  # left alone


@in_world()
async def test_one_confirmation_is_enough_for_every_later_start_and_none_for_another_restore(world: World) -> None:
    await declared(world, "was there before")
    await trio.sleep(20)
    copy = backup(world)
    later = await declared(world, "declared after the backup")
    await trio.sleep(20)
    await restore(world, copy)
    await trio.sleep(30)
    assert (await sync_status(world))["state"] == "paused"
    await confirm(world)
    await trio.sleep(30)
    for down_s in (0.0, 60.0):
        await restart(world, down_s, while_down=lambda: None)
        await trio.sleep(40)
        assert (await sync_status(world))["state"] == "healthy"
    world.instance.edit_as(AGENT, records_for(world, later)[0], {"description": "an agent's, in the orphan"})
    await restart(world)
    await trio.sleep(40)
    assert (await sync_status(world))["state"] == "healthy"

    confirmed = backup(world)
    second = await declared(world, "declared after the second backup")
    await trio.sleep(20)
    await restore(world, confirmed)
    await trio.sleep(30)
    status = await sync_status(world)
    assert status["state"] == "paused"
    assert f"was made for {second}" in str(status["reasons"])


@in_world()
async def test_a_confirmation_holds_for_what_has_yet_to_be_opened(world: World) -> None:
    await declared(world)
    await configure(world, enabled=False)
    waiting = await declare(world, "declared while it was off")
    copy = backup(world)
    await configure(world, enabled=True)
    await trio.sleep(30)
    await restore(world, copy)
    await configure(world, enabled=True)
    await trio.sleep(60)
    assert (await sync_status(world))["state"] == "paused"
    await configure(world, enabled=False)
    await confirm(world)
    await restart(world)
    await configure(world, enabled=True)
    await trio.sleep(LONG_S)
    assert (await sync_status(world))["state"] == "healthy"
    assert len(records_for(world, waiting)) == 1


@in_world()
async def test_an_import_brings_back_what_was_declared_after_the_backup_without_another_record(world: World) -> None:
    linked = await declared(world, "was there before")
    await trio.sleep(20)
    copy = backup(world)
    later = await declared(world, "declared after the backup")
    await note(world, later, "noted after it")
    await trio.sleep(20)
    orphan = link(world, later).external_id
    twin = world.instance.copy_as(AGENT, orphan, has_correlation=True)["sys_id"]
    await restore(world, copy)
    await trio.sleep(30)
    await confirm(world)
    await trio.sleep(30)
    assert later not in world.state.incidents  # only when a person asks
    ours = f"correlation_idSTARTSWITHsyncd:{world.integration_id}:"
    told = counts(await bring_in(world, ours, dry_run=True))
    assert told == {"imported": 1, "linked": 1, "ours": 1}
    assert counts(await bring_in(world, ours)) == told
    assert (incident(world, later).title, link(world, later).external_id) == ("declared after the backup", orphan)
    await edit(world, later, title="edited since")
    await restart(world)
    await trio.sleep(LONG_S)
    assert record(world, later)["short_description"] == "edited since"
    assert sorted(records_for(world, later)) == sorted([orphan, twin])
    assert entries(world, later) == ["ann:\nnoted after it"]
    assert len(records_for(world, linked)) == 1


@in_world()
async def test_what_was_written_after_the_backup_to_a_known_record_is_evidence_too(world: World) -> None:
    linked = await declared(world)
    await trio.sleep(20)
    copy = backup(world)
    await trio.sleep(300)
    await edit(world, linked, title="edited after the backup")
    await trio.sleep(60)
    await restore(world, copy)
    await trio.sleep(30)
    status = await sync_status(world)
    assert status["state"] == "paused"
    assert "has values that we wrote" in str(status["reasons"])
    await confirm(world)
    await trio.sleep(30)
    assert incident(world, linked).title == "edited after the backup"


@in_world()
async def test_let_in_alone_at_first_what_servicenow_shows_comes_back_though_an_edit_waits(world: World) -> None:
    """The look at all records gives way to what is to be written; while nothing goes out it waits for nothing."""
    linked = await declared(world)
    await trio.sleep(20)
    copy = backup(world)
    await trio.sleep(300)
    await edit(world, linked, title="edited after the backup")
    await trio.sleep(60)
    await restore(world, copy)
    await trio.sleep(30)
    await edit(world, linked, severity="SEV-1")
    await configure(world, sync_direction="inbound")
    await confirm(world)
    await trio.sleep(5)
    assert incident(world, linked).title == "edited after the backup"
    assert record(world, linked)["impact"] == "2"
    assert record(world, linked)["short_description"] == "edited after the backup"


@in_world()
async def test_what_was_declared_before_and_is_opened_after_the_confirmation_is_looked_for(world: World) -> None:
    await declared(world)
    await configure(world, enabled=False)
    waiting = await declare(world, "declared while it was off")
    copy = backup(world)
    await configure(world, enabled=True)
    await trio.sleep(30)
    assert len(records_for(world, waiting)) == 1
    await restore(world, copy)
    await configure(world, enabled=True)
    await trio.sleep(60)
    assert (await sync_status(world))["state"] == "paused"
    await confirm(world)
    await trio.sleep(LONG_S)
    assert len(records_for(world, waiting)) == 1
    assert link(world, waiting).external_id == records_for(world, waiting)[0]


@in_world()
async def test_an_ordinary_restart_asks_once_and_goes_on(world: World) -> None:
    linked = await declared(world)
    await note(world, linked, "hello")
    await edit(world, linked, title="just before the kill")
    await trio.sleep(2)
    for down_s in (0.0, 1000.0):
        began = trio.current_time()
        await restart(world, down_s, while_down=lambda: None)
        await trio.sleep(40)
        assert (await sync_status(world))["state"] == "healthy"
        asked = [one for one in lines(world.instance, "GET", since_s=began) if b"STARTSWITH" in one.target.encode()]
        assert len(asked) == 1


@in_world()
async def test_what_a_life_leaves_on_disk_is_what_it_knew(world: World) -> None:
    """J8: the real daemon's state, and the fold of its files."""
    linked = await declared(world)
    await note(world, linked, "hello")
    await edit(world, linked, title="edited", severity="SEV-1")
    world.instance.edit_as(AGENT, link(world, linked).external_id, {"description": "an agent's"})
    await trio.sleep(30)
    await configure(world, conflict_window="7s")
    assert world.house is not None
    await world.house.journal.settled()
    past = state_at(world._disk, STATE_DIR)
    assert past.state.position == world.state.position
    assert digest(past.state) == digest(world.state)
