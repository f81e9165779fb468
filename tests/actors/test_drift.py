"""Drift of each kind: found by a dry run, named with its cause, healed by a run that heals, and gone after it."""

from collections.abc import Callable

import trio

from syncd.core.events import Record
from tests.actors.stage import (
    AGENT,
    INTEGRATIONS,
    ask,
    asked,
    create_record,
    declared,
    edit,
    edit_record,
    in_world,
    incident,
    incident_of,
    letters,
    link,
    reconciled,
    record,
    sync_status,
)
from tests.simulation.world import World


async def drifts(world: World, **body: object) -> list[dict[str, object]]:
    """What a run found."""
    done = await reconciled(world, **body)
    assert done["status"] == "finished", done
    found = done["drifts"]
    assert isinstance(found, list)
    return found


async def records(world: World, since: int) -> list[Record]:
    """What was journaled since a position."""
    assert world.house is not None
    return await world.house.journal.since(since, 1000)


async def is_found_and_healed(world: World, cause: str, field: str, *, may_write: int = 0) -> dict[str, object]:
    """A dry run finds this and nothing else and changes nothing; healing heals it; a second look finds nothing."""
    before, writes = world.state.position, world.writes()
    seen = await drifts(world, dry_run=True)
    assert [(one["cause"], one["field"], one["healed"]) for one in seen] == [(cause, field, False)]
    reported = await drifts(world)
    assert [(one["cause"], one["field"]) for one in reported] == [(cause, field)]
    kinds = {type(event).__name__ for one in await records(world, before) for event in one.events}
    assert kinds == {"RunStarted", "RunEnded"}
    assert world.writes() == writes
    healed = await drifts(world, auto_heal=True)
    assert [(one["cause"], one["field"], one["healed"]) for one in healed] == [(cause, field, True)]
    await trio.sleep(20)
    writes += may_write
    assert world.writes() == writes
    for body in ({"dry_run": True}, {"auto_heal": True}, {}):
        assert await drifts(world, **body) == []
    assert world.writes() == writes
    return seen[0]


@in_world()
async def test_a_missed_webhook(world: World) -> None:
    incident_id = await declared(world)
    world.instance.arm("webhook_lost")
    edit_record(world, incident_id, short_description="Renamed there")
    await trio.sleep(30)
    found = await is_found_and_healed(world, "missed-webhook", "title")
    assert (found["incident_id"], found["platform"], found["external"], found["base"], found["base_external"]) == (
        incident_id,
        "Checkout is slow",
        "Renamed there",
        "Checkout is slow",
        "Checkout is slow",
    )
    assert "ServiceNow's value" in str(found["action"])
    assert incident(world, incident_id).title == "Renamed there"


@in_world()
async def test_an_edit_made_while_the_daemon_was_down(world: World) -> None:
    """The look at the start would heal it at once; it fails, so a run comes first."""
    incident_id = await declared(world)
    sys_id = link(world, incident_id).external_id
    await trio.sleep(60)
    await world.stop()
    await trio.sleep(60)
    world.instance.edit_as(AGENT, sys_id, {"description": "written meanwhile"})
    await trio.sleep(60)
    world.instance.arm("hibernating")
    await world.start()
    path = f"{INTEGRATIONS}/{world.integration_id}/reconcile"
    begun = await asked(world, "POST", path, {"auto_heal": True}, status=202)
    assert world.house is not None
    while world.house.roster.progress(world.integration_id) is None:  # noqa: ASYNC110 nothing rings here
        await trio.sleep(0.1)
    world.instance.disarm()
    await world.house.roster.run_ended(world.integration_id, str(begun["id"]))
    (found,) = world.state.runs[world.integration_id][str(begun["id"])].drifts
    assert (found.cause, found.field, found.healed) == ("edit-while-down", "description", True)
    assert incident(world, incident_id).description == "written meanwhile"
    assert await drifts(world, auto_heal=True) == []


@in_world()
async def test_a_missing_note(world: World) -> None:
    incident_id = await declared(world)
    world.instance.arm("webhook_lost")
    world.instance.note_as(AGENT, link(world, incident_id).external_id, "Seen in Zürich, too")
    await trio.sleep(30)
    found = await is_found_and_healed(world, "missing-note", "work_notes")
    assert found["external"] == "Seen in Zürich, too"
    assert [note.text for note in world.state.notes[incident_id]] == ["Seen in Zürich, too"]


@in_world()
async def test_a_deleted_record(world: World) -> None:
    incident_id, kept = await declared(world), await declared(world, "kept")
    world.instance.set_webhook("", "")
    world.instance.delete_as("admin", link(world, incident_id).external_id)
    await is_found_and_healed(world, "deleted-or-hidden", "record")
    assert (link(world, incident_id).state, link(world, kept).state) == ("parked", "active")
    assert incident(world, incident_id).status == "open"
    assert "not shown by ServiceNow" in " ".join((await sync_status(world))["reasons"])  # type: ignore[arg-type]


@in_world()
async def test_a_copy_that_carries_our_correlation_id(world: World) -> None:
    incident_id = await declared(world)
    world.instance.copy_as(AGENT, link(world, incident_id).external_id, has_correlation=True)
    await trio.sleep(30)
    found = await is_found_and_healed(world, "duplicate", "record")
    assert found["incident_id"] == incident_id
    assert len(world.state.incidents) == 1
    assert "left alone" in " ".join((await sync_status(world))["reasons"])  # type: ignore[arg-type]


@in_world()
async def test_a_record_that_has_no_incident(world: World) -> None:
    await declared(world)
    world.instance.arm("webhook_lost")
    sys_id = create_record(world)
    await trio.sleep(30)
    found = await is_found_and_healed(world, "unlinked-on-one-side", "record")
    assert (found["incident_id"], found["external_id"]) == (None, sys_id)
    assert incident(world, incident_of(world, sys_id)).title == "Printer on fire"


@in_world(external_defaults={})
async def test_a_refused_write(world: World) -> None:
    incident_id = await declared(world)
    await edit(world, incident_id, status="resolved")
    await trio.sleep(400)
    assert len(letters(world)) == 1
    world.instance.kernel.switches.set("close_policy", "off")
    found = await is_found_and_healed(world, "refused-write", "status", may_write=1)
    assert (found["platform"], found["external"]) == ("resolved", "open")
    assert record(world, incident_id)["state"] == "6"
    assert letters(world) == []


@in_world(external_defaults={})
async def test_a_write_that_is_refused_again_is_not_healed_and_a_schedule_does_not_repeat_it(world: World) -> None:
    incident_id = await declared(world)
    await edit(world, incident_id, status="resolved")
    await trio.sleep(400)
    (again,) = await drifts(world, auto_heal=True)
    assert again["healed"] is False
    writes = world.writes()
    (once_more,) = await drifts(world, auto_heal=True)
    assert str(once_more["action"]).startswith("none by itself")
    await trio.sleep(400)
    path = f"{INTEGRATIONS}/{world.integration_id}/reconcile"
    await ask(world, "POST", f"{path}/schedule", {"interval": "30s", "auto_heal": True})
    await trio.sleep(100)
    runs = await ask(world, "GET", f"{path}/history")
    assert isinstance(runs, list)
    assert [one["trigger"] for one in runs[:3]] == ["schedule"] * 3
    assert runs[0]["causes"] == {"refused-write": 1}
    assert world.writes() == writes


@in_world()
async def test_what_is_on_its_way_is_no_drift(world: World) -> None:
    incident_id = await declared(world)
    world.instance.arm("slow", 4)
    edit_record(world, incident_id, short_description="announced")
    await edit(world, incident_id, description="on its way")
    assert await drifts(world, dry_run=True) == []


@in_world()
async def test_hidden_fields_are_told_and_change_nothing(world: World) -> None:
    incident_id = await declared(world, description="text")
    world.instance.account("svc.sync").read_denied.add(("incident", "description"))
    (found,) = await drifts(world, dry_run=True)
    assert (found["cause"], found["field"], found["external"]) == ("deleted-or-hidden", "description", None)
    await drifts(world, auto_heal=True)
    assert incident(world, incident_id).description == "text"
    assert await drifts(world, auto_heal=True) == []


@in_world(conflict_strategy="manual-review", conflict_window="always")
async def test_a_conflict_that_healing_makes_is_not_healed(world: World) -> None:
    incident_id = await declared(world)
    world.instance.arm("webhook_lost")
    edit_record(world, incident_id, short_description="theirs")
    await trio.sleep(30)
    world.instance.arm("hibernating")
    await edit(world, incident_id, title="ours")
    await trio.sleep(3)
    world.instance.disarm("hibernating")
    await trio.sleep(30)
    assert [one.status for one in world.state.conflicts.values()] == ["pending"]
    assert await drifts(world, dry_run=True) == []  # it waits for a person, and is listed there


def test_every_cause_has_a_story() -> None:
    told: dict[str, Callable[[], None]] = {
        "missed-webhook": test_a_missed_webhook,
        "edit-while-down": test_an_edit_made_while_the_daemon_was_down,
        "missing-note": test_a_missing_note,
        "refused-write": test_a_refused_write,
        "deleted-or-hidden": test_a_deleted_record,
        "unlinked-on-one-side": test_a_record_that_has_no_incident,
        "duplicate": test_a_copy_that_carries_our_correlation_id,
    }
    assert len(told) == 7
