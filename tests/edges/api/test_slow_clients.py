"""Clients that drip, do not read, or come in masses: a signed webhook is still answered within a second.

All in virtual time, with the real application behind the real gate and accept loop; only the streams are in memory.
"""

import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from math import inf

import msgspec
import pytest
import trio
import trio.testing

from syncd.edges.api.gate import Gate
from syncd.edges.api.serve import DEFAULT_LIMITS, ServeLimits
from tests.edges.api.daemon import running, signature
from tests.edges.api.doors import HEAD, Caller, Door, open_door, post

SECRET = "hook-secret-1"
PATH = "/api/v1/webhooks/prod"
CLOSED_WITHIN_S = 60.0
FEW = ServeLimits(connections_max=100)

Attack = Callable[[Caller], Awaitable[None]]


async def drip(caller: Caller, head: bytes) -> None:
    """Send the head, then a byte a second for as long as the server takes it."""
    with suppress(trio.BrokenResourceError):
        await caller.send(head)
        while True:
            await trio.sleep(1)
            await caller.send(b"x")


async def drip_headers(caller: Caller) -> None:
    await drip(caller, b"POST " + PATH.encode() + b" HTTP/1.1\r\nhost: ")


async def drip_body(caller: Caller) -> None:
    await drip(caller, b"POST " + PATH.encode() + HEAD + b"content-length: 1000000\r\n\r\n")


async def say_nothing(caller: Caller) -> None:
    assert await caller.seconds_to_close() < CLOSED_WITHIN_S


async def ask_and_not_read(caller: Caller) -> None:
    """A stream of requests; not one byte of an answer is taken."""
    with suppress(trio.BrokenResourceError):
        while True:
            await caller.send((b"GET /health" + HEAD + b"\r\n") * 100)
            await trio.sleep(1)


async def attacked(door: Door, attack: Attack) -> float:
    """How long one attacker kept its connection, in seconds since the server could have seen it."""
    began_at = trio.current_time()
    await attack(door.dial_unread() if attack is ask_and_not_read else door.dial())
    return trio.current_time() - began_at


async def deliver(door: Door) -> float:
    """One signed webhook over a connection of its own; how long its 202 took."""
    raw = msgspec.json.encode({"sys_id": "5" * 32})
    began_at = trio.current_time()
    caller = door.dial()
    await caller.send(post(PATH, raw, b"x-servicenow-signature: " + signature(SECRET, raw).encode()))
    assert (await caller.answer()).status == 202
    await caller.hang_up()
    return trio.current_time() - began_at


@asynccontextmanager
async def open_daemon(limits: ServeLimits = DEFAULT_LIMITS) -> AsyncIterator[Door]:
    async with running() as daemon:
        await daemon.configure(handle="prod", webhook_secret=SECRET)
        async with open_door(Gate(daemon.api), limits) as door:
            yield door


async def test_1050_slow_clients_neither_delay_a_webhook_nor_stay(autojump_clock: trio.testing.MockClock) -> None:
    kept_s: list[float] = []
    async with open_daemon() as door:

        async def attacker(attack: Attack) -> None:
            kept_s.append(await attacked(door, attack))

        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            async with trio.open_nursery() as attackers:
                for attack in [drip_headers] * 500 + [drip_body] * 500 + [ask_and_not_read] * 50:
                    attackers.start_soon(attacker, attack)
                for _ in range(10):
                    await trio.sleep(0.3)
                    assert await deliver(door) < 1
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert len(kept_s) == 1050
    assert max(kept_s) <= CLOSED_WITHIN_S
    assert peak - before < 64 * 1024 * 1024


@pytest.mark.parametrize("attack", [say_nothing, drip_headers, drip_body, ask_and_not_read])
async def test_a_flood_of_ten_times_the_places_does_not_delay_a_webhook(
    attack: Attack, autojump_clock: trio.testing.MockClock
) -> None:
    """Each that is sent away comes back at once, so that the queue in front of the door never ends."""
    async with open_daemon(FEW) as door, trio.open_nursery() as attackers:

        async def come_again() -> None:
            while True:
                await attacked(door, attack)

        for _ in range(10 * FEW.connections_max):
            attackers.start_soon(come_again)
        await trio.testing.wait_all_tasks_blocked()
        waits_s = [inf]
        with trio.move_on_after(30):
            waits_s = [await deliver(door) for _ in range(5)]
        attackers.cancel_scope.cancel()
        assert max(waits_s) < 1
