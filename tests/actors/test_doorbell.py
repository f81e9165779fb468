"""A bell that rings is enough: ringing never waits, and no ring is lost."""

import pytest
import trio
from trio.testing import MockClock

from syncd.actors.doorbell import Doorbell


@pytest.fixture
def autojump_clock() -> MockClock:
    """Virtual time; pytest-trio runs the test under it."""
    return MockClock(autojump_threshold=0)


async def test_a_ring_before_the_wait_is_not_lost(autojump_clock: MockClock) -> None:
    bell = Doorbell()
    bell.ring()
    with trio.fail_after(1):
        await bell.wait()
    assert trio.current_time() == pytest.approx(0)


async def test_many_rings_are_one(autojump_clock: MockClock) -> None:
    bell = Doorbell()
    for _ in range(1000):
        bell.ring()
    await bell.wait()
    with trio.move_on_after(5) as scope:
        await bell.wait()
    assert scope.cancelled_caught


async def test_a_ring_ends_a_wait_that_has_begun(autojump_clock: MockClock) -> None:
    bell = Doorbell()
    woken: list[float] = []

    async def wait() -> None:
        await bell.wait(60)
        woken.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.sleep(3)
        bell.ring()
    assert woken == [pytest.approx(3)]


@pytest.mark.parametrize("for_s", [0.0, 0.5, 30.0])
async def test_a_wait_without_a_ring_ends_in_time(autojump_clock: MockClock, for_s: float) -> None:
    began = trio.current_time()
    await Doorbell().wait(for_s)
    assert trio.current_time() - began == pytest.approx(for_s)


async def test_a_ring_after_a_wait_that_timed_out_is_there_for_the_next(autojump_clock: MockClock) -> None:
    bell = Doorbell()
    await bell.wait(1)
    bell.ring()
    with trio.fail_after(1):
        await bell.wait()
