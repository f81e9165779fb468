"""A link that we fail on is set aside with the reason, and comes back whole when anything about it is new."""

from functools import partial

from msgspec.structs import replace

from syncd.core import verdicts
from syncd.core.events import (
    Change,
    IncidentDeclared,
    IncidentEdited,
    IntegrationChanged,
    LinkOpened,
    NoteAdded,
    Observed,
)
from syncd.core.model import Link, NoteEntry
from syncd.core.outbox import next_entries
from syncd.core.parking import PARKED_MAX, gone, gone_one_by_one, park, release
from syncd.core.state import State
from tests.core.promises import INTEGRATION
from tests.core.world import World

LINK = f"{INTEGRATION}/INC-1"


def linked() -> World:
    world = World()
    world.act("declare", 1, 0)
    world.quiet()
    return world


def parked(world: World, name: str = LINK) -> Link:
    assert world.decide(lambda state, _: park(state, name, "merging", "KeyError: 'state'"))
    return world.state.links[name]


def park_late(name: str, state: State, _at_s: float) -> Change[bool]:
    return park(state, name, "writing", "KeyError")


def test_a_parked_link_is_neither_merged_nor_written_and_says_why() -> None:
    world = linked()
    world.step(IncidentEdited("INC-1", {"title": "VPN"}), by="ann")
    world.act("merge", 0, 0)
    assert world.state.links[LINK].outbox is not None
    link = parked(world)
    assert (link.state, link.outbox) == ("parked", None)
    assert not world.state.dirty[INTEGRATION]
    assert len(world.state.outbox[INTEGRATION]) == 0
    assert "merging it failed twice: KeyError: 'state'" in link.reason
    assert "im integration reconcile prod --auto-heal" in link.reason
    position = world.state.position
    parked(world)
    assert world.state.position == position


def test_an_edit_of_the_incident_tries_again_and_delivers_what_had_waited() -> None:
    world = linked()
    world.step(IncidentEdited("INC-1", {"title": "VPN"}), by="ann")
    parked(world)
    world.step(IncidentEdited("INC-1", {"severity": "SEV-1"}), by="ann")
    assert (world.state.links[LINK].state, world.state.links[LINK].reason) == ("active", "")
    world.quiet()
    assert world.unlisted() == []


def test_something_new_in_the_record_tries_again() -> None:
    world = linked()
    world.step(IncidentEdited("INC-1", {"title": "VPN"}), by="ann")
    parked(world)
    world.store("r2", {"description": "since noon"}, "agent")
    world.step(Observed(LINK, world.observe("r2")), by="x")
    assert world.state.links[LINK].state == "active"
    world.quiet()
    assert world.unlisted() == []
    assert world.state.incidents["INC-1"].description == "since noon"


def test_a_note_on_the_incident_tries_again_and_goes_to_the_record() -> None:
    world = linked()
    parked(world)
    world.step(NoteAdded("INC-1", "note-1", "seen by ann", "ann"), by="ann")
    link = world.state.links[LINK]
    assert link.state == "active"
    assert [entry.note_id for entry in next_entries(link) if isinstance(entry, NoteEntry)] == ["note-1"]
    link = parked(world)  # a note that waits is kept, and goes when its link is tried again
    assert [entry.note_id for entry in link.notes] == ["note-1"]
    assert next_entries(link) == ()


def test_a_verdict_on_its_conflict_tries_again() -> None:
    world = linked()
    world.change(conflict_strategy="manual-review", conflict_window="always")
    world.step(IncidentEdited("INC-1", {"title": "VPN"}), by="ann")
    world.store("r2", {"short_description": "Printer"}, "agent")
    world.quiet()
    parked(world)
    world.decide(verdicts.resolve("conflict-1", verdicts.Verdict("platform"), by="ann"), by="ann")
    assert world.state.links[LINK].state == "active"
    world.quiet()
    assert world.rows["r2"]["short_description"] == "VPN"


def test_other_settings_try_again_a_link_whose_conflict_waits() -> None:
    world = linked()
    world.change(conflict_strategy="manual-review", conflict_window="always")
    world.step(IncidentEdited("INC-1", {"title": "VPN"}), by="ann")
    world.store("r2", {"short_description": "Printer"}, "agent")
    world.quiet()
    parked(world)
    settings = replace(world.state.integrations[INTEGRATION].settings, conflict_strategy="last-write-wins")
    world.step(IntegrationChanged(INTEGRATION, settings), by="admin")
    assert world.state.links[LINK].state == "active"


def test_the_end_of_a_sweep_tries_all_again_with_or_without_a_record() -> None:
    world = linked()
    world.step(IncidentDeclared("INC-9", "t", "SEV-1"), by="ann")
    world.step(LinkOpened(f"{INTEGRATION}/INC-9", INTEGRATION, "INC-9"), by="x")
    parked(world)
    assert parked(world, f"{INTEGRATION}/INC-9").external_id == ""
    world.decide(lambda state, _: release(state, INTEGRATION))
    assert {name: link.state for name, link in world.state.links.items()} == {
        LINK: "active",
        f"{INTEGRATION}/INC-9": "pending",
    }
    position = world.state.position
    world.decide(lambda state, _: release(state, INTEGRATION))
    world.decide(lambda state, _: release(state, "int_9"))
    assert world.state.position == position
    world.quiet()
    assert world.unlisted() == []


def test_a_record_made_by_a_parked_create_is_adopted_and_not_made_twice() -> None:
    world = World()
    world.act("declare", 1, 0)
    world.act("open", 0, 0)
    world.act("send", 0, 0)
    world.act("go on", 0, 0)
    world.act("go on", 0, 0)  # the record is there, and its echo is what we fail on
    parked(world)
    world.quiet()
    assert world.state.links[LINK].state == "active"
    assert world.unlisted() == []
    assert len(world.rows) == 1


def test_beyond_a_fifth_of_the_links_it_is_not_the_records() -> None:
    world = World()
    for number in range(60):
        world.step(IncidentDeclared(f"INC-{number}", "t", "SEV-1"), by="ann")
        world.step(LinkOpened(f"{INTEGRATION}/INC-{number}", INTEGRATION, f"INC-{number}"), by="x")
    taken = [world.decide(partial(park_late, name)) for name in list(world.state.links)[:20]]
    assert taken == [True] * 12 + [False] * 8
    few = linked()
    for number in range(PARKED_MAX):
        few.step(IncidentDeclared(f"INC-x{number}", "t", "SEV-1"), by="ann")
        few.step(LinkOpened(f"{INTEGRATION}/INC-x{number}", INTEGRATION, f"INC-x{number}"), by="x")
        parked(few, f"{INTEGRATION}/INC-x{number}")
    assert not few.decide(lambda state, _: park(state, LINK, "writing", "KeyError"))
    assert few.decide(lambda state, _: park(state, f"{INTEGRATION}/INC-gone", "writing", "KeyError"))


def many(count: int) -> World:
    """So many linked incidents."""
    world = World()
    for number in range(count):
        world.act("declare", number, 0)
    world.quiet()
    return world


def test_a_run_may_park_so_many_and_a_forced_one_all_whatever_was_parked_before() -> None:
    world = many(14)
    ids = [link.external_id for link in world.state.links.values()]
    integration, at = world.state.integrations[INTEGRATION], world.state.position
    assert len(ids) == 14
    assert gone(world.state, integration, ids[:11], at) == []
    assert len(gone(world.state, integration, ids[:11], at, forced=True)) == 11
    for event in gone(world.state, integration, ids[:10], at):
        world.step(event, by="x")
    assert len(gone(world.state, integration, ids[10:], at)) == 4
    assert gone_one_by_one(world.state, integration, ids[10:11], at) == []


def test_what_somebody_was_shown_after_the_look_was_asked_for_is_not_gone() -> None:
    world = linked()
    link = world.state.links[LINK]
    integration = world.state.integrations[INTEGRATION]
    assert gone(world.state, integration, [link.external_id], link.observed_at - 1) == []
    assert gone(world.state, integration, [link.external_id], link.observed_at) != []
