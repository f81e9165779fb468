"""When an instance is left alone, for how long, and who goes first when it may be asked again."""

from collections.abc import Awaitable, Callable
from itertools import pairwise
from random import Random

import pytest
import trio
from trio.testing import MockClock

from syncd.actors.breaker import Breaker
from syncd.errors import ExternalFailed, Outcome


@pytest.fixture
def autojump_clock() -> MockClock:
    """Virtual time; pytest-trio runs the test under it."""
    return MockClock(autojump_threshold=0)


def breaker(concurrency: int = 4) -> Breaker:
    return Breaker(Random(1), concurrency)


class Instance:
    """Answers every request after ``takes_s`` with ``failure``, or well; notes when each came."""

    def __init__(self, takes_s: float = 0.01) -> None:
        self.failure: ExternalFailed | None = None
        self.takes_s = takes_s
        self.asked_at: list[float] = []
        self.under_way = 0
        self.under_way_max = 0

    async def answer(self) -> str:
        self.asked_at.append(trio.current_time())
        failure, self.under_way = self.failure, self.under_way + 1
        self.under_way_max = max(self.under_way_max, self.under_way)
        try:
            await trio.sleep(self.takes_s)
        finally:
            self.under_way -= 1
        if failure is not None:
            raise failure
        return "a value"


def failure(outcome: Outcome, retry_after_s: float | None = None) -> ExternalFailed:
    return ExternalFailed(outcome, f"was {outcome}", status=500, retry_after_s=retry_after_s)


async def fails(one: Breaker, instance: Instance, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(ExternalFailed):
            await one.ask(instance.answer)


async def test_credentials_that_are_refused_count_also_where_a_429_came_in_between(autojump_clock: MockClock) -> None:
    one, instance, busy = breaker(), Instance(takes_s=0.02), Instance()
    instance.failure, busy.failure = failure("paused"), failure("throttled")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fails, one, instance)
        nursery.start_soon(fails, one, busy)
    await fails(one, instance)
    assert one.state == "paused"
    assert len(instance.asked_at) == 2


async def test_a_success_is_a_value_and_the_way_stays_open(autojump_clock: MockClock) -> None:
    one, instance = breaker(), Instance()
    assert await one.ask(instance.answer) == "a value"
    assert (one.state, one.wait_s, one.requests, one.errors) == ("closed", 0.0, 1, 0)


async def test_nothing_leaves_before_retry_after(autojump_clock: MockClock) -> None:
    one, instance = breaker(), Instance()
    instance.failure = failure("throttled", 30)
    await fails(one, instance)
    assert (one.state, one.throttled) == ("open", 1)
    instance.failure = None
    await one.ask(instance.answer)
    assert instance.asked_at[1] - instance.asked_at[0] >= 30
    assert one.state == "closed"


async def test_retry_after_of_days_is_an_hour(autojump_clock: MockClock) -> None:
    one, instance = breaker(), Instance()
    instance.failure = failure("throttled", 1e6)
    await fails(one, instance)
    assert one.wait_s == pytest.approx(3600)


async def test_an_answer_that_was_under_way_does_not_lift_the_throttle(autojump_clock: MockClock) -> None:
    one, slow, fast = breaker(), Instance(takes_s=2), Instance()
    fast.failure = failure("throttled", 60)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.ask, slow.answer)
        await trio.sleep(1)
        await fails(one, fast)
    assert one.wait_s == pytest.approx(59, abs=0.1)
    assert one.state == "open"


async def test_requests_that_wait_for_their_turn_wait_for_retry_after_too(autojump_clock: MockClock) -> None:
    one, instance = breaker(concurrency=2), Instance(takes_s=1)
    instance.failure = failure("throttled", 60)

    async def try_it() -> None:
        with trio.move_on_after(30), pytest.raises(ExternalFailed):
            await one.ask(instance.answer)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(try_it)
    assert len(instance.asked_at) == 2  # those that had left already


async def test_two_outages_close_nothing_and_three_do(autojump_clock: MockClock) -> None:
    one, instance = breaker(), Instance()
    instance.failure = failure("unavailable")
    await fails(one, instance, 2)
    assert (one.state, one.wait_s) == ("closed", 0.0)
    await fails(one, instance)
    assert one.state == "open"
    assert one.wait_s > 0
    assert one.last_failure is instance.failure


@pytest.mark.parametrize("outcome", ["unavailable", "ambiguous"])
async def test_while_it_is_down_it_is_probed_at_least_every_15_s_and_by_one_request(
    autojump_clock: MockClock, outcome: Outcome
) -> None:
    one, instance = breaker(), Instance(takes_s=0.5)
    instance.failure = failure(outcome)
    await fails(one, instance, 3)
    instance.under_way_max = 0

    async def go_on() -> None:
        while True:
            with pytest.raises(ExternalFailed):
                await one.ask(instance.answer)

    with trio.move_on_after(300):
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(go_on)
    gaps = [later - earlier for earlier, later in pairwise(instance.asked_at)]
    assert max(gaps) <= 15.6
    assert len(instance.asked_at) < 45
    assert instance.under_way_max == 1


async def test_the_first_success_after_an_outage_lets_everybody_go(autojump_clock: MockClock) -> None:
    one, instance = breaker(), Instance()
    instance.failure = failure("unavailable")
    await fails(one, instance, 5)
    instance.failure = None
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(one.ask, instance.answer)
    assert trio.current_time() - began <= 16
    assert (one.state, one.last_failure) == ("closed", None)


async def test_one_401_is_tried_once_more_and_two_pause_for_minutes(autojump_clock: MockClock) -> None:
    one, instance = breaker(), Instance()
    instance.failure = failure("paused")
    await fails(one, instance)
    assert one.state != "paused"
    assert 0 < one.wait_s <= 1
    await fails(one, instance)
    assert one.state == "paused"
    assert one.wait_s == pytest.approx(300)
    instance.failure = None
    await one.ask(instance.answer)
    assert (one.state, one.wait_s) == ("closed", 0.0)
    assert instance.asked_at[2] - instance.asked_at[1] >= 300


async def test_who_is_told_for_how_long_credentials_are_refused_is_paused_for_as_long(
    autojump_clock: MockClock,
) -> None:
    one, instance = breaker(), Instance()
    instance.failure = failure("paused", retry_after_s=120)
    await fails(one, instance)
    assert (one.state, one.wait_s) == ("paused", 120)
    instance.failure = None
    await one.ask(instance.answer)
    assert instance.asked_at[1] - instance.asked_at[0] >= 120
    instance.failure = failure("paused", retry_after_s=1)
    await fails(one, instance)
    assert (one.state, one.wait_s) == ("open", 1)


async def test_refusals_of_requests_that_left_together_are_one(autojump_clock: MockClock) -> None:
    one, instance = breaker(), Instance()
    instance.failure = failure("paused")
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(fails, one, instance)
    assert one.state != "paused"
    assert one.wait_s <= 1


async def test_wrong_credentials_are_shown_to_the_instance_once_every_five_minutes(autojump_clock: MockClock) -> None:
    one, instance = breaker(), Instance()
    instance.failure = failure("paused")

    async def go_on() -> None:
        while True:
            with pytest.raises(ExternalFailed):
                await one.ask(instance.answer)

    with trio.move_on_after(1000):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(go_on)
    assert len(instance.asked_at) <= 4 + 1 + 3  # the first ones at once, one more try, then a probe each time


@pytest.mark.parametrize("outcome", ["refused", "gone"])
async def test_a_refusal_of_one_record_says_that_the_instance_is_there(
    autojump_clock: MockClock, outcome: Outcome
) -> None:
    one, instance = breaker(), Instance()
    instance.failure = failure("unavailable")
    await fails(one, instance, 2)
    instance.failure = failure(outcome)
    await fails(one, instance)
    instance.failure = failure("unavailable")
    await fails(one, instance, 2)
    assert one.state == "closed"
    assert one.errors == 4


async def test_a_request_that_is_not_to_wait_is_refused_at_once_and_never_leaves(autojump_clock: MockClock) -> None:
    one, instance = breaker(), Instance()
    instance.failure = failure("ambiguous")
    await fails(one, instance, 3)
    began, requests = trio.current_time(), one.requests
    with pytest.raises(ExternalFailed) as caught:
        async with one.turn(waits=False):
            await one.made(instance.answer)
    assert caught.value.outcome == "unavailable"  # it had no effect, whatever the last one had
    assert "was ambiguous" in str(caught.value)
    assert trio.current_time() == began
    assert one.requests == requests == len(instance.asked_at)


async def test_a_cancelled_request_leaves_the_way_to_others(autojump_clock: MockClock) -> None:
    one, instance = breaker(concurrency=1), Instance(takes_s=100)
    with trio.move_on_after(1):
        await one.ask(instance.answer)
    instance.failure = failure("unavailable")
    instance.takes_s = 0.1
    await fails(one, instance, 4)
    instance.takes_s = 100
    with trio.move_on_after(50):
        await one.ask(instance.answer)  # a probe
    instance.failure, instance.takes_s = None, 0.1
    with trio.fail_after(20):
        await one.ask(instance.answer)


async def test_no_more_requests_at_once_than_were_allowed(autojump_clock: MockClock) -> None:
    one, instance = breaker(concurrency=3), Instance(takes_s=1)
    asking: Callable[[], Awaitable[object]] = instance.answer
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(one.ask, asking)
    assert instance.under_way_max == 3


class Doorkeeper(Instance):
    """What is asked before anything else."""

    async def admit(self) -> None:
        await self.answer()


def guarded() -> tuple[Breaker, Instance, Doorkeeper]:
    doorkeeper = Doorkeeper()
    return Breaker(Random(1), 4, "", doorkeeper.admit), Instance(), doorkeeper


async def test_the_first_of_all_requests_asks_who_is_there_and_once(autojump_clock: MockClock) -> None:
    one, instance, doorkeeper = guarded()
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(one.ask, instance.answer)
    assert (len(doorkeeper.asked_at), len(instance.asked_at)) == (1, 10)
    assert doorkeeper.asked_at[0] < instance.asked_at[0]


@pytest.mark.parametrize("outcome", ["paused", "unavailable"])
async def test_nothing_passes_while_who_is_there_is_not_known(autojump_clock: MockClock, outcome: Outcome) -> None:
    one, instance, doorkeeper = guarded()
    doorkeeper.failure = failure(outcome)
    for _ in range(4):
        with pytest.raises(ExternalFailed, match=outcome):
            await one.ask(instance.answer)
    assert (len(doorkeeper.asked_at), instance.asked_at) == (4, [])
    doorkeeper.failure = None
    assert await one.ask(instance.answer) == "a value"
    assert one.state == "closed"


async def test_after_a_doubt_who_is_there_is_asked_anew_and_not_after_a_429(autojump_clock: MockClock) -> None:
    one, instance, doorkeeper = guarded()
    await one.ask(instance.answer)
    instance.failure = failure("throttled", retry_after_s=5)
    await fails(one, instance)
    instance.failure = None
    await one.ask(instance.answer)
    assert len(doorkeeper.asked_at) == 1
    instance.failure = failure("unavailable")
    await fails(one, instance, 3)
    instance.failure = None
    await one.ask(instance.answer)
    assert len(doorkeeper.asked_at) == 2


async def test_what_may_wait_lets_those_first_who_wait_for_a_turn_but_not_for_ever(autojump_clock: MockClock) -> None:
    one, instance = breaker(1), Instance(takes_s=1.0)
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(one.ask, instance.answer)
        await trio.sleep(0.5)
        await one.others_first(30)
        assert trio.current_time() == 3  # three are done, and the last has its turn
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(one.ask, instance.answer)
        await trio.sleep(0.5)
        began = trio.current_time()
        await one.others_first(1.5)
        assert trio.current_time() == began + 1.5
