"""The watchdog's question: who has not got on, and who only waits."""

import ast
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
import trio.testing

from syncd.actors import integration, pulse
from syncd.actors.breaker import Breaker
from syncd.actors.containment import Containment
from syncd.actors.doorbell import Doorbell
from syncd.actors.pulse import Watch, resting, watched
from syncd.actors.supervisor import RestartPolicy, Start, supervise
from syncd.errors import ExternalFailed
from syncd.house import House
from syncd.journal.writer import Journal
from syncd.seams import SystemClock, SystemDisk, ThreadWork
from tests.simulation.plan import draw
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


# Who sleeps for longer than a moment says that it rests, or the service manager would start the daemon anew.
MOMENTS = {
    "await trio.sleep(AGAIN_AFTER_S)",
    "await trio.sleep(PATIENCE_S)",
    "await trio.sleep(delay_s(len(failed_at), 0.0, rng.random()))",  # of the supervisor, which is not watched
    "await trio.sleep_until(self._until)",  # wait_doubtful, which rests as a whole
}


def test_no_actor_sleeps_without_saying_that_it_rests() -> None:
    found = []
    for path in sorted((Path(pulse.__file__)).parent.glob("*.py")):
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


def test_whichever_actor_of_an_integration_gets_stuck_it_is_the_one_that_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each actor that there is, in a house of its own, waits for ever instead of doing its work."""
    names: list[str] = []
    late: dict[str, list[str]] = {}

    def run_with(stuck: str) -> None:
        async def started(name: str, start: Start, *rest: Any) -> None:
            names.append(name)
            await supervise(name, trio.sleep_forever if name == stuck else start, *rest)

        async def story(world: World) -> None:
            await trio.sleep(40)
            assert world.house is not None
            late[stuck] = world.house.late(LATE_S)

        monkeypatch.setattr(integration, "supervise", started)
        simulate(lambda rng: lambda: World(rng).run(story), 1)

    run_with("nobody")
    actors = sorted(set(names))
    for name in actors:
        run_with(name)
    assert len(actors) >= 6
    assert late == {"nobody": [], **{name: [name] for name in actors}}
