"""The doors: accept loops that give each client its place and contain what goes wrong with it.

Hypercorn's own ``serve()`` is not used: there one connection's exception ends the daemon, and nothing bounds their
number. Here an exception stays in its connection (one line in the log); a full door closes the client it has waited for
longest; ``stop`` ends everything within ``grace_s``, whatever the clients do. No lifespan events are sent: nothing of
ours lives in the application, so it may stand behind several doors. What one connection does is ``connection.py``.
"""

import errno
import logging
from collections.abc import Sequence
from typing import Final

import trio
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext

from syncd.edges.api.connection import Connection, ServeLimits, Stream
from syncd.edges.api.gate import ASGIApp
from syncd.edges.api.http1 import hypercorn_config
from syncd.edges.api.listeners import UnixListener, address_of, open_tcp, open_unix
from syncd.pulse import resting, unwatched, watched

__all__ = ["DEFAULT_LIMITS", "ServeLimits", "UnixListener", "open_tcp", "open_unix", "serve"]

DEFAULT_LIMITS: Final = ServeLimits()
ACCEPT_PAUSE_S: Final = 0.1
CROWD_NOTICE_S: Final = 60.0
PLACE_S_MAX: Final = 600.0  # no answer takes so long, and streams hold a few places only: then handlers are stuck

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

log = logging.getLogger("syncd.http")


async def serve(
    app: ASGIApp,
    listeners: Sequence[trio.abc.Listener[Stream]],
    *,
    stop: trio.Event,
    limits: ServeLimits = DEFAULT_LIMITS,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve ``app`` on all ``listeners`` until ``stop`` is set, and close them. Put a ``Gate`` around ``app`` first.

    After ``stop`` nothing new is accepted, connections without an open request are closed at once, and open requests
    have ``limits.grace_s`` to end before they are cancelled. Cancelling this call cancels them at once. Raises only
    what an application raises beyond Exception, and what ends a listener.
    """
    config, context = hypercorn_config(), WorkerContext(None)
    doors = [_Door(app, listener, config, context, limits) for listener in listeners]
    async with trio.open_nursery() as nursery:
        try:
            async with trio.open_nursery() as accepting:
                for door in doors:
                    accepting.start_soon(door.accept, nursery)
                task_status.started()
                await stop.wait()
                accepting.cancel_scope.cancel()
            await context.terminated.set()
            for door in doors:
                door.retire()
            with trio.move_on_after(limits.grace_s):
                for door in doors:
                    await door.wait_empty()
        finally:
            for door in doors:  # a write is shielded, so that cancelling alone would wait for it
                door.sever()


class _Door:
    """One listener and the clients that came in through it."""

    def __init__(
        self,
        app: ASGIApp,
        listener: trio.abc.Listener[Stream],
        config: Config,
        context: WorkerContext,
        limits: ServeLimits,
    ) -> None:
        self._app = app
        self._listener = listener
        self._config = config
        self._context = context
        self._limits = limits
        self._connections: set[Connection] = set()
        self._left = trio.Event()  # set, and replaced, whenever a client leaves
        self._is_crowded = False
        self._crowded_since: float | None = None  # how long newcomers have had to wait
        self._slowest: list[tuple[float, Connection]] = []  # who kept us waiting at the last look, the slowest last
        self._noticed_crowd_at = -CROWD_NOTICE_S

    async def accept(self, nursery: trio.Nursery) -> None:
        """Let clients in, each with a task in ``nursery``; closes the listener when cancelled."""
        async with self._listener:
            with watched(f"door {address_of(self._listener)}"):
                while True:
                    await self._accept(nursery)

    async def _accept(self, nursery: trio.Nursery) -> None:
        try:
            with resting():
                stream = await self._listener.accept()
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            log.warning("cannot accept connections for the moment", extra={"reason": error.strerror})
            await trio.sleep(ACCEPT_PAUSE_S)
        else:
            await self._seat(stream, nursery)

    def retire(self) -> None:
        for connection in self._connections:
            connection.retire()

    def sever(self) -> None:
        for connection in self._connections:
            connection.sever()

    async def wait_empty(self) -> None:
        while self._connections:
            await self._left.wait()

    async def _seat(self, stream: Stream, nursery: trio.Nursery) -> None:
        """Start the conversation as soon as there is a place for it."""
        has_place = False
        try:
            with resting(PLACE_S_MAX):
                await self._make_room()
            has_place = True
        finally:
            if not has_place:
                with trio.move_on_after(ACCEPT_PAUSE_S, shield=True):
                    await trio.aclose_forcefully(stream)
        connection = Connection(
            self._app,
            stream,
            config=self._config,
            context=self._context,
            limits=self._limits,
            is_crowded=lambda: self._is_crowded,
        )
        self._connections.add(connection)
        unwatched().run(nursery.start_soon, self._converse, connection)

    async def _make_room(self) -> None:
        """Wait for a place. Who is being answered stays; who keeps us waiting is sent away, the slowest first."""
        limits = self._limits
        if len(self._connections) < limits.connections_max:
            self._crowded_since = None
            self._slowest.clear()
        while len(self._connections) >= limits.connections_max:
            self._is_crowded = True  # who has been answered goes, instead of resting here
            self._notice_crowd()
            now = trio.current_time()
            crowded_since = self._crowded_since = now if self._crowded_since is None else self._crowded_since
            since, slowest = self._look_for_slowest() or (now, None)
            # When now - since >= patience_s - (now - crowded_since): each second of the crowd costs one of patience.
            # So a queue of ten times the places passes through within a second.
            lost_at = max(since + limits.patience_s_min, (since + crowded_since + limits.patience_s) / 2)
            if slowest is not None and now >= lost_at:
                slowest.sever()
                await self._left.wait()
            else:
                with trio.move_on_at(lost_at):
                    await self._left.wait()
        self._is_crowded = False

    def _look_for_slowest(self) -> tuple[float, Connection] | None:
        """Who has kept us waiting longest, and since when. Whoever began after a look comes behind all it found."""
        while self._slowest:
            since, who = self._slowest[-1]
            if who in self._connections and who.waiting_since == since:
                return since, who
            self._slowest.pop()
        waiting = [(at, who) for who in self._connections if (at := who.waiting_since) is not None]
        self._slowest = sorted(waiting, key=lambda pair: pair[0], reverse=True)
        return self._slowest[-1] if self._slowest else None

    def _notice_crowd(self) -> None:
        now = trio.current_time()
        if now - self._noticed_crowd_at >= CROWD_NOTICE_S:
            self._noticed_crowd_at = now
            log.warning(
                "all connections of a listener are taken: closing those that keep it waiting",
                extra={"connections": self._limits.connections_max},
            )

    async def _converse(self, connection: Connection) -> None:
        try:
            await connection.run()
        except* Exception as errors:  # one connection's fault must not end the others
            reason = "; ".join(map(repr, _leaves(errors)))
            log.warning("a connection failed and was closed", extra={"reason": reason})
            log.debug("the failed connection", exc_info=errors)
        finally:
            self._connections.discard(connection)
            self._left.set()
            self._left = trio.Event()


def _leaves(errors: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf
        for error in errors.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]
