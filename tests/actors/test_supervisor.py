"""Restarts with growing pauses, an end to them, and what no restart may hold back."""

from collections.abc import Awaitable, Callable
from itertools import pairwise
from random import Random

import pytest
import trio
from trio.testing import MockClock

from syncd.actors.supervisor import RestartPolicy, supervise
from syncd.errors import ActorGaveUp, JournalFailed

POLICY = RestartPolicy()


class AlwaysLate(Random):
    """Jitter at its upper end, so that pauses can be told."""

    def random(self) -> float:
        """The upper end."""
        return 1.0


@pytest.fixture
def autojump_clock() -> MockClock:
    """Virtual time; pytest-trio runs the test under it."""
    return MockClock(autojump_threshold=0)


def failing(times: int, error: Exception, starts: list[float]) -> Callable[[], Awaitable[None]]:
    """An actor that fails so often and then ends; notes when it was started."""

    async def start() -> None:
        starts.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if len(starts) <= times:
            raise error

    return start


async def test_an_actor_is_restarted_after_pauses_that_grow(autojump_clock: MockClock) -> None:
    starts: list[float] = []
    await supervise("one", failing(4, ValueError("bad luck"), starts), POLICY, AlwaysLate())
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    assert pauses == [2.0, 4.0, 8.0, 15.0]


async def test_five_failures_within_ten_minutes_are_the_end_and_name_the_actor(autojump_clock: MockClock) -> None:
    starts: list[float] = []
    with pytest.raises(ActorGaveUp, match=r"the sender failed 5 times") as caught:
        await supervise("the sender", failing(99, ValueError("again"), starts), POLICY, AlwaysLate())
    assert len(starts) == 5
    assert isinstance(caught.value.__cause__, ValueError)


async def test_failures_far_apart_never_add_up(autojump_clock: MockClock) -> None:
    starts: list[float] = []

    async def start() -> None:
        starts.append(trio.current_time())
        await trio.sleep(200)  # four of them fit into ten minutes, five do not
        if len(starts) < 20:
            raise ValueError("now and then")

    await supervise("one", start, POLICY, AlwaysLate())
    assert len(starts) == 20


async def test_an_actor_that_ends_by_itself_is_not_started_again(autojump_clock: MockClock) -> None:
    starts: list[float] = []
    await supervise("one", failing(0, ValueError(), starts), POLICY, AlwaysLate())
    assert len(starts) == 1


@pytest.mark.parametrize("depth", range(3))
async def test_a_journal_failure_passes_through_whatever_group_it_is_in(autojump_clock: MockClock, depth: int) -> None:
    error: Exception = JournalFailed("the disk is gone")
    for _ in range(depth):
        error = ExceptionGroup("nursery", [ValueError("a neighbour"), error])
    starts: list[float] = []
    caught: list[BaseException] = []
    try:
        await supervise("one", failing(9, error, starts), POLICY, AlwaysLate())
    except* JournalFailed as group:
        caught.append(group)
    except* ValueError:
        pass
    assert caught
    assert len(starts) == 1


async def test_a_group_without_a_journal_failure_is_an_ordinary_failure(autojump_clock: MockClock) -> None:
    starts: list[float] = []
    group = ExceptionGroup("nursery", [ValueError("one"), KeyError("two")])
    await supervise("one", failing(1, group, starts), POLICY, AlwaysLate())
    assert len(starts) == 2


async def test_cancellation_is_no_failure_and_passes(autojump_clock: MockClock) -> None:
    starts: list[float] = []

    async def start() -> None:
        starts.append(trio.current_time())
        await trio.sleep_forever()

    with trio.move_on_after(5) as scope:
        await supervise("one", start, POLICY, AlwaysLate())
    assert scope.cancelled_caught
    assert len(starts) == 1


async def test_it_can_be_cancelled_while_it_waits_to_restart(autojump_clock: MockClock) -> None:
    starts: list[float] = []
    with trio.move_on_after(1.5) as scope:
        await supervise("one", failing(9, ValueError("no"), starts), POLICY, AlwaysLate())
    assert scope.cancelled_caught
    assert len(starts) == 1
