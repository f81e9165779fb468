"""One connection: HTTP/1.1 inside, deadlines, bounded sends and clean endings around it.

Theory of operation. ``Connection`` stands where Hypercorn's ``TCPServer`` stood (each of its methods had to be
replaced, docs/http.md). Its one reader feeds bytes to the protocol, which runs the application in a task of its own:

    resting --first byte--> headers --complete--> request --answered--> resting
       | idle_s                | headers_s           |`--last answer--> ending: FIN, read on briefly, close
       `-------> ending <------'                     `--client gone---> ending: the application sees http.disconnect

While a request is open the reader has no deadline: a stream may live as long as it likes, and the time for a body is
the gate's. A write is whole and bounded: it is shielded from the application being cancelled, because the protocol has
counted its bytes as sent, and a client that does not take 64 KiB within ``send_s`` is lost. Only ``sever`` cuts it.
"""

import logging
import socket
from collections.abc import Callable
from math import inf
from typing import Final, Literal

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.utils import parse_socket_addr
from msgspec import Struct

from syncd.edges.api.gate import ASGIApp
from syncd.edges.api.http1 import Addresses, Http1
from syncd.edges.api.listeners import peer_of

READ_BYTES_HEAD: Final = 4 * 1024  # h11 looks at its limit once a read: so far can a header block overshoot it
READ_BYTES: Final = 64 * 1024
WRITE_BYTES: Final = 64 * 1024
CLOSE_S_MAX: Final = 1.0

Phase = Literal["resting", "headers", "request", "ending"]
Stream = trio.abc.HalfCloseableStream

log = logging.getLogger("syncd.http")


class ServeLimits(Struct, frozen=True):
    """Seconds on Trio's clock, counts and bytes; docs/http.md says what a client sees of each."""

    connections_max: int = 512  # for each listener
    patience_s: float = 0.5  # with a client that keeps us waiting while others wait for its place, at first
    patience_s_min: float = 0.05  # as long as a crowd lasts, patience runs down to this
    idle_s: float = 5.0  # until the first byte of a request
    headers_s: float = 5.0  # from the first byte of a request to the end of its headers
    send_s: float = 10.0  # for each 64 KiB
    half_closed_s: float = 10.0  # for the answer to a client that has closed its sending side
    linger_s: float = 5.0  # reading on, after an answer that came before the request was complete
    linger_bytes: int = 16 * 1024 * 1024
    last_word_s: float = 1.0  # for a request that is still on its way when the server stops
    grace_s: float = 3.0  # for the requests that are open when the server stops


class Connection:
    """One client. ``run`` is its life; ``retire`` and ``sever`` end it from outside, without waiting."""

    def __init__(
        self,
        app: ASGIApp,
        stream: Stream,
        *,
        config: Config,
        context: WorkerContext,
        limits: ServeLimits,
        is_crowded: Callable[[], bool],
    ) -> None:
        """``is_crowded`` tells whether another client waits for this one's place."""
        self._app = app
        self._stream = stream
        self._config = config
        self._context = context
        self._limits = limits
        self._is_crowded = is_crowded
        self._life = trio.CancelScope()
        self._reading = trio.CancelScope(deadline=trio.current_time() + limits.idle_s)
        self._writing: trio.CancelScope | None = None
        self._writing_since = 0.0
        self._write_lock = trio.Lock()
        self._phase: Phase = "resting"
        self._since = trio.current_time()  # when the phase began
        self._is_gone = False
        self._was_answered = False
        self._protocol: Http1

    @property
    def is_gone(self) -> bool:
        """Nobody can read what we write."""
        return self._is_gone

    @property
    def must_close(self) -> bool:
        """The answer that starts now is the last one here."""
        return self._context.terminated.is_set() or self._is_crowded()

    @property
    def waiting_since(self) -> float | None:
        """Since when (Trio's clock) only the client could move this on; None while it is we who owe something."""
        if self._writing is not None:  # it asked, and does not take the answer
            return self._writing_since
        if self._phase == "request":
            wire = self._protocol.wire
            if wire.their_state is not h11.SEND_BODY or wire.our_state is not h11.SEND_RESPONSE:
                return None
        return self._since

    async def run(self) -> None:
        """Converse until either side is done. Raises only what is a fault of ours or of Hypercorn's."""
        try:
            with self._life:
                async with trio.open_nursery() as nursery:
                    self._protocol = self._open_protocol(nursery)
                    await self._read()
                    await self._protocol.handle(Closed())  # an application that still runs sees http.disconnect
                    await self._hang_up()
        finally:
            self._is_gone = True
            with trio.move_on_after(CLOSE_S_MAX, shield=True):
                await trio.aclose_forcefully(self._stream)

    def end(self) -> None:
        """Read no further request; the reader then closes."""
        self._enter("ending", deadline_s=inf)
        self._reading.cancel()

    def retire(self) -> None:
        """Close now if it rests after an answer; who has come to ask, and is not done asking, has a moment to ask.

        A service manager may hold the listening socket open, and then nobody else has been refused either.
        ``must_close`` sees to it that a request that is open, or comes now, is the last.
        """
        if self._phase == "resting" and self._was_answered:
            self.end()
        elif self._phase in ("resting", "headers"):
            self._reading.deadline = min(self._reading.deadline, trio.current_time() + self._limits.last_word_s)

    def sever(self) -> None:
        """Cancel everything, writes and the application included."""
        self._lose()
        self._life.cancel()

    def _enter(self, phase: Phase, *, deadline_s: float) -> None:
        if self._phase == "ending":  # there is no way back, not even for an answer that is completed meanwhile
            return
        self._phase = phase
        self._since = trio.current_time()
        self._reading.deadline = self._since + deadline_s

    def _lose(self) -> None:
        self._is_gone = True
        if self._writing is not None:
            self._writing.cancel()
        self.end()

    def _open_protocol(self, nursery: trio.Nursery) -> Http1:
        state: dict[str, object] = {}
        addresses = Addresses()
        if isinstance(self._stream, trio.SocketStream):
            sock = self._stream.socket
            try:
                if sock.family == socket.AF_UNIX:
                    state["peer"] = peer_of(sock)
                else:
                    addresses = Addresses(
                        parse_socket_addr(sock.family, sock.getpeername()),
                        parse_socket_addr(sock.family, sock.getsockname()),
                    )
            except OSError:  # it has left already, as the first read will tell
                log.debug("a client left before it could be named")
        return Http1(
            self._app,
            self,
            nursery,
            config=self._config,
            context=self._context,
            state=state,
            addresses=addresses,
            send=self._send,
        )

    async def _read(self) -> None:
        """Feed the protocol until the client is done, a deadline passes, or ``end`` is called."""
        with self._reading:
            while True:
                try:
                    received = await self._stream.receive_some(
                        READ_BYTES if self._phase == "request" else READ_BYTES_HEAD
                    )
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    self._lose()
                    break
                if received and self._phase == "resting":  # later bytes do not extend it: headers that drip are cut
                    self._enter("headers", deadline_s=self._limits.headers_s)
                await self._protocol.handle(RawData(bytes(received)))
                if not received:
                    break
            if self._phase == "request":  # the client has closed its sending side; it may well wait for the answer
                self._reading.deadline = trio.current_time() + self._limits.half_closed_s
                await trio.sleep_forever()

    async def _send(self, event: Event) -> None:
        """What the protocol has to say: bytes for the client, or a turn in the conversation."""
        match event:
            case RawData(data=data):
                await self._write(data)
            case Updated(idle=True) if not self.must_close:
                self._was_answered = True
                self._enter("resting", deadline_s=self._limits.idle_s)
            case Updated(idle=False):
                self._enter("request", deadline_s=inf)
            case _:
                self.end()

    async def _write(self, data: bytes) -> None:
        with trio.CancelScope(shield=True):
            async with self._write_lock:
                for start in range(0, len(data), WRITE_BYTES):
                    if self._is_gone:
                        return
                    await self._write_piece(memoryview(data)[start : start + WRITE_BYTES])

    async def _write_piece(self, piece: memoryview) -> None:
        self._writing_since = trio.current_time()
        with trio.move_on_after(self._limits.send_s) as self._writing:
            try:
                await self._stream.send_all(piece)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._lose()
        if self._writing.cancelled_caught and not self._is_gone:
            log.debug("closed a connection whose client read nothing", extra={"within_s": self._limits.send_s})
            self._lose()
        self._writing = None

    async def _hang_up(self) -> None:
        """Send FIN; if the client still sends, read on for a while, or the kernel's reset would eat our last answer."""
        if not self._is_gone:
            wire = self._protocol.wire
            is_unread = wire.their_state in (h11.SEND_BODY, h11.ERROR) or bool(wire.trailing_data[0])
            is_answered = wire.our_state is not h11.IDLE
            with trio.move_on_after(self._limits.linger_s):
                try:
                    async with self._write_lock:
                        await self._stream.send_eof()
                    left_bytes = self._limits.linger_bytes if is_answered and is_unread else 0
                    while left_bytes > 0 and (dropped := await self._stream.receive_some(READ_BYTES)):
                        left_bytes -= len(dropped)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    log.debug("a client left before the connection was closed")
        self._is_gone = True
        await trio.aclose_forcefully(self._stream)
