"""What an import makes of each record, and that its place and its records are one step."""

import pytest
from msgspec.structs import replace

from syncd.core import importing, sending
from syncd.core.events import LinkRemoved
from syncd.core.fold_import import LEFT_KEPT_MAX
from syncd.core.hints import Read
from syncd.core.importing import WantedImport
from syncd.core.model import ImportRun, Observation
from syncd.core.sending import Offset, correlation_id
from syncd.errors import WrongState
from tests.core.promises import INTEGRATION
from tests.core.table import ACCOUNT
from tests.core.world import World

QUERY = WantedImport("active=true", dry_run=False)


def old(name: str, **values: object) -> Observation:
    """A record from long before the integration."""
    columns = {"short_description": f"old {name}", "priority": "3", "state": "2", "description": ""}
    usual = {"number": f"INC{name}", "mod_count": 1, "created_at_s": 5.0, "created_by": "agent"}
    return Observation(name, columns, **{**usual, **values})  # type: ignore[arg-type] # each test gives what matters


def begin(world: World, query: WantedImport = QUERY, run_id: str = "import-1") -> ImportRun:
    return world.decide(
        lambda state, at_s: importing.start(state, at_s, INTEGRATION, query, run_id=run_id, by="user:ann")
    )


def take(world: World, *rows: Observation, run_id: str = "import-1") -> bool:
    names = frozenset(seen.external_id for seen in rows)
    ids = tuple(f"W{world.state.position}{number}" for number in range(len(rows)))
    read = Read(world.state.position, (), rows, frozenset(), ids, Offset(), noted=names, imported=names)
    return world.decide(lambda state, at_s: importing.take(state, at_s, INTEGRATION, run_id, read, rows, len(rows)))


def present(world: World) -> ImportRun:
    run = world.state.integrations[INTEGRATION].importing
    assert run is not None
    return run


def linked() -> World:
    world = World()
    world.act("declare", 1, 0)
    world.act("open", 0, 0)
    world.quiet()
    return world


def test_each_record_has_its_fate_which_a_dry_run_foretells() -> None:
    world = linked()
    (link,) = world.state.links.values()
    begin(world)
    assert link.observed is not None
    rows = [
        old("a1"),
        link.observed,
        old("z1", correlation_id=correlation_id(link)),
        old("z2", correlation_id="syncd:int_other:INC-9"),
    ]
    integration = world.state.integrations[INTEGRATION]
    foretold = [importing.fate_of(world.state, integration, seen) for seen in rows]
    assert foretold == ["imported", "linked", "ours", "ours"]
    fates = dict(zip((seen.external_id for seen in rows), foretold, strict=True))
    (coming,) = importing.coming(world.state, integration, rows, fates, Offset())
    assert coming == importing.Coming("a1", "INCa1", None, "old a1", "SEV-3", "open")
    assert take(world, *rows)
    assert present(world).counts == {"imported": 1, "linked": 1, "ours": 2}
    assert {one.external_id for one in present(world).left} == {"z1", "z2"}
    assert len(world.state.incidents) == 2


def test_what_a_person_unlinked_stays_unlinked() -> None:
    world = linked()
    (link,) = world.state.links.values()
    assert link.observed is not None
    world.step(LinkRemoved(link.id), by="admin")
    begin(world)
    take(world, replace(link.observed, correlation_id=""))
    assert present(world).counts == {"unlinked": 1}
    assert not world.state.links


def test_a_pending_incident_adopts_its_record_and_no_copy_of_it() -> None:
    world = World()
    world.act("declare", 1, 0)
    world.act("open", 0, 0)
    (link,) = world.state.links.values()
    assert link.state == "pending"
    begin(world)
    both = [old(name, correlation_id=correlation_id(link), created_at_s=9.0) for name in ("b1", "b2")]
    integration, (incident,) = world.state.integrations[INTEGRATION], world.state.incidents.values()
    (coming,) = importing.coming(world.state, integration, both[:1], {"b1": "adopted"}, Offset())
    assert (coming.incident_id, coming.title) == (incident.id, incident.title)
    take(world, *both)
    assert present(world).counts == {"adopted": 1, "ours": 1}
    assert len(world.state.incidents) == 1


def test_the_same_page_again_doubles_nothing() -> None:
    world = World()
    begin(world)
    rows = [old(f"r{number}") for number in range(5)]
    take(world, *rows)
    take(world, *rows)
    assert len(world.state.incidents) == 5
    assert present(world).counts == {"imported": 5, "linked": 5}
    assert world.replayed().incidents == world.state.incidents


def test_an_import_that_was_stopped_takes_nothing_and_goes_on_with_the_same_query_alone() -> None:
    world = World()
    begin(world)
    take(world, old("r1"))
    world.decide(lambda state, _: importing.stop(state, INTEGRATION, "stopped by ann"))
    assert not take(world, old("r2"))
    assert len(world.state.incidents) == 1
    assert begin(world, run_id="import-2").id == "import-1"
    assert (present(world).status, present(world).cursor) == ("running", "r1")
    with pytest.raises(WrongState, match="import-1 is under way"):
        begin(world, WantedImport("active=false", dry_run=False))
    world.decide(lambda state, _: importing.end(state, INTEGRATION, "import-1", ""))
    assert begin(world, run_id="import-3").id == "import-3"
    assert present(world).cursor == ""


def test_a_record_that_fails_is_passed_over_and_named() -> None:
    world = World()
    begin(world)
    world.decide(lambda state, _: importing.pass_over(state, INTEGRATION, "import-1", old("r1")))
    assert (present(world).cursor, present(world).counts) == ("r1", {"failed": 1})
    assert "the log has the cause" in present(world).left[0].why


def test_of_those_that_stay_the_first_are_kept() -> None:
    world = World()
    begin(world)
    take(world, *(old(f"r{number:03d}", correlation_id="syncd:x:y") for number in range(LEFT_KEPT_MAX + 10)))
    assert len(present(world).left) == LEFT_KEPT_MAX


def test_a_record_that_a_create_under_way_may_have_made_waits() -> None:
    world = World()
    world.act("declare", 1, 0)
    world.act("open", 0, 0)
    (link,) = world.state.links.values()
    world.decide(lambda state, at_s: sending.prepare_create(state, at_s, link.id))
    begin(world)
    take(world, old("r1", created_by=ACCOUNT))
    assert present(world).counts == {"unsure": 1}


def test_rate_and_rest_count_from_when_it_went_on() -> None:
    world = World()
    begin(world)
    world.now_s += 10
    names = frozenset({"r1"})
    read = Read(world.state.position, (), (old("r1"),), frozenset(), ("W",), Offset(), noted=names, imported=names)
    world.decide(lambda state, at_s: importing.take(state, at_s, INTEGRATION, "import-1", read, [old("r1")], 5))
    shown = importing.view(world.state.integrations[INTEGRATION], present(world))
    assert (shown.checked, shown.total, shown.rate, shown.remaining_s) == (1, 5, 0.1, 40.0)
