"""A peer that does its worst, over real sockets: every answer ends in time, in a typed error, and in little memory."""

import gzip
import struct
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from syncd.errors import ExternalFailed, ExternalUnreadable
from syncd.net import SystemNet
from syncd.seams import SystemClock
from syncd.systems.exchange import READ_S_MAX, WRITE_S_MAX
from syncd.systems.line import RECORD_BYTES_MAX
from syncd.systems.logins import PATIENCE_S
from syncd.systems.servicenow import PAGE_BYTES_MAX, ServiceNow
from syncd.systems.signin import Credentials
from tests.network import NO_TLS, MemoryNetwork, answer, names, request_in

SIGN_IN: Final = Credentials("svc.sync", "sync-secret-7351")
ID: Final = "a" * 32
IDS: Final = [f"{number:032}" for number in range(50)]
GROWTH_BYTES_MAX: Final = 32 * 1024 * 1024
REAL_S_MAX: Final = 20.0  # for a loaded machine; each takes well under a second
OK: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED: Final = OK + b"Transfer-Encoding: chunked\r\n\r\n"
MEBI: Final = 1024 * 1024

Send = Callable[[bytes], Awaitable[None]]
Peer = Callable[[Send], Awaitable[None]]


def sends(*parts: bytes) -> Peer:
    """A peer that sends this, and closes."""

    async def peer(send: Send) -> None:
        for part in parts:
            await send(part)

    return peer


def repeats(head: bytes, part: bytes) -> Peer:
    """A peer that goes on for ever."""

    async def peer(send: Send) -> None:
        await send(head)
        block = part * max(1, 65536 // len(part))
        while True:
            await send(block)

    return peer


def sized(body: bytes, *headers: bytes, kind: bytes = b"application/json", size: int | None = None) -> bytes:
    length = len(body) if size is None else size
    lines = (b"HTTP/1.1 200 OK", b"Content-Type: " + kind, *headers, b"Content-Length: %d" % length, b"", b"")
    return b"\r\n".join(lines) + body


async def numbered_headers(send: Send) -> None:
    await send(OK)
    for number in count():
        await send(b"X-%d: %s\r\n" % (number, b"y" * 1000))


BOMB: Final = gzip.compress(bytes(30_000_000))
RAW_DEFLATE: Final = zlib.compressobj(wbits=-15).compress(b" " * 1_000_000)
ZSTD: Final = bytes.fromhex("28b52ffd") + struct.pack("<I", 2**31) * 9
ROWS: Final = b'{"result":[]}'

HOSTILE: Final[dict[str, Peer]] = {
    # compression that nobody asked for
    "gzip bomb": sends(sized(BOMB, b"Content-Encoding: gzip")),
    "double gzip bomb": sends(sized(gzip.compress(BOMB), b"Content-Encoding: gzip, gzip")),
    "gzip bomb in capitals": sends(sized(BOMB, b"Content-Encoding: GZIP")),
    "x-gzip bomb": sends(sized(BOMB, b"Content-Encoding: x-gzip")),
    "deflate bomb": sends(sized(zlib.compress(bytes(30_000_000)), b"Content-Encoding: deflate")),
    "raw deflate bomb": sends(sized(RAW_DEFLATE, b"Content-Encoding: deflate")),
    "br bomb": sends(sized(b"\x5b\xff\xff\x03" * 99, b"Content-Encoding: br")),
    "zstd bomb": sends(sized(ZSTD, b"Content-Encoding: zstd")),
    "encodings in two headers": sends(sized(BOMB, b"Content-Encoding: identity", b"Content-Encoding: gzip")),
    "gzip that is not declared": sends(sized(BOMB)),
    "compressed transfer": sends(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", BOMB),
    # without end
    "endless headers": numbered_headers,
    "one endless header": repeats(OK + b"X: ", b"y"),
    "an endless status line": repeats(b"HTTP/1.1 200 ", b"y"),
    "a flood of cookies": repeats(OK, b"Set-Cookie: JSESSIONID=0123456789abcdef; Path=/\r\n"),
    "an endless body until it closes": repeats(OK + b"\r\n", b" "),
    "an endless chunked body": repeats(CHUNKED, b"1000\r\n" + b" " * 4096 + b"\r\n"),
    "an endless chunk size": repeats(CHUNKED, b"0"),
    "an endless chunk extension": repeats(CHUNKED + b"1;", b"x"),
    "endless trailers": repeats(CHUNKED + b"0\r\n", b"X: y\r\n"),
    "a text of 1 GB": repeats(sized(b'{"result":"', size=10**9), b"a"),
    "a text of 1 GB in chunks": repeats(CHUNKED + b'a\r\n{"result":\r\n', b"1000\r\n" + b"a" * 4096 + b"\r\n"),
    "no answer but noise": repeats(b"", b"\xff\x00noise"),
    # lies about the length
    "early close in the head": sends(OK),
    "early close in the body": sends(sized(b'{"result":[', size=5000)),
    "close at once": sends(),
    "truncated chunks": sends(CHUNKED + b'400\r\n{"result":['),
    "chunks without an end": sends(CHUNKED + b"d\r\n" + ROWS + b"\r\n"),
    "shorter than it says": sends(sized(ROWS, size=99)),
    "longer than it says": sends(sized(ROWS, size=5)),
    "two lengths": sends(OK + b"Content-Length: 13\r\nContent-Length: 5\r\n\r\n" + ROWS),
    "a negative length": sends(sized(ROWS, size=-1)),
    "a length that is no number": sends(OK + b"Content-Length: many\r\n\r\n" + ROWS),
    "a chunk size that is no number": sends(CHUNKED + b"zz\r\n" + ROWS),
    # not data
    "a redirect to a server of theirs": sends(
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/?token=tell\r\nContent-Length: 0\r\n\r\n"
    ),
    "a page with 200": sends(sized(b"<html>sign in</html>", kind=b"text/html")),
    "a page that mentions json": sends(sized(ROWS, kind=b"text/html; x=application/json")),
    "two media types": sends(sized(ROWS, b"Content-Type: text/html")),
    "UTF-16": sends(sized('{"result":[]}'.encode("utf-16"), kind=b"application/json;charset=utf-16")),
    "Latin-1": sends(sized('{"result":"é"}'.encode("latin-1"), kind=b"application/json;charset=iso-8859-1")),
    "a charset that is not ours": sends(sized(ROWS, kind=b"application/json; charset=iso-8859-1")),
    "bytes that are no UTF-8": sends(sized(b'{"result":[{"sys_id":"\xff\xfe"}]}')),
    "another protocol": sends(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nxx"),
    "the wrong protocol": sends(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "a version of HTTP to come": sends(b"HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "an illegal header": sends(OK + b"bad name: x\r\n\r\n"),
    # JSON that grows in memory
    "8 MB of empty objects": sends(sized(b'{"result":[' + b"{}," * (7 * MEBI // 3) + b"{}]}")),
    "8 MB of small objects": sends(sized(b'{"result":[' + b'{"a":"b"},' * (7 * MEBI // 10) + b"{}]}")),
    "8 MB of small texts": sends(sized(b'{"result":[' + b'"a",' * (7 * MEBI // 4) + b'""]}')),
    "8 MB of brackets": sends(sized(b'{"result":' + b"[" * (7 * MEBI))),
    "8 MB of half surrogate pairs": sends(sized(b'{"result":"' + rb"\ud800" * (7 * MEBI // 6) + b'"}')),
    "8 MB of objects in a refusal": sends(
        sized(b'{"error":[' + b"{}," * (7 * MEBI // 3) + b"{}]}").replace(b"200 OK", b"403 No", 1)
    ),
}


def test_there_are_forty_hostile_answers() -> None:
    assert len(HOSTILE) >= 40


def peak_bytes(*, anew: bool = False) -> int:
    """The most memory that this process had; ``anew``: counted from now on, where the kernel can do that."""
    if anew:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_answer_ends_in_time_in_a_typed_error_and_in_little_memory(name: str) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        try:
            await request_in(stream)
            await HOSTILE[name](stream.send_all)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the client has had enough
        await stream.aclose()

    with trio.fail_after(2 * REAL_S_MAX):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
            url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
            net = SystemNet(NO_TLS, ())
            external = ServiceNow(url, SIGN_IN, net.transport(4), SystemClock(), rate=1000.0, concurrency=4)
            before_bytes, begun_s = peak_bytes(anew=True), trio.current_time()
            with pytest.raises(ExternalFailed) as read:
                await external.read(IDS)
            with pytest.raises(ExternalFailed) as write:
                await external.update(ID, {"state": "2"})
            took_s, grown_bytes = trio.current_time() - begun_s, peak_bytes() - before_bytes
            await external.aclose()
            nursery.cancel_scope.cancel()
    assert took_s < REAL_S_MAX
    assert grown_bytes < GROWTH_BYTES_MAX
    assert read.value.outcome in {"unavailable", "refused"}
    assert write.value.outcome in {"ambiguous", "refused"} or "redirect" in name
    told = f"{read.value} {write.value}"
    assert ("compressed" in told) == ("bomb" in name or "encodings" in name)
    assert "tell" not in told
    assert SIGN_IN.password not in told


# -- in virtual time ---------------------------------------------------------------------------------------------------


def client(network: MemoryNetwork) -> ServiceNow:
    net = SystemNet(NO_TLS, (), network=network, resolve=names(["127.0.0.1"]))
    return ServiceNow("http://localhost", SIGN_IN, net.transport(4), SystemClock(), rate=1000.0, concurrency=4)


def drips(head: bytes, part: bytes, every_s: float) -> Peer:
    async def peer(send: Send) -> None:
        await send(head)
        while True:
            await trio.sleep(every_s)
            await send(part)

    return peer


async def silent(_: Send) -> None:
    await trio.sleep_forever()


SLOW: Final[dict[str, Peer]] = {
    "nothing at all": silent,
    "nothing after the head": drips(OK + b"\r\n", b"", 1000),
    "a byte of the status line a second": drips(b"HTTP/1.1 200 ", b"y", 1),
    "a header a second": drips(OK, b"X: y\r\n", 1),
    "a byte of the body a second": drips(sized(b"{", size=100_000), b" ", 1),
    "a chunk a second": drips(CHUNKED, b"1\r\n \r\n", 1),
    "a byte of a chunk's size a second": drips(CHUNKED, b"0", 1),
    "a trailer a second": drips(CHUNKED + b"0\r\n", b"X: y\r\n", 1),
    "an interim answer a second": drips(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", 1),
    "ten interim answers a second": drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.1),
}


@pytest.mark.parametrize("name", SLOW)
async def test_a_slow_answer_is_given_up_when_its_whole_time_is_over(
    autojump_clock: MockClock, nursery: trio.Nursery, name: str
) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await request_in(stream)
        await SLOW[name](stream.send_all)

    external = client(MemoryNetwork(nursery, serve))
    with pytest.raises(ExternalFailed, match=f"no answer within {READ_S_MAX:g} s") as caught:
        await external.read([ID])
    assert caught.value.outcome == "unavailable"
    assert trio.current_time() == pytest.approx(READ_S_MAX)
    with pytest.raises(ExternalFailed, match=f"no answer within {WRITE_S_MAX:g} s") as caught:
        await external.update(ID, {"state": "2"})
    assert caught.value.outcome == "ambiguous"
    assert trio.current_time() == pytest.approx(READ_S_MAX + WRITE_S_MAX)
    nursery.cancel_scope.cancel()


async def test_a_flood_of_tiny_chunks_leaves_others_their_turn(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    chunks = 3000
    flood = CHUNKED + b"1\r\n \r\n" * chunks + b"0\r\n\r\n"  # well below what is taken from the wire at once

    async def serve(stream: trio.abc.Stream) -> None:
        await request_in(stream)
        await stream.send_all(flood)

    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    nursery.start_soon(others)
    with pytest.raises(ExternalUnreadable):
        await client(MemoryNetwork(nursery, serve)).read([ID])
    assert turns >= chunks
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("ids", "most"), [(IDS[:1], RECORD_BYTES_MAX), (IDS[:2], PAGE_BYTES_MAX)])
async def test_one_record_may_be_as_large_as_a_record_and_a_list_as_a_list(
    autojump_clock: MockClock, nursery: trio.Nursery, ids: list[str], most: int
) -> None:
    body = b""

    async def serve(stream: trio.abc.Stream) -> None:
        while await request_in(stream):
            await stream.send_all(answer(body))

    external = client(MemoryNetwork(nursery, serve))
    body = ROWS.ljust(most)
    assert await external.read(ids) == []
    body += b" "
    with pytest.raises(ExternalUnreadable, match=f"more than {most} bytes"):
        await external.read(ids)
    nursery.cancel_scope.cancel()


lines = st.lists(
    st.sampled_from(
        [
            *(
                b"HTTP/1.1 200 OK",
                b"HTTP/1.1 403 No",
                b"Content-Type: application/json",
                b"Content-Length: 13",
                b"",
                ROWS,
            ),
            *(
                b"Transfer-Encoding: chunked",
                b"d",
                b"0",
                b"Location: //x",
                b"Retry-After: 1",
                b"Date: Mon",
                b"\xff: \xff",
            ),
        ]
    ),
    max_size=9,
).map(b"\r\n".join)


@settings(max_examples=150)
@given(st.one_of(lines, st.binary(max_size=60), st.tuples(lines, st.binary(max_size=9)).map(b"".join)))
def test_whatever_bytes_come_over_the_wire_are_rows_or_the_typed_error(wire: bytes) -> None:
    async def ask() -> None:
        async def serve(stream: trio.abc.Stream) -> None:
            await request_in(stream)
            await stream.send_all(wire)

        async with trio.open_nursery() as nursery:
            external = client(MemoryNetwork(nursery, serve))
            with suppress(ExternalFailed):
                assert await external.read([ID]) == []
            nursery.cancel_scope.cancel()

    trio.run(ask, clock=MockClock(autojump_threshold=0))


async def test_a_429_counts_from_its_headers_on_however_slowly_its_body_comes(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    asked: list[float] = []

    async def serve(stream: trio.abc.Stream) -> None:
        while await request_in(stream):
            asked.append(trio.current_time())
            await stream.send_all(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 60\r\nContent-Length: 9\r\n\r\n")
            await trio.sleep(20)
            await stream.send_all(b"try later")

    one = client(MemoryNetwork(nursery, serve))

    async def read() -> None:
        with pytest.raises(ExternalFailed):
            await one.read(["0" * 32])

    nursery.start_soon(read)
    await trio.sleep(1)
    with pytest.raises(ExternalFailed, match="left alone") as refused:
        await one.read(["1" * 32])
    assert refused.value.outcome == "throttled"
    assert refused.value.retry_after_s == pytest.approx(59.0 - PATIENCE_S)  # whether we are let in is not known yet
    await trio.sleep(30)
    assert asked == [0.0]
    nursery.cancel_scope.cancel()
