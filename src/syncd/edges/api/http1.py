"""HTTP/1.1 on one connection: all that we use of Hypercorn's private parts, and all that we change in them.

``Http1`` is Hypercorn's protocol kept to cleartext HTTP/1.1: no HTTP/2 by upgrade or prior knowledge, no WebSocket.
These are where one crafted request ended the whole daemon, and nothing of ours needs them. ``Applications`` starts the
application for each request and keeps in what it raises. docs/http.md lists each part we rely on and why.

It owns no deadline and no socket; that is ``connection.py``.
"""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib.metadata import version
from typing import Final, NamedTuple, Protocol, cast

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.events import Request, Response
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import (
    AppWrapper,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    ConnectionState,
    H11SendableEvent,
    Scope,
)

from syncd.edges.api.gate import (
    APPLICATION_FAILED,
    ASGIApp,
    GateLimits,
    Problem,
    headers_too_large,
    malformed,
    send_problem,
)

HYPERCORN: Final = "0.18.0"
MESSAGES_WAITING_MAX: Final = 10

log = logging.getLogger("syncd.http")


def require_hypercorn(installed: str) -> None:
    """Raise ImportError unless this is the release whose private parts this module was written for."""
    if installed != HYPERCORN:
        raise ImportError(
            f"syncd relies on private parts of hypercorn {HYPERCORN}, and {installed} is installed; "
            "install the packages named in requirements/run.txt"
        )


require_hypercorn(version("hypercorn"))


class ClientGone(ConnectionError):
    """What an application's ``send`` raises once nobody can read the answer any more."""


class Addresses(NamedTuple):
    """(host, port) of both ends, as in the ASGI scope; None where there is no such thing."""

    client: tuple[str, int] | None = None
    server: tuple[str, int] | None = None


class Line(Protocol):
    """What is needed of the connection."""

    @property
    def is_gone(self) -> bool:
        """Nobody can read what we write."""
        ...

    @property
    def must_close(self) -> bool:
        """The answer that starts now is the last one on this connection."""
        ...

    def end(self) -> None:
        """Read no further request; close when that is fit."""
        ...


def hypercorn_config() -> Config:
    """Hypercorn's settings, for all connections. None of its own timeouts is used."""
    config = Config()
    config.accesslog = None
    config.errorlog = log
    config.include_server_header = False
    config.h11_max_incomplete_size = GateLimits().header_bytes
    config.keep_alive_max_requests = 2**31  # closing for their number can race with the last send
    return config


class Http1(H11Protocol):
    """Hypercorn's HTTP/1.1, and only that."""

    def __init__(
        self,
        app: ASGIApp,
        line: Line,
        nursery: trio.Nursery,
        *,
        config: Config,
        context: WorkerContext,
        state: dict[str, object],
        addresses: Addresses,
        send: Callable[[Event], Awaitable[None]],
    ) -> None:
        """``state`` becomes ``scope["state"]``, a copy for each request; ``send`` takes what is for the wire."""
        self._line = line
        self._head = b""  # of an answer, until there is something behind it
        self._applications = Applications(nursery, line, self.send_continue)
        super().__init__(
            ASGIWrapper(app),
            config,
            context,
            self._applications,
            ConnectionState(state),
            False,  # no TLS
            addresses.client,
            addresses.server,
            send,
        )

    @property
    def wire(self) -> h11.Connection:
        """The state of both sides. Always h11's own: only a WebSocket would put something else there."""
        return cast("h11.Connection", self.connection)

    async def send_continue(self) -> None:
        """Answer ``Expect: 100-continue``, unless the answer proper has begun."""
        if self.wire.our_state is h11.SEND_RESPONSE:
            await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))

    async def stream_send(self, event: StreamEvent) -> None:
        if isinstance(event, Response) and event.status_code >= 200 and self._line.must_close:
            headers = [*event.headers, (b"connection", b"close")]
            event = Response(stream_id=event.stream_id, headers=headers, status_code=event.status_code)
        await super().stream_send(event)

    async def _send_h11_event(self, event: H11SendableEvent) -> None:
        """Write the head of an answer together with what follows it (ASGI wants it held back so), and nothing empty.

        Hypercorn makes three writes of an answer; each is a system call, and two packets for the client to wait for.
        """
        try:
            piece = self.wire.send(event) or b""
        except h11.LocalProtocolError:
            if self.wire.their_state is not h11.ERROR:
                raise
            return
        if isinstance(event, h11.Response):
            self._head = piece
            return
        piece, self._head = self._head + piece, b""
        if piece:
            await self.send(RawData(data=piece))

    async def _check_protocol(self, event: h11.Request) -> None:
        """Take up no offer to speak something else (Hypercorn would switch to HTTP/2 here)."""

    async def _create_stream(self, request: h11.Request) -> None:
        # Hypercorn sends 100 Continue before the application has run. Here the first receive() does, so that a body
        # that is going to be refused for its length is not invited.
        self._applications.is_continue_awaited = self.wire.client_is_waiting_for_100_continue
        self.wire.client_is_waiting_for_100_continue = False
        if request.http_version not in (b"1.0", b"1.1"):  # the preface of HTTP/2 reads as a request of version 2.0
            await self._refuse(request, 505)
            return
        if request.method == b"CONNECT":  # after any 2xx h11 would let go of HTTP
            await self._refuse(request, 501)
            return
        self.stream = HTTPStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        self.keep_alive_requests += 1
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii").upper(),
                raw_path=request.target,
                state=self.connection_state,
            )
        )

    async def _refuse(self, request: h11.Request, status_code: int) -> None:
        if request.method != b"HEAD":  # its answer would have no body, and a problem has one
            await self._send_error_response(status_code)
        await self.send(Closed())

    async def _send_error_response(self, status_code: int) -> None:
        """What h11 refuses, as a problem like every other refusal."""
        problem = _UNREADABLE.get(status_code, _UNREADABLE[400])
        body = problem.encode()
        headers = [*problem.headers(body), *self.config.response_headers("h11")]
        await self._send_h11_event(h11.Response(status_code=problem.status, headers=headers))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())


_UNREADABLE: Final = {
    400: malformed("this is no valid HTTP/1.1 request; check its request line, headers and body framing"),
    431: headers_too_large(GateLimits().header_bytes),
    501: Problem(
        status=501,
        title="Not implemented",
        detail="there is no CONNECT here, and no transfer coding but chunked; use another method or coding",
    ),
    505: Problem(
        status=505,
        title="HTTP version not supported",
        detail="this port speaks HTTP/1.1; send the request in that version",
    ),
}


class Applications(TaskGroup):
    """Runs the application, one task for each request, in the connection's nursery."""

    def __init__(self, nursery: trio.Nursery, line: Line, send_continue: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self._tasks = nursery
        self._line = line
        self._send_continue = send_continue
        self.is_continue_awaited = False

    async def spawn_app(
        self,
        app: AppWrapper,
        config: Config,
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """Start it; what is returned takes its messages, and never waits for an application that has ended."""
        call = Call(self._line, send, self._send_continue if self.is_continue_awaited else None)
        self._tasks.start_soon(call.run, app, scope)
        return call.put


class Call:
    """One run of the application. Nothing it raises gets out, short of a SystemExit and its like."""

    def __init__(self, line: Line, send: ASGISendCallable, send_continue: Callable[[], Awaitable[None]] | None) -> None:
        """``send_continue`` is called when the application first asks for the body; None: nobody waits for that."""
        self._line = line
        self._send = send
        self._send_continue = send_continue
        self._put, self._get = trio.open_memory_channel[ASGIReceiveEvent](MESSAGES_WAITING_MAX)
        self._is_started = False
        self._is_complete = False
        self._is_disconnected = False

    @property
    def _is_over(self) -> bool:
        return self._is_complete or self._is_disconnected or self._line.is_gone

    async def put(self, message: ASGIReceiveEvent) -> None:
        """From the protocol. A disconnect never waits: Hypercorn's did, for ever, behind a body that nobody read."""
        if message["type"] == "http.disconnect":
            self._is_disconnected = True
            self._put.close()
            return
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # it has ended, or was told to
            await self._put.send(message)

    async def receive(self) -> ASGIReceiveEvent:
        if self._send_continue is not None and not self._is_started:
            send_continue, self._send_continue = self._send_continue, None
            await send_continue()
        try:
            return await self._get.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            pass
        await trio.lowlevel.checkpoint()  # an application that ignores this in a loop must not stop the daemon
        return {"type": "http.disconnect"}

    async def send(self, message: ASGISendEvent) -> None:
        """Raises ClientGone once the client cannot be reached (an OSError, as ASGI 2.4 wants it)."""
        if self._line.is_gone or self._is_disconnected:
            await trio.lowlevel.checkpoint()
            raise ClientGone("the client has left")
        self._is_started = True
        await self._send(message)
        self._is_complete = message["type"] == "http.response.body" and not message.get("more_body", False)

    async def run(self, app: AppWrapper, scope: Scope) -> None:
        """Run it for one request, and answer for it if it does not."""
        failure: BaseException | None = None
        try:
            await app(scope, self.receive, self.send, trio.to_thread.run_sync, trio.from_thread.run)
        except* ClientGone:
            log.debug("a client left before its answer was complete")
        except* Exception as errors:  # noqa: BLE001 contained here, and logged below
            failure = errors.exceptions[0] if len(errors.exceptions) == 1 else errors
        finally:
            self._get.close()
        if failure is not None:
            log.error("the application failed", exc_info=failure)
        if self._is_over:
            return
        if failure is None:
            log.error("the application ended before its answer was complete")
        if not self._is_started:
            await send_problem(APPLICATION_FAILED, self._send)
        self._line.end()
