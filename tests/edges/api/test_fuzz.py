"""Ten thousand connections of mutated requests, cut anywhere: none ends the server, and none is left behind."""

import logging
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import h2.config
import h2.connection
import msgspec
import pytest
import trio
import trio.testing

from syncd.edges.api.gate import ASGIApp, Gate
from syncd.edges.api.serve import ServeLimits, open_tcp, open_unix, serve
from tests.edges.api.daemon import BODY, running, signature
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
from tests.edges.api.hooks import HOOK, SECRET
from tests.edges.api.test_connection import resetting_pair

IN_MEMORY, A_BATCH, OVER_SOCKETS = 9_000, 1_000, 1_000


def http2() -> bytes:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    headers = [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "x")]
    connection.send_headers(1, headers)
    connection.send_data(1, b"hello", end_stream=True)
    connection.send_headers(3, headers, end_stream=True)
    connection.reset_stream(1)
    return bytes(connection.data_to_send())


def chunked(path: bytes, body: bytes) -> bytes:
    parts = b"".join(b"%x;x=y\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:]) if part)
    return b"POST " + path + HEAD + b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n" + parts


WEBHOOK = msgspec.json.encode(HOOK)
SIGNED = b"x-servicenow-signature: " + signature(SECRET, WEBHOOK).encode()
SEEDS = [
    GET + GET,
    GET * 12,
    post("/api/v1/webhooks/prod", WEBHOOK, SIGNED) * 2,
    post("/api/v1/webhooks/int_1", b"0123456789", b"expect: 100-continue"),
    post("/api/v1/incidents", msgspec.json.encode(BODY), b"content-type: application/json", b"authorization: Bearer x"),
    chunked(b"/api/v1/incidents?limit=9&q=%ff", msgspec.json.encode(BODY)) + b"0\r\na: b\r\n\r\n" + GET,
    chunked(b"/", b"abcde") + b"0\r\na: b\r\n\r\n" + GET,
    b"HEAD /" + HEAD + b"content-length: 3\r\n\r\nabcGET / HTTP/1.0\r\n\r\n",
    WEBSOCKET + b"\r\n\x81\x85\x00\x00\x00\x00hello",
    WEBSOCKET + b"sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n\r\n\xc1\x02xx",
    UPGRADE + b"upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n" + http2(),
    http2(),
    b"CONNECT x:80" + HEAD + b"\r\nrest",
    b"GET /api/v1/incidents/%2e%2e/%00"
    + HEAD
    + b"if-match: \xff\r\n\r\n"
    + b"DELETE /api/v1/tokens/x"
    + HEAD
    + b"\r\n",
]


def mutated(chance: random.Random, seed: bytes) -> bytes:
    raw = bytearray(seed)
    for _ in range(chance.choice([0, 0, 1, 1, 2, 5])):
        at = chance.randrange(len(raw) + 1)
        match chance.randrange(8):
            case 0:
                raw[at : at + 1] = chance.randbytes(1)
            case 1:
                del raw[at : at + chance.randrange(1, 8)]
            case 2:
                raw[at:at] = chance.randbytes(chance.randrange(1, 6))
            case 3:
                raw[at:at] = raw[at : at + chance.randrange(1, 30)]
            case 4:  # another header, or one a second time
                ends = raw.find(b"\r\n", at)
                raw[ends:ends] = b"\r\n" + chance.choice(HEADERS)
            case 5:  # another line end
                raw = bytearray(raw.replace(b"\r\n", chance.choice([b"\n", b"\r", b"\r\r\n"]), chance.randrange(1, 4)))
            case 6:  # the tail of another kind of request
                other = chance.choice(SEEDS)
                raw[at:] = other[chance.randrange(len(other)) :]
            case _:
                raw[at:at] = chance.choice([b"x" * 17_000, b"\0" * 9, b"\xff\xfe", b"%" * 50, b"9" * 40])
    return bytes(raw)


HEADERS = [
    b"content-length: 5",
    b"content-length: 99999999999999999999",
    b"transfer-encoding: chunked",
    b"transfer-encoding: identity, chunked",
    b"upgrade: websocket",
    b"upgrade: h2c",
    b"connection: close, upgrade, keep-alive",
    b"expect: 100-continue",
    b"host: y",
    b"x: " + b"y" * 9_000,
    b" folded",
]


async def attack(chance: random.Random, caller: Caller) -> bytes:
    """Send one mutation in parts, perhaps listen, and leave in order, half-closed or not at all. What was heard."""
    raw = mutated(chance, chance.choice(SEEDS))
    cuts = sorted(chance.randrange(len(raw) + 1) for _ in range(chance.choice([1, 1, 1, 6])))
    heard = b""
    try:
        for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
            await caller.send(raw[start:end])
            await trio.sleep(chance.choice([0, 0, 0.001]))
        if chance.random() < 0.3:
            await caller.stream.send_eof()
        with trio.move_on_after(0.01):
            heard = await caller.chunk()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    if chance.random() < 0.8:
        await caller.hang_up()
    return heard


def check_heard(heard: bytes) -> None:
    """No answer is 5xx but those that say that something is not spoken here."""
    assert heard[:12] in {b"", b"HTTP/1.1 501", b"HTTP/1.1 505"} or heard[9:10] in {b"1", b"2", b"4"}, heard


def check_quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing failed; that webhooks were refused is no failure."""
    assert [one for one in caplog.records if one.levelno >= logging.WARNING and one.name != "syncd.webhooks"] == []


def descriptors() -> int:
    return sum(1 for entry in Path("/proc/self/fd").iterdir() if entry.exists())


@asynccontextmanager
async def small(make_app: Callable[[], ASGIApp]) -> AsyncIterator[ASGIApp]:
    yield make_app()


@asynccontextmanager
async def the_api() -> AsyncIterator[ASGIApp]:
    async with running() as daemon:
        await daemon.configure(handle="prod", webhook_secret=SECRET)
        yield Gate(daemon.api)


APPS: list[Callable[[], AbstractAsyncContextManager[ASGIApp]]] = [
    the_api,
    partial(small, lambda: Gate(echo)),
    the_api,
    partial(small, lambda: Gate(quart_app())),
]


@pytest.mark.parametrize("batch", range(IN_MEMORY // A_BATCH))
async def test_nothing_a_client_sends_ends_the_server_or_stays(
    batch: int, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    chance, open_before = random.Random(batch), descriptors()
    async with APPS[batch % len(APPS)]() as app, open_door(app) as door:
        before = trio.lowlevel.current_statistics().tasks_living
        for number in range(A_BATCH):
            caller = door.dial(resetting_pair) if number % 5 == 0 else door.dial()
            check_heard(await attack(chance, caller))
            assert not door.ended.is_set()
        await trio.sleep(30)  # the longest that anything may keep a connection: rest, half-close, linger
        assert trio.lowlevel.current_statistics().tasks_living == before
        caller = door.dial()
        await caller.send(b"GET /health" + HEAD + b"\r\n")
        assert (await caller.answer()).status in {200, 404}
    assert descriptors() == open_before
    check_quiet(caplog)


async def test_the_same_attacks_kill_stock(autojump_clock: trio.testing.MockClock) -> None:
    """Otherwise the test above proves nothing."""
    chance = random.Random(0)

    async def once(caller: Caller) -> None:
        await attack(chance, caller)

    survived = [await stock_survives(once) for _ in range(200)]
    assert survived.count(False) >= 5


async def test_no_descriptor_is_left_over_real_sockets(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stop, before = trio.Event(), descriptors()
    [tcp], unix = await open_tcp("127.0.0.1", 0), open_unix(tmp_path / "s")
    limits = ServeLimits(idle_s=0.05, headers_s=0.05, half_closed_s=0.05, linger_s=0.05, grace_s=0.5)

    async def attackers(seed: int) -> None:
        chance = random.Random(seed)
        for number in range(OVER_SOCKETS // 8):
            over_unix = number % 2 == 1
            dial = (
                partial(trio.open_unix_socket, tmp_path / "s")
                if over_unix
                else partial(trio.testing.open_stream_to_socket_listener, tcp)
            )
            stream = await dial()
            if number % 10 == 0:  # leave with a reset
                stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            async with stream:
                check_heard(await attack(chance, Caller(stream)))

    async with the_api() as app, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: serve(app, [tcp, unix], stop=stop, limits=limits))
        async with trio.open_nursery() as attacking:
            for seed in range(8):
                attacking.start_soon(attackers, seed)
        async with await trio.testing.open_stream_to_socket_listener(tcp) as stream:
            caller = Caller(stream)
            await caller.send(b"GET /health" + HEAD + b"\r\n")
            assert (await caller.answer()).status == 200
        stop.set()
    assert descriptors() == before
    check_quiet(caplog)
