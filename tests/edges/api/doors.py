"""Doors in memory: listeners without sockets, clients that write what they like, and stock Hypercorn beside them."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import msgspec
import trio
import trio.testing
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, ConnectionState, Scope
from quart import request
from quart_trio import QuartTrio

from syncd.edges.api.gate import ASGIApp
from syncd.edges.api.serve import DEFAULT_LIMITS, ServeLimits, serve

HEAD = b" HTTP/1.1\r\nhost: x\r\n"
GET = b"GET /" + HEAD + b"\r\n"
UPGRADE = b"GET /" + HEAD + b"connection: upgrade\r\n"
WEBSOCKET = UPGRADE + (
    b"upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: bKdPyn3u98cTfZJSh4TNeQ==\r\n"
)

Pair = tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]


def post(path: str, body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST " + path.encode() + b" HTTP/1.1", b"host: x", b"content-length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", b""]) + body


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json"
        problem: dict[str, Any] = msgspec.json.decode(self.body)
        assert sorted(problem) == ["detail", "status", "title", "type"]
        assert problem["status"] == self.status
        return problem


class Caller:
    """The client's end of a connection."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self.stream = stream
        self._seen = bytearray()

    async def send(self, raw: bytes) -> None:
        await self.stream.send_all(raw)

    async def _more(self) -> bool:
        received = await self.stream.receive_some(65536)
        self._seen += received
        return bool(received)

    async def _until(self, is_enough: Callable[[], bool]) -> None:
        while not is_enough():
            assert await self._more(), f"closed early, after {bytes(self._seen[:200])!r}"

    def _take(self, size: int) -> bytes:
        taken = bytes(self._seen[:size])
        del self._seen[:size]
        return taken

    async def answer(self) -> Answer:
        """The next answer, informational ones included."""
        await self._until(lambda: b"\r\n\r\n" in self._seen)
        head = self._take(self._seen.index(b"\r\n\r\n") + 4).decode("latin1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        status = int(head[0].split(" ")[1])
        if status < 200 or status in (204, 304):
            return Answer(status, headers, b"")
        if "content-length" in headers:
            size = int(headers["content-length"])
            await self._until(lambda: len(self._seen) >= size)
            return Answer(status, headers, self._take(size))
        assert headers["transfer-encoding"] == "chunked"
        body = b""
        while True:
            await self._until(lambda: b"\r\n" in self._seen)
            size = int(self._take(self._seen.index(b"\r\n") + 2), 16)
            await self._until(lambda size=size: len(self._seen) >= size + 2)  # type: ignore[misc]
            body += self._take(size + 2)[:-2]
            if size == 0:
                return Answer(status, headers, body)

    async def chunk(self) -> bytes:
        """Whatever comes next on the wire."""
        await self._more()
        return self._take(len(self._seen))

    async def seconds_to_close(self, within_s: float = 3600) -> float:
        """How long the server keeps this open; inf when it does so for ``within_s``."""
        began_at = trio.current_time()
        with trio.move_on_after(within_s):
            while await self._more():
                pass
            return trio.current_time() - began_at
        return float("inf")

    async def hang_up(self) -> None:
        await trio.aclose_forcefully(self.stream)


class MemoryListener(trio.abc.Listener[trio.abc.HalfCloseableStream]):
    """``dial`` is what connects to it."""

    def __init__(self) -> None:
        self._knock, self._open = trio.open_memory_channel[trio.abc.HalfCloseableStream](2000)

    async def accept(self) -> trio.abc.HalfCloseableStream:
        return await self._open.receive()

    async def aclose(self) -> None:
        self._open.close()
        await trio.lowlevel.checkpoint()

    def dial(self, pair: Callable[[], Pair] = trio.testing.memory_stream_pair) -> Caller:
        """A memory pair takes any number of unread bytes; ``lockstep_stream_pair`` takes none."""
        ours, theirs = pair()
        self._knock.send_nowait(ours)
        return Caller(theirs)

    def offer(self, stream: trio.abc.HalfCloseableStream) -> None:
        self._knock.send_nowait(stream)


class Door(NamedTuple):
    listener: MemoryListener
    stop: trio.Event
    ended: trio.Event

    def dial(self, pair: Callable[[], Pair] = trio.testing.memory_stream_pair) -> Caller:
        return self.listener.dial(pair)

    def dial_unread(self) -> Caller:
        return self.listener.dial(trio.testing.lockstep_stream_pair)

    async def seconds_to_stop(self) -> float:
        began_at = trio.current_time()
        self.stop.set()
        await self.ended.wait()
        return trio.current_time() - began_at


@asynccontextmanager
async def open_door(app: ASGIApp, limits: ServeLimits = DEFAULT_LIMITS) -> AsyncIterator[Door]:
    """Serve ``app`` in memory; at the end everything stops, and nothing may be left over."""
    before = trio.lowlevel.current_statistics().tasks_living
    door = Door(MemoryListener(), trio.Event(), trio.Event())

    started = trio.Event()

    async def hold() -> None:
        async with trio.open_nursery() as serving:
            await serving.start(partial(serve, app, [door.listener], stop=door.stop, limits=limits))
            started.set()
        door.ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold)
        await started.wait()
        await trio.testing.wait_all_tasks_blocked()
        yield door
        door.stop.set()
    assert trio.lowlevel.current_statistics().tasks_living == before


class _Named:
    """What stock Hypercorn asks of a socket."""

    family = socket.AF_UNIX

    def getpeername(self) -> str:
        return ""

    def getsockname(self) -> str:
        return ""


class _StockStream(trio.abc.HalfCloseableStream):
    socket = _Named()

    def __init__(self, inner: trio.abc.HalfCloseableStream) -> None:
        self._inner = inner

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._inner.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._inner.aclose()


def stock_server(
    app: ASGIApp, stream: trio.abc.HalfCloseableStream, context: WorkerContext, **settings: object
) -> TCPServer:
    """Hypercorn's own server of one connection; ``settings`` are those of its ``Config``."""
    config = Config()
    config.errorlog = None
    for name, value in settings.items():
        setattr(config, name, value)
    return TCPServer(
        ASGIWrapper(app),
        config,
        context,
        ConnectionState({}),
        _StockStream(stream),  # type: ignore[arg-type]
    )


@asynccontextmanager
async def open_stock(
    app: ASGIApp, pair: Callable[[], Pair] = trio.testing.memory_stream_pair, **settings: object
) -> AsyncIterator[tuple[Caller, trio.Nursery, WorkerContext]]:
    """One connection under Hypercorn's own per-connection server, as its ``serve()`` would run it."""
    ours, theirs = pair()
    context = WorkerContext(None)
    server = stock_server(app, ours, context, **settings)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)  # noqa: ASYNC113 stock Hypercorn has no task_status
        yield Caller(theirs), nursery, context
        await trio.aclose_forcefully(theirs)
        nursery.cancel_scope.cancel()


async def stock_survives(attack: Callable[[Caller], Awaitable[None]]) -> bool:
    """Whether its ``serve()``, and with it the daemon, would outlive this client."""
    is_alive = True
    try:
        async with open_stock(echo) as (caller, _, _):
            await attack(caller)
            await trio.sleep(1)
    except* Exception:  # noqa: BLE001 this is the question
        is_alive = False
    return is_alive


async def answer_plainly(
    send: ASGISendCallable, body: bytes = b"", *, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def echo(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """A raw application that answers with the body it was sent."""
    assert scope["type"] == "http"
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return
        body += message["body"]
        if not message["more_body"]:
            break
    await answer_plainly(send, body)


def quart_app() -> QuartTrio:
    """A small Quart-Trio application, which answers with the body it was sent."""
    app = QuartTrio("tests")
    app.config["MAX_CONTENT_LENGTH"] = 64 * 1024 * 1024

    @app.route("/", methods=["GET", "POST"])
    async def echo_back() -> bytes:
        body: bytes = await request.get_data(cache=False, as_text=False, parse_form_data=False)
        return body

    return app


def answerer(app: Callable[[ASGISendCallable], Awaitable[None]]) -> ASGIApp:
    """A raw application that never looks at its request."""

    async def run(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        await app(send)

    return run
