"""The gate: what a request passes before an application sees it, the same on every door.

It owns the limits of one request: its framing, the size of its header block, the size of its body and the time the body
may take. The body is read whole before the application runs, so no application waits for a client. What does not pass
gets one ``application/problem+json`` (RFC 9457) that names the limit and the way out, and the connection is closed.
What an application raises becomes one problem with status 500 and a traceback in the log; it goes no further.

It never looks at who calls, at ``Host`` or inside the body: that is the application's part (docs/http.md).
"""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec
import trio
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    HTTPResponseBodyEvent,
    HTTPResponseStartEvent,
    HTTPScope,
    Scope,
)

ASGIApp = ASGIFramework

WEBHOOK_PREFIX: Final = "/api/v1/webhooks/"
WEBHOOK_BODY_BYTES_MAX: Final = 1024 * 1024
API_BODY_BYTES_MAX: Final = 2 * 1024 * 1024
SMALL_BODY_BYTES: Final = 64 * 1024

log = logging.getLogger("syncd.http")

_CONTENT_LENGTH = re.compile(rb"[0-9]{1,19}")
_REQUEST_LINE_BYTES = len(b"  HTTP/1.1\r\n")
_HEADER_LINE_BYTES = len(b": \r\n")


class GateLimits(msgspec.Struct, frozen=True):
    """``header_bytes`` counts the request line and all header lines; ``body_s`` runs from the end of the headers.

    ``arriving_bytes`` is what all large bodies that are not complete yet may hold together.
    """

    header_bytes: int = 16 * 1024
    body_s: float = 10.0
    arriving_bytes: int = 32 * 1024 * 1024


DEFAULT_LIMITS: Final = GateLimits()


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An RFC 9457 problem whose type is its status, and the bytes of it."""

    status: int
    title: str
    detail: str
    retry_after_s: int | None = None

    def encode(self) -> bytes:
        return msgspec.json.encode(
            {"type": "about:blank", "title": self.title, "status": self.status, "detail": self.detail}
        )

    def headers(self, body: bytes) -> list[tuple[bytes, bytes]]:
        """For an answer after which the connection ends: what the client still sends could be taken for a request."""
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        if self.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % self.retry_after_s))
        return headers


APPLICATION_FAILED: Final = Problem(
    status=500,
    title="Internal error",
    detail="syncd failed on this request and wrote the cause to its log; nothing is known about its outcome, "
    "so read the state before repeating it",
)


def body_bytes_max(path: str) -> int:
    """The largest body a path takes, in bytes."""
    return WEBHOOK_BODY_BYTES_MAX if path.startswith(WEBHOOK_PREFIX) else API_BODY_BYTES_MAX


async def send_problem(problem: Problem, send: ASGISendCallable) -> None:
    """The whole answer, through an application's ``send``."""
    body = problem.encode()
    start: HTTPResponseStartEvent = {
        "type": "http.response.start",
        "status": problem.status,
        "headers": problem.headers(body),
    }
    end: HTTPResponseBodyEvent = {"type": "http.response.body", "body": body, "more_body": False}
    await send(start)
    await send(end)


def _unheard(_status: int) -> None:
    """Nobody counts."""


class Gate:
    """An ASGI application in front of another one; only ``http`` scopes are looked at."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        body_bytes_of: Callable[[str], int] = body_bytes_max,
        limits: GateLimits = DEFAULT_LIMITS,
        refused: Callable[[int], None] = _unheard,
    ) -> None:
        """``body_bytes_of`` gives the largest body, in bytes, for a decoded path. ``refused`` hears each status."""
        self._refused = refused
        self._app = app
        self._body_bytes_of = body_bytes_of
        self._limits = limits
        self._arrivals = _Arrivals(limits.arriving_bytes)

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Answer, or let the application answer. Raises only what ``send`` raises about a lost client."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(receive, send)
        admitted = self._faulty_head(scope) or await self._read_body(scope, receive)
        if isinstance(admitted, Problem):
            log.debug("refused", extra={**_named(scope), "status": admitted.status, "reason": admitted.title})
            self._refused(admitted.status)
            await send_problem(admitted, exchange.send)
        elif admitted is not None:
            exchange.body = admitted
            await self._run(scope, exchange)

    async def _run(self, scope: HTTPScope, exchange: "_Exchange") -> None:
        failure: BaseException | None = None
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except* Exception as errors:  # noqa: BLE001 contained here, and logged below
            failure = errors.exceptions[0] if len(errors.exceptions) == 1 else errors
        if exchange.is_client_lost:
            log.debug("the client left", extra=_named(scope), exc_info=failure)
            return
        if failure is not None:
            log.error("the application failed", extra=_named(scope), exc_info=failure)
        elif not exchange.is_started and not exchange.is_client_gone:
            log.error("the application ended without an answer", extra=_named(scope))
        if not exchange.is_started and not exchange.is_client_gone:
            self._refused(APPLICATION_FAILED.status)
            await send_problem(APPLICATION_FAILED, exchange.send)

    def _faulty_head(self, scope: HTTPScope) -> Problem | None:
        """What is wrong before the body, or None."""
        lengths, encodings = [], 0
        head_bytes = (
            _REQUEST_LINE_BYTES + len(scope["method"]) + len(scope["raw_path"]) + 1 + len(scope["query_string"])
        )
        for name, value in scope["headers"]:
            head_bytes += len(name) + len(value) + _HEADER_LINE_BYTES
            if name == b"content-length":
                lengths.append(value)
            elif name == b"transfer-encoding":
                encodings += 1
        if head_bytes > self._limits.header_bytes:
            return headers_too_large(self._limits.header_bytes)
        if lengths and encodings:
            # A proxy in front may believe the one and we the other: that is how requests are smuggled (RFC 9112 6.1).
            return malformed("Content-Length and Transfer-Encoding must not come together; send one of them")
        if encodings and scope["http_version"] == "1.0":
            return malformed("Transfer-Encoding does not exist in HTTP/1.0; send Content-Length, or use HTTP/1.1")
        if len(lengths) > 1 or not all(_CONTENT_LENGTH.fullmatch(length) for length in lengths):
            return malformed("Content-Length must be one number of at most 19 digits")
        if not scope["raw_path"].startswith(b"/"):
            # The absolute form carries a second host name; here the Host header is the only one (docs/http.md).
            return malformed("the request target must be a path that begins with /, such as /api/v1/incidents")
        bytes_max = self._body_bytes_of(scope["path"])
        return too_large(bytes_max) if lengths and int(lengths[0]) > bytes_max else None

    async def _read_body(self, scope: HTTPScope, receive: ASGIReceiveCallable) -> bytes | Problem | None:
        """The whole body, what is wrong with it, or None when the client left."""
        bytes_max = self._body_bytes_of(scope["path"])
        with trio.move_on_after(self._limits.body_s) as patience, self._arrivals.one(patience) as arrival:
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return None
                arrival.body += message.get("body", b"")
                if len(arrival.body) > bytes_max:
                    return too_large(bytes_max)
                if not message.get("more_body", False):
                    return bytes(arrival.body)
                self._arrivals.make_room()
        if arrival.is_sent_away:
            return Problem(
                status=503,
                title="Cannot do this now",
                detail=f"large bodies that are still arriving hold more than {self._limits.arriving_bytes} bytes "
                "together, and this one began first; send it again, in one go",
                retry_after_s=1,
            )
        return Problem(
            status=408,
            title="Too slow",
            detail=f"the body did not arrive within {self._limits.body_s:g} s; send it in one go, after the headers",
        )


class _Arrival:
    """A body of which more is to come."""

    def __init__(self, patience: trio.CancelScope) -> None:
        self.body = bytearray()
        self.patience = patience
        self.is_sent_away = False


class _Arrivals:
    """All of them, oldest first. Without a bound, 512 clients with no credentials could make us hold a gigabyte."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._all: dict[_Arrival, None] = {}

    @contextmanager
    def one(self, patience: trio.CancelScope) -> Iterator[_Arrival]:
        """A place for one more, whose reading ends when ``patience`` is cancelled."""
        arrival = _Arrival(patience)
        self._all[arrival] = None
        try:
            yield arrival
        finally:
            del self._all[arrival]

    def make_room(self) -> None:
        """Send away the large ones that began first, as long as all of them hold too much.

        Who sends in one go is soon complete; and small ones are no burden, whatever they do.
        """
        staying = [one for one in self._all if len(one.body) > SMALL_BODY_BYTES and not one.is_sent_away]
        over = sum(len(arrival.body) for arrival in staying) - self._bytes_max
        for arrival in staying:
            if over <= 0:
                break
            over -= len(arrival.body)
            arrival.is_sent_away = True
            arrival.patience.cancel()


def _named(scope: HTTPScope) -> dict[str, str]:
    """A request in a log line: never with its query."""
    return {"method": scope["method"], "path": scope["path"]}


class _Exchange:
    """The two ends of one request as the application sees them: the body in one piece, and sends that are not cut.

    An end-of-response ``http.disconnect`` makes Quart-Trio cancel its own nursery, the one in which it is sending. So
    each send is shielded (the server bounds it), and that disconnect is held back until the last send has returned.
    """

    def __init__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        self.body: bytes | None = None
        self.is_started = False
        self.is_client_gone = False  # told by receive(): nobody waits for an answer
        self.is_client_lost = False  # told by send(): the answer did not arrive
        self._is_last_sent = False
        self._last_send_returned = trio.Event()
        self._receive = receive
        self._send = send

    async def receive(self) -> ASGIReceiveEvent:
        if self.body is not None:
            body, self.body = self.body, None  # handed over, not kept
            await trio.lowlevel.checkpoint()
            return {"type": "http.request", "body": body, "more_body": False}
        message = await self._receive()
        if self._is_last_sent:
            await self._last_send_returned.wait()
        elif message["type"] == "http.disconnect":
            self.is_client_gone = True
        return message

    async def send(self, message: ASGISendEvent) -> None:
        self.is_started = True
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        self._is_last_sent = self._is_last_sent or is_last
        try:
            with trio.CancelScope(shield=True):
                await self._send(message)
        except ConnectionError:
            self.is_client_lost = True
            raise
        finally:
            if is_last:
                self._last_send_returned.set()


def malformed(detail: str) -> Problem:
    return Problem(status=400, title="Malformed request", detail=detail)


def headers_too_large(bytes_max: int) -> Problem:
    return Problem(
        status=431,
        title="Headers too large",
        detail=f"the request line and headers are over the limit of {bytes_max} bytes; send fewer or shorter ones",
    )


def too_large(bytes_max: int) -> Problem:
    return Problem(
        status=413,
        title="Too large",
        detail=f"the body is over the limit of {bytes_max} bytes for this path; split it, or leave something out",
    )
