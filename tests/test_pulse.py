"""The watchdog's question: who has not got on, and who only waits."""

import ast
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
import trio.testing

from syncd import actors, journal
from syncd.actors import integration
from syncd.actors.breaker import Breaker
from syncd.actors.containment import Containment
from syncd.actors.doorbell import Doorbell
from syncd.actors.supervisor import RestartPolicy, Start, supervise
from syncd.daemon import _feed_watchdog
from syncd.edges.api import serve
from syncd.errors import ExternalFailed
from syncd.house import House
from syncd.journal.keeper import Keeper
from syncd.journal.writer import Journal
from syncd.pulse import DISK_S_MAX, Watch, resting, unwatched, watched
from syncd.seams import SystemClock, SystemDisk, ThreadWork
from syncd.service_manager import ServiceManager
from tests.actors.stage import INTEGRATIONS, restart
from tests.simulation.disk import SimWork
from tests.simulation.kinds import draw
from tests.simulation.runner import simulate
from tests.simulation.stories import run
from tests.simulation.world import World

LATE_S = 30.0


async def after(wait_s: float, *actors: Callable[[], Awaitable[None]]) -> list[str]:
    """Who is late when these have run for so long."""
    watch = Watch()
    async with trio.open_nursery() as nursery:
        watch.begin()
        for number, actor in enumerate(actors, start=1):
            nursery.start_soon(partial(supervise, f"actor {number}", actor, RestartPolicy(), Random(1)))
        await trio.sleep(wait_s)
        late = watch.late(LATE_S)
        nursery.cancel_scope.cancel()
    assert watch.late(0) == []  # what has ended is not watched any more
    return late


async def for_ever() -> None:
    await trio.sleep_forever()


async def test_an_actor_that_waits_for_what_never_comes_is_late_and_named(
    autojump_clock: trio.testing.MockClock,
) -> None:
    assert await after(29, for_ever) == []
    assert await after(31, for_ever) == ["actor 1"]


async def test_who_waits_at_its_doorbell_or_for_the_instance_is_not_late(
    autojump_clock: trio.testing.MockClock,
) -> None:
    breaker = Breaker(Random(1), 1)

    async def never_answers() -> None:
        await breaker.ask(trio.sleep_forever)

    async def waits_for_its_turn() -> None:
        await trio.sleep(1)
        await breaker.ask(trio.sleep_forever)

    assert await after(4000, Doorbell().wait, never_answers, waits_for_its_turn) == []


async def test_who_is_stuck_after_an_answer_is_late(autojump_clock: trio.testing.MockClock) -> None:
    breaker = Breaker(Random(1), 1)

    async def answers() -> None:
        await trio.sleep(100)

    async def actor() -> None:
        for _ in range(10):
            await breaker.ask(answers)
            await trio.sleep(1)
        await trio.sleep_forever()

    assert await after(1010, actor) == []
    assert await after(1050, actor) == ["actor 1"]


async def test_work_on_a_link_that_hangs_is_late_though_its_actor_goes_on(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    disk, clock, work = SystemDisk(), SystemClock(), ThreadWork()
    journal = await Journal.open(disk, tmp_path, clock, work)
    containment, bell = Containment("integration:prod-snow", journal), Doorbell()

    async def router() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(containment.run, "merging", "link-1", for_ever(), "")
            while True:
                await bell.wait(1.0)

    assert await after(31, router) == ["prod-snow merging"]


async def test_a_restart_begins_anew(autojump_clock: trio.testing.MockClock) -> None:
    async def actor() -> None:
        await trio.sleep(25)
        raise ExternalFailed("unavailable", "again")

    assert await after(60, actor) == []


async def test_resting_and_watching_mean_nothing_where_nobody_watches() -> None:
    with watched("x"), resting():
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("tasks", [1, 2])
async def test_an_actor_rests_as_long_as_one_of_its_tasks_does(
    tasks: int, autojump_clock: trio.testing.MockClock
) -> None:
    async def rest(wait_s: float) -> None:
        with resting():
            await trio.sleep(wait_s)

    async def actor() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(tasks):
                nursery.start_soon(rest, 100.0 * (number + 1))
            await trio.sleep_forever()

    assert await after(100.0 * tasks - 1, actor) == []
    assert await after(100.0 * tasks + 31, actor) == ["actor 1"]


def test_in_worlds_full_of_trouble_nobody_is_called_late(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    serve = World._serve

    async def watched_serve(world: World, house: House, up: trio.Event) -> None:
        async def look() -> None:
            nonlocal looks
            while True:
                await trio.sleep(5)
                looks += 1
                assert house.late(LATE_S) == []

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            await serve(world, house, up)
            nursery.cancel_scope.cancel()

    monkeypatch.setattr(World, "_serve", watched_serve)
    for kind, seed in [("days", 1), ("days", 2), ("days", 3), ("slow", 1), ("outage", 1)]:
        run(draw(kind, seed), Counter())
    assert looks > 500


async def test_what_is_started_unwatched_neither_rests_nor_gets_on_for_who_started_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def actor() -> None:
        async with trio.open_nursery() as nursery:
            unwatched().run(nursery.start_soon, partial(Doorbell().wait))
            unwatched().run(nursery.start_soon, partial(supervise, "actor 2", for_ever, RestartPolicy(), Random(1)))
            await Doorbell().wait()

    assert await after(31, actor) == ["actor 2"]

    async def stuck() -> None:
        async with trio.open_nursery() as nursery:
            unwatched().run(nursery.start_soon, partial(Doorbell().wait))
            await trio.sleep_forever()

    assert await after(31, stuck) == ["actor 1"]


async def test_a_rest_with_a_limit_is_rest_as_long_as_that(autojump_clock: trio.testing.MockClock) -> None:
    async def actor() -> None:
        with resting(100.0):
            await trio.sleep_forever()

    assert await after(129, actor) == []
    assert await after(131, actor) == ["actor 1"]


class Manager(ServiceManager):
    """Hears when it was told that all is well."""

    def __init__(self) -> None:
        super().__init__({}, 0)
        self.fed_at: list[float] = []

    def tell(self, *lines: str) -> None:
        assert lines == ("WATCHDOG=1",)
        self.fed_at.append(trio.current_time())


@pytest.mark.parametrize("stuck_at", [100.0 + 1.7 * number for number in range(20)])
async def test_whenever_somebody_gets_stuck_the_watchdog_runs_out_within_twice_its_time(
    stuck_at: float, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    manager, watch = Manager(), Watch()

    async def actor() -> None:
        await Doorbell().wait(stuck_at)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        watch.begin()
        nursery.start_soon(supervise, "actor", actor, RestartPolicy(), Random(1))
        nursery.start_soon(_feed_watchdog, manager, LATE_S, watch.late)
        await trio.sleep(500)
        nursery.cancel_scope.cancel()
    gaps = [after - before for before, after in pairwise(manager.fed_at)]
    assert max(gaps) == LATE_S / 2
    assert stuck_at < manager.fed_at[-1] + LATE_S <= stuck_at + 2 * LATE_S
    assert [one.message for one in caplog.records] == ["the watchdog is not fed: no progress"]  # once


# Who sleeps for longer than a moment says that it rests, or the service manager would start the daemon anew.
MOMENTS = {
    "await trio.sleep(AGAIN_AFTER_S)",
    "await trio.sleep(PATIENCE_S)",
    "await trio.sleep(delay_s(len(failed_at), 0.0, rng.random()))",  # of the supervisor, which is not watched
    "await trio.sleep_until(self._until)",  # wait_doubtful, which rests as a whole
    "await trio.sleep(RETRY_S)",  # of the journal's writer
    "await trio.sleep(SCRUB_REST_S)",
    "await trio.sleep(ACCEPT_PAUSE_S)",
}


def test_nobody_who_is_watched_sleeps_without_saying_that_it_rests() -> None:
    found = []
    rooms = [Path(one.__file__ or "").parent.glob("*.py") for one in (actors, journal)]
    for path in sorted([*chain(*rooms), Path(serve.__file__)]):
        tree = ast.parse(path.read_text())
        resting_lines = {
            line
            for node in ast.walk(tree)
            if isinstance(node, ast.With) and "resting()" in ast.unparse(node).partition(":")[0]
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
        }
        found += [
            f"{path.name}:{node.lineno}: {ast.unparse(node)}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Await)
            and ast.unparse(node).startswith("await trio.sleep")
            and node.lineno not in resting_lines
            and ast.unparse(node) not in MOMENTS
        ]
    assert found == []


def late_with(stuck: Callable[[World], None], act: Callable[[World], Awaitable[None]], wait_s: float) -> list[str]:
    """Who is late in a house in which something got stuck while all was well."""
    late: list[str] = []

    async def story(world: World) -> None:
        await trio.sleep(10)
        stuck(world)
        await act(world)
        await trio.sleep(wait_s)
        assert world.house is not None
        late.extend(world.house.late(LATE_S))

    simulate(lambda rng: lambda: World(rng).run(story), 1)
    return late


async def nothing(_: World) -> None:
    await trio.lowlevel.checkpoint()


def test_whichever_actor_of_an_integration_gets_stuck_it_is_the_one_that_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each actor that there is, in a house of its own, waits for ever instead of doing its work."""
    names: list[str] = []

    def late_when_stuck(stuck: str) -> list[str]:
        async def started(name: str, start: Start, *rest: Any) -> None:
            names.append(name)
            await supervise(name, trio.sleep_forever if name == stuck else start, *rest)

        monkeypatch.setattr(integration, "supervise", started)
        return late_with(lambda _: None, nothing, 30)

    late = {"nobody": late_when_stuck("nobody")}
    actors = sorted(set(names))
    for name in actors:
        late[name] = late_when_stuck(name)
    assert len(actors) >= 6
    assert late == {"nobody": [], **{name: [name] for name in actors}}


async def never(*_: object) -> None:
    await trio.sleep_forever()


# What the house has beside its integrations, and where each one is made to wait for ever.
HOUSEHOLD: dict[str, Callable[[House], tuple[object, str]]] = {
    "journal writer": lambda _: (Journal, "_commit"),
    "roster": lambda house: (house.roster._bell, "wait"),
    "scrub": lambda _: (Keeper, "_scrub_daily"),
    "snapshot keeper": lambda _: (Keeper, "_take_snapshots"),
}


@pytest.mark.parametrize("name", HOUSEHOLD)
def test_whoever_of_the_household_gets_stuck_is_the_one_that_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stuck(world: World) -> None:
        assert world.house is not None
        monkeypatch.setattr(*HOUSEHOLD[name](world.house), never)

    async def have_it_work(world: World) -> None:
        if name in {"scrub", "snapshot keeper"}:  # they begin with the daemon
            await restart(world)
        await world.ask("PATCH", f"{INTEGRATIONS}/{world.integration_id}", {"poll_interval": "10s"})

    assert late_with(stuck, have_it_work, 31) == [name]


async def wait_for_the_disk(world: World) -> None:
    """See that the disk is silent."""
    body: dict[str, object] = {"title": "waits for the disk", "severity": "SEV-2"}
    declared = await world.ask("POST", "/api/v1/incidents", body)
    ready, shown = await world.ask("GET", "/ready", b""), await world.ask("GET", "/api/v1/incidents", b"")
    assert [one and one.status_code for one in (declared, ready, shown)] == [503, 503, 503]
    status = await world.ask("GET", "/api/v1/status", b"")
    assert status is not None
    assert status.json()["journal"]["disk"] == "silent"
    assert "does not answer" in status.json()["reasons"][0]


@pytest.mark.parametrize(("silent_s", "late"), [(DISK_S_MAX, []), (math.inf, ["journal writer"])])
def test_a_disk_that_does_not_answer_is_waited_for_and_in_the_end_its_writer_is_named(
    silent_s: float, late: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = SimWork.run

    def hang(_: World) -> None:
        answers_at = trio.current_time() + silent_s

        async def hung(work: SimWork, *call: Any) -> object:
            await trio.sleep_until(answers_at)
            return await run(work, *call)

        monkeypatch.setattr(SimWork, "run", hung)

    async def wait(world: World) -> None:
        await wait_for_the_disk(world)
        await trio.sleep(DISK_S_MAX - 30)
        assert world.house is not None
        assert world.house.late(LATE_S) == []
        await trio.sleep(30)
        if silent_s < math.inf:
            status = await world.ask("GET", "/api/v1/status", b"")
            assert [one.title for one in world.house.journal.state.incidents.values()] == ["waits for the disk"]
            assert status is not None
            assert (status.json()["journal"]["disk"], status.json()["reasons"]) == ("ok", [])

    assert late_with(hang, wait, LATE_S + 1) == late
