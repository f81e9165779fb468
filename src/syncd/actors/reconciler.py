"""Sweeps over all links: once when the integration starts, since webhooks sent meanwhile are gone, and on command."""

from typing import Final

import trio
from msgspec import Struct

from syncd.actors.ports import ReconcileResult
from syncd.actors.reading import Reader
from syncd.errors import Busy, ExternalFailed
from syncd.seams import Clock, Ids

COMMANDS_MAX: Final = 4
RETRY_AFTER_S: Final = 5


class Sweep(Struct):
    """A command with its reply: ``done`` is set when ``result`` or ``failure`` is there."""

    done: trio.Event
    result: ReconcileResult | None = None
    failure: ExternalFailed | None = None


class Reconciler:
    """One integration's reconciler: its mailbox and its loop."""

    def __init__(self, reader: Reader, clock: Clock, ids: Ids) -> None:
        self._reader = reader
        self._clock = clock
        self._ids = ids
        self._send, self._mailbox = trio.open_memory_channel[Sweep](COMMANDS_MAX)
        self.last: ReconcileResult | None = None

    async def reconcile(self) -> ReconcileResult:
        """Sweep now and return what it found; ``Busy`` when it cannot be done at this moment."""
        command = Sweep(trio.Event())
        try:
            self._send.send_nowait(command)
        except trio.WouldBlock as error:
            busy = "other reconcile runs are waiting"
            raise Busy(busy, hint="try again when they are done", retry_after_s=RETRY_AFTER_S) from error
        await command.done.wait()
        if command.result is None:
            problem = f"the run stopped: {command.failure}"
            raise Busy(
                problem, hint="im integration sync-status says how the instance does", retry_after_s=RETRY_AFTER_S
            )
        return command.result

    async def run(self) -> None:
        """Sweep until one start-up sweep went through, then at every command. Ends only by cancellation."""
        while True:
            try:
                await self._sweep()
                break
            except ExternalFailed:
                await trio.sleep(max(1.0, self._reader.breaker.wait_s))
        async for command in self._mailbox:
            try:
                command.result = await self._sweep()
            except ExternalFailed as error:
                command.failure = error
            command.done.set()

    async def _sweep(self) -> ReconcileResult:
        started_at_s = self._clock.now_s()
        found = await self._reader.sweep(self._clock, self._ids.word())
        self.last = ReconcileResult(found.checked, found.observed, started_at_s, self._clock.now_s())
        return self.last
