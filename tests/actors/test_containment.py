"""One record that we fail on is parked with the reason, and holds up nobody else; too many are our own fault."""

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest
import trio
from trio.testing import MockClock

from syncd.actors.containment import AGAIN_AFTER_S, REMEMBERED_S, Containment
from syncd.core import deciding, hints, sending, worknotes
from syncd.core.events import LinkParked
from syncd.core.state import State
from syncd.errors import JournalFailed
from tests.actors.stage import (
    INTEGRATIONS,
    ask,
    configure,
    create_record,
    declare,
    declared,
    edit,
    edit_record,
    in_world,
    incident,
    incident_of,
    link,
    record,
    restart,
    sync_status,
)
from tests.simulation.world import World

POISON = "poison"


@contextmanager
def failing_on_poison(module: object, name: str) -> Iterator[None]:
    """A bug in a function of the core, which strikes when the word is anywhere in what it is given."""
    sound: Callable[..., object] = getattr(module, name)

    def buggy(*given: object) -> object:
        if POISON in repr(given):
            raise LookupError("a case nobody thought of")
        return sound(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, buggy)
        yield


MERGING, READING, UPDATE, CREATE = (deciding, "decide"), (hints, "news"), (sending, "_update"), (sending, "_create")


async def parkings(world: World) -> int:
    """How often a link was parked."""
    assert world.house is not None
    records = await world.house.journal.since(0, 1_000_000)
    return sum(isinstance(event, LinkParked) for one in records for event in one.events)


async def links_shown(world: World) -> dict[str, dict[str, object]]:
    """What ``im integration links`` prints, by incident."""
    shown = await ask(world, "GET", f"{INTEGRATIONS}/{world.integration_id}/links")
    assert isinstance(shown, list)
    return {one["incident_id"]: one for one in shown}


@in_world()
async def test_a_record_that_crashes_its_merger_twice_is_parked_and_the_others_flow(world: World) -> None:
    bad, good = await declared(world, "bad"), [await declared(world, f"good {number}") for number in range(3)]
    with failing_on_poison(*MERGING):
        edit_record(world, bad, description=POISON)
        for name in good:
            edit_record(world, name, description="from an agent")
        await trio.sleep(0.9)
        assert [incident(world, name).description for name in good] == ["from an agent"] * 3
        assert link(world, bad).state == "active"  # it gets a second chance
        await trio.sleep(5)
        status, shown = await sync_status(world), (await links_shown(world))[bad]
        assert status["state"] == "degraded"
        assert status["reasons"] == ["1 link parked; see: im integration links demo"]
        assert status["links"] == {"total": 4, "active": 3, "pending": 0, "parked": 1}
        assert shown["state"] == "parked"
        assert "merging it failed twice: LookupError: a case nobody thought of" in str(shown["reason"])
        for name in good:
            await edit(world, name, title="from an engineer")
        await trio.sleep(5)
        assert [record(world, name)["short_description"] for name in good] == ["from an engineer"] * 3
        await edit(world, bad, severity="SEV-1")  # that does not mend it
        await trio.sleep(5)
        assert link(world, bad).state == "parked"
        assert await parkings(world) == 2
    await edit(world, bad, title="now it works")
    await trio.sleep(5)
    assert link(world, bad).state == "active"
    assert incident(world, bad).description == POISON
    assert record(world, bad)["short_description"] == "now it works"
    assert record(world, bad)["priority"] == "1"
    assert (await sync_status(world))["state"] == "healthy"


@in_world()
async def test_a_record_whose_row_crashes_us_does_not_block_the_batch_it_is_read_in(world: World) -> None:
    bad, good = await declared(world, "bad"), [await declared(world, f"good {number}") for number in range(3)]
    world.instance.set_webhook("", "")
    for name in [bad, *good]:
        edit_record(world, name, description=POISON if name == bad else "from an agent")
    new = create_record(world, "a new one")
    with failing_on_poison(*READING):
        await world.reconcile()
        await trio.sleep(0.5)
        assert [incident(world, name).description for name in good] == ["from an agent"] * 3
        assert incident_of(world, new)
        assert link(world, bad).state == "active"
        await trio.sleep(40)
        assert "reading it failed twice" in link(world, bad).reason
        assert not world.state.hints[world.integration_id]
    edit_record(world, bad, description="harmless")
    await world.reconcile()
    await trio.sleep(2)
    assert (link(world, bad).state, incident(world, bad).description) == ("active", "harmless")
    assert len(world.state.incidents) == len(world.instance.incidents()) == 5


@in_world()
async def test_a_note_that_crashes_us_parks_its_record_and_arrives_later_once(world: World) -> None:
    bad, good = await declared(world, "bad"), await declared(world, "good")
    with failing_on_poison(worknotes, "_taken_in"):
        edit_record(world, bad, work_notes=POISON)
        edit_record(world, good, work_notes="harmless")
        await trio.sleep(40)
        assert "reading it failed twice" in link(world, bad).reason
        assert [note.text for note in world.state.notes[good]] == ["harmless"]
    await world.reconcile()
    await trio.sleep(2)
    assert [note.text for note in world.state.notes[bad]] == [POISON]
    assert link(world, bad).state == "active"


@in_world()
async def test_a_new_record_that_crashes_us_is_given_up_until_it_is_told_of_again(world: World) -> None:
    await trio.sleep(3)
    with failing_on_poison(hints, "bring_in"):
        bad, good = create_record(world, POISON), create_record(world, "good")
        await trio.sleep(40)
        assert incident_of(world, good)
        assert not world.state.hints[world.integration_id]
    await world.reconcile()
    await trio.sleep(2)
    assert incident(world, incident_of(world, bad)).title == POISON


@in_world()
async def test_a_link_that_crashes_its_write_is_parked_and_the_others_are_written(world: World) -> None:
    bad, good = await declared(world, "bad"), [await declared(world, f"good {number}") for number in range(3)]
    with failing_on_poison(*UPDATE):
        await edit(world, bad, title=POISON)
        for name in good:
            await edit(world, name, title="from an engineer")
        await trio.sleep(0.9)
        assert [record(world, name)["short_description"] for name in good] == ["from an engineer"] * 3
        await trio.sleep(5)
        assert "writing it failed twice" in link(world, bad).reason
        assert not len(world.state.outbox[world.integration_id])
    edit_record(world, bad, description="the agent writes on")
    await trio.sleep(5)
    assert record(world, bad)["short_description"] == POISON
    assert incident(world, bad).description == "the agent writes on"


@in_world()
async def test_a_create_that_crashes_is_parked_and_made_once_by_the_next_life(world: World) -> None:
    with failing_on_poison(*CREATE):
        bad, good = await declare(world, POISON), await declare(world, "good")
        await trio.sleep(5)
        assert (link(world, bad).state, link(world, bad).external_id) == ("parked", "")
        assert link(world, good).state == "active"
        await restart(world)
        assert link(world, bad).state == "parked"
        await trio.sleep(5)
        assert await parkings(world) == 2  # the start has tried it again
    await restart(world)
    await trio.sleep(5)
    assert link(world, bad).state == "active"
    assert len(world.instance.incidents()) == 2


@in_world()
async def test_a_crash_after_the_post_was_answered_makes_no_second_record(world: World) -> None:
    with failing_on_poison(sending, "_writes_between"):
        bad = await declare(world, POISON)
        await trio.sleep(120)
        assert len(world.instance.incidents()) == 1
        assert link(world, bad).external_id  # found by its correlation id
    await world.reconcile()
    await trio.sleep(10)
    assert link(world, bad).state == "active"
    assert len(world.instance.incidents()) == 1


@in_world(rate_limit=100)
async def test_when_more_links_crash_than_records_can_be_bad_the_integration_is_halted_and_says_so(
    world: World,
) -> None:
    names = [await declare(world, f"incident {number}") for number in range(20)]
    await trio.sleep(10)
    with failing_on_poison(*MERGING):
        for name in names:
            edit_record(world, name, description=POISON)
        await trio.sleep(120)
        status = await sync_status(world)
        assert status["state"] == "paused"
        assert "router failed 5 times" in str(status["reasons"])
        shown = (await links_shown(world)).values()
        assert sum(one["state"] == "parked" for one in shown) == 10
    await configure(world, rate_limit=99)  # a person has looked
    await trio.sleep(10)
    assert {incident(world, name).description for name in names} == {POISON}
    assert (await sync_status(world))["state"] == "healthy"


# The containment by itself


class Books:
    """A journal that only counts who was parked."""

    def __init__(self) -> None:
        self.state = State()
        self.transactions = 0

    async def transact(self, decide: Callable[[State, float], object], *, by: str, trace: str) -> bool:
        await trio.lowlevel.checkpoint()
        self.transactions += 1
        return True


@pytest.fixture
def autojump_clock() -> MockClock:
    """Virtual time; pytest-trio runs the test under it."""
    return MockClock(autojump_threshold=0)


async def crash(error: Exception) -> None:
    await trio.lowlevel.checkpoint()
    raise error


def contained(books: Books) -> Callable[[Exception], Awaitable[bool]]:
    containment = Containment("integration:prod", books)  # type: ignore[arg-type] # it needs no more of a journal
    return lambda error: containment.run("merging", "int_1/INC-1", crash(error), "trace")


async def test_the_second_crash_parks_unless_it_comes_much_later(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    books = Books()
    run = contained(books)
    with caplog.at_level(logging.ERROR):
        for pause_s, parked in ((REMEMBERED_S + 1, 0), (AGAIN_AFTER_S, 0), (AGAIN_AFTER_S, 1), (0.0, 1)):
            assert not await run(ValueError("bad"))
            assert books.transactions == parked
            await trio.sleep(pause_s)
    assert [one.exc_info is not None for one in caplog.records] == [True] * 4


@pytest.mark.parametrize("depth", range(3))
async def test_a_journal_failure_is_nobody_s_record(depth: int) -> None:
    error: Exception = JournalFailed("the disk is gone")
    for _ in range(depth):
        error = ExceptionGroup("nursery", [ValueError("a neighbour"), error])
    books = Books()
    run = contained(books)
    for _ in range(2):
        with pytest.raises(type(error)):
            await run(error)
    assert books.transactions == 0


async def for_ever() -> None:
    await trio.sleep_forever()


async def test_cancellation_passes_and_is_no_crash(autojump_clock: MockClock) -> None:
    books = Books()
    containment = Containment("integration:prod", books)  # type: ignore[arg-type] # it needs no more of a journal
    for _ in range(3):
        with trio.move_on_after(1) as scope:
            await containment.run("merging", "int_1/INC-1", for_ever(), "trace")
        assert scope.cancelled_caught
    assert books.transactions == 0
