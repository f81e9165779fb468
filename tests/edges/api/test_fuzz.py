"""Mutated requests of every kind, cut anywhere: no connection ends the server, and none is left behind."""

import logging
import random
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h2.config
import h2.connection
import pytest
import trio
import trio.testing

from syncd.edges.api.gate import ASGIApp, Gate
from syncd.edges.api.serve import ServeLimits, open_tcp, serve
from tests.edges.api.doors import (
    GET,
    HEAD,
    UPGRADE,
    WEBSOCKET,
    Caller,
    echo,
    open_door,
    post,
    quart_app,
    stock_survives,
)


def http2() -> bytes:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    headers = [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "x")]
    connection.send_headers(1, headers)
    connection.send_data(1, b"hello", end_stream=True)
    connection.send_headers(3, headers, end_stream=True)
    connection.reset_stream(1)
    return bytes(connection.data_to_send())


SEEDS = [
    GET + GET,
    post("/api/v1/webhooks/int_1", b"0123456789", b"expect: 100-continue"),
    b"POST /" + HEAD + b"transfer-encoding: chunked\r\n\r\n5;x=y\r\nabcde\r\n0\r\na: b\r\n\r\n" + GET,
    b"HEAD /" + HEAD + b"content-length: 3\r\n\r\nabcGET / HTTP/1.0\r\n\r\n",
    WEBSOCKET + b"\r\n\x81\x85\x00\x00\x00\x00hello",
    UPGRADE + b"upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n" + http2(),
    http2(),
    b"CONNECT x:80" + HEAD + b"\r\nrest",
]


def mutated(chance: random.Random, seed: bytes) -> bytes:
    raw = bytearray(seed)
    for _ in range(chance.choice([0, 0, 1, 1, 2, 5])):
        at = chance.randrange(len(raw) + 1)
        match chance.randrange(4):
            case 0:
                raw[at : at + 1] = chance.randbytes(1)
            case 1:
                del raw[at : at + chance.randrange(1, 8)]
            case 2:
                raw[at:at] = chance.randbytes(chance.randrange(1, 6))
            case _:
                raw[at:at] = raw[at : at + chance.randrange(1, 30)]
    return bytes(raw)


async def attack(chance: random.Random, caller: Caller) -> None:
    """Send one mutation in two parts, perhaps listen, and leave in order, half-closed or not at all."""
    raw = mutated(chance, chance.choice(SEEDS))
    cut = chance.randrange(len(raw) + 1)
    try:
        await caller.send(raw[:cut])
        await trio.sleep(chance.choice([0, 0, 0.001]))
        await caller.send(raw[cut:])
        if chance.random() < 0.3:
            await caller.stream.send_eof()
        with trio.move_on_after(0.01):
            await caller.chunk()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    if chance.random() < 0.8:
        await caller.hang_up()


def descriptors() -> int:
    return sum(1 for entry in Path("/proc/self/fd").iterdir() if entry.exists())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("make_app", [lambda: echo, lambda: Gate(echo), lambda: Gate(quart_app())])
async def test_nothing_a_client_sends_ends_the_server_or_stays(
    make_app: Callable[[], ASGIApp],
    seed: int,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: trio.testing.MockClock,
) -> None:
    chance = random.Random(seed)
    async with open_door(make_app()) as door:
        before = trio.lowlevel.current_statistics().tasks_living
        for _ in range(100):
            await attack(chance, door.dial())
            assert not door.ended.is_set()
        await trio.sleep(30)  # the longest that anything may keep a connection: rest, half-close, linger
        assert trio.lowlevel.current_statistics().tasks_living == before
        caller = door.dial()
        await caller.send(GET)
        assert (await caller.answer()).status == 200
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_the_same_attacks_kill_stock(autojump_clock: trio.testing.MockClock) -> None:
    """Otherwise the test above proves nothing."""
    chance = random.Random(0)
    survived = [await stock_survives(partial(attack, chance)) for _ in range(100)]
    assert survived.count(False) >= 3


async def test_no_descriptor_is_left_over_real_sockets() -> None:
    chance, stop, before = random.Random(1), trio.Event(), descriptors()
    tcp = await open_tcp("127.0.0.1", 0)
    limits = ServeLimits(idle_s=0.05, headers_s=0.05, half_closed_s=0.05, linger_s=0.05, grace_s=0.5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: serve(Gate(quart_app()), tcp, stop=stop, limits=limits))
        for index in range(150):
            stream = await trio.testing.open_stream_to_socket_listener(tcp[0])
            if index % 5 == 0:  # leave with a reset
                stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            async with stream:
                await attack(chance, Caller(stream))
        async with await trio.testing.open_stream_to_socket_listener(tcp[0]) as stream:
            caller = Caller(stream)
            await caller.send(GET)
            assert (await caller.answer()).status == 200
        stop.set()
    assert descriptors() == before
