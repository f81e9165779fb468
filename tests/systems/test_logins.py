"""When a login may be tried, and how many wait meanwhile: refused ones lock an account."""

import math
from collections.abc import Callable

import httpx
import pytest
import trio
from trio.testing import MockClock

from syncd.errors import ExternalFailed
from syncd.systems.logins import ONCE_MORE_AFTER_S, PATIENCE_S, PROBE_AFTER_S, PROVED_S, Logins
from tests.systems.test_servicenow import JSON, Bytes, Scripted, client, rows


class Door:
    """Lets in who comes, or refuses him, after ``takes_s``; notes when each came."""

    def __init__(self, logins: Logins, takes_s: float = 0.1) -> None:
        self.logins = logins
        self.takes_s = takes_s
        self.is_open = True
        self.came_at: list[float] = []

    async def come(self) -> None:
        """``ExternalFailed`` for who is refused, or may not even come."""
        async with self.logins.turn():
            left_at, is_open = trio.current_time(), self.is_open
            self.came_at.append(left_at)
            await trio.sleep(self.takes_s)
            if is_open:
                self.logins.accepted(left_at)
                return
            error = ExternalFailed("paused", "User is not authenticated", status=401, detail="Required")
            self.logins.refused(error)
            raise error

    async def refuses(self) -> ExternalFailed:
        with pytest.raises(ExternalFailed) as caught:
            await self.come()
        return caught.value


@pytest.fixture
def door() -> Door:
    return Door(Logins(shows_secret=True))


async def together(door: Door, count: int, *, refused: bool = False) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(door.refuses if refused else door.come)


async def test_after_a_while_one_goes_first_and_the_others_when_it_was_let_in(
    autojump_clock: MockClock, door: Door
) -> None:
    await together(door, 4)
    assert door.came_at == [0.0, 0.1, 0.1, 0.1]
    await trio.sleep(PROVED_S / 2)
    await together(door, 4)
    assert door.came_at[4:] == [trio.current_time() - 0.1] * 4, "that was only just proved"
    await trio.sleep(PROVED_S)
    await together(door, 4)
    assert len(set(door.came_at[8:])) == 2


async def test_nobody_waits_for_long_for_one_who_is_slow(autojump_clock: MockClock, door: Door) -> None:
    door.takes_s = 20
    await together(door, 4)
    assert door.came_at == [0.0, PATIENCE_S, PATIENCE_S, PATIENCE_S]


async def test_of_many_at_once_one_is_refused_and_one_more_a_second_later(
    autojump_clock: MockClock, door: Door
) -> None:
    door.is_open = False
    await together(door, 20, refused=True)
    assert door.came_at == [0.0]
    await trio.sleep(ONCE_MORE_AFTER_S + 0.01)
    await together(door, 20, refused=True)
    assert len(door.came_at) == 2
    error = await door.refuses()
    assert (error.outcome, error.status, error.detail) == ("paused", 401, "Required")
    assert "not sent, the credentials were refused: User is not authenticated" in str(error)
    assert error.retry_after_s == pytest.approx(PROBE_AFTER_S, abs=0.01)
    await trio.sleep(error.retry_after_s or math.inf)
    await together(door, 20, refused=True)
    assert len(door.came_at) == 3, "after five minutes one more"


async def test_who_is_told_to_wait_is_let_through_when_he_has(autojump_clock: MockClock, door: Door) -> None:
    door.is_open = False
    await door.refuses()
    error = await door.refuses()
    await trio.sleep(error.retry_after_s or math.inf)
    door.is_open = True
    await door.come()
    await together(door, 4)
    assert len(door.came_at) == 6


async def test_several_refused_at_once_are_not_tried_once_more(autojump_clock: MockClock, door: Door) -> None:
    await door.come()
    door.is_open = False
    await together(door, 4, refused=True)
    assert len(door.came_at) == 5
    await trio.sleep(PROBE_AFTER_S - 1)
    await together(door, 4, refused=True)
    assert len(door.came_at) == 5


async def test_what_had_left_before_a_refusal_proves_nothing(autojump_clock: MockClock, door: Door) -> None:
    await door.come()
    slow, left_at = door.logins, trio.current_time()
    door.is_open = False
    await door.refuses()
    await trio.sleep(ONCE_MORE_AFTER_S + 0.01)
    await door.refuses()
    slow.accepted(left_at)
    error = await door.refuses()
    assert error.retry_after_s == pytest.approx(PROBE_AFTER_S, abs=0.01)


async def test_what_an_earlier_life_was_told_holds_and_leaves_one_try_after_it(
    autojump_clock: MockClock, door: Door
) -> None:
    door.is_open = False
    door.logins.were_refused(120)
    error = await door.refuses()
    assert "before this start" in str(error)
    assert error.retry_after_s == pytest.approx(120, abs=0.01)
    await trio.sleep(120.01)
    await together(door, 4, refused=True)
    assert len(door.came_at) == 1
    door.logins.were_refused(1e9)  # a clock that was set
    assert (await door.refuses()).retry_after_s == pytest.approx(PROBE_AFTER_S, abs=0.01)


async def test_a_person_gets_one_try_and_not_two(autojump_clock: MockClock, door: Door) -> None:
    door.is_open = False
    await door.refuses()
    await trio.sleep(ONCE_MORE_AFTER_S + 0.01)
    await door.refuses()
    door.logins.ask_for_one()
    await together(door, 4, refused=True)
    assert len(door.came_at) == 3
    door.is_open = True
    door.logins.ask_for_one()
    await together(door, 4)
    assert len(door.came_at) == 7


async def test_tokens_go_all_at_once(autojump_clock: MockClock) -> None:
    door = Door(Logins(shows_secret=False))
    await together(door, 4)
    assert door.came_at == [0.0] * 4


async def test_who_gives_up_leaves_the_way_to_others(autojump_clock: MockClock, door: Door) -> None:
    door.takes_s = 100
    with trio.move_on_after(0.2):
        await door.come()
    door.takes_s = 0.1
    with trio.fail_after(0.11):
        await door.come()


def answering(status_of: Callable[[httpx.Request], int], takes_s: Callable[[httpx.Request], float]) -> Scripted:
    class Slowly(Scripted):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            self._takes_s = takes_s(request)
            return await super().handle_async_request(request)

    refusal = b'{"error":{"message":"User is not authenticated","detail":null},"status":"failure"}'

    def answer(request: httpx.Request) -> httpx.Response:
        status = status_of(request)
        body = rows("a") if status == 200 else refusal
        return httpx.Response(status, headers=JSON, stream=Bytes(body), request=request)

    return Slowly(answer)


async def test_a_request_that_follows_a_slow_one_does_not_leave_when_the_login_was_refused_meanwhile(
    autojump_clock: MockClock,
) -> None:
    """A note's PATCH may take long, and is then counted in the same turn."""
    is_open = True
    transport = answering(
        lambda request: 200 if is_open or request.method == "PATCH" else 401,
        lambda request: 5.0 if request.method == "PATCH" else 0.02,
    )
    one = client(transport)
    await one.read(["a"])

    async def note_and_count() -> None:
        await one.add_note("a", "text")
        with pytest.raises(ExternalFailed, match="not sent"):
            await one.read(["a"])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(note_and_count)
        await trio.sleep(0.1)
        is_open = False
        for wait_s in (ONCE_MORE_AFTER_S + 0.1, 0.0):
            with pytest.raises(ExternalFailed, match="User is not authenticated"):
                await one.read(["a"])
            await trio.sleep(wait_s)
    refused = [request for request in transport.requests if request.method == "GET"][1:]
    assert len(refused) == 2
