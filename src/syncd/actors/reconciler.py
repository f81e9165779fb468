"""Sweeps over all links: once when the integration starts, since webhooks sent meanwhile are gone, and on command."""

import math
from contextlib import suppress
from typing import Final

import trio
from msgspec import Struct

from syncd.actors.ports import ReconcileResult
from syncd.actors.pulse import resting
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
            why = command.failure or "the integration was started anew, or ended, meanwhile"
            raise Busy(
                f"the run stopped: {why}",
                hint="im integration sync-status says how the instance does",
                retry_after_s=RETRY_AFTER_S,
            )
        return command.result

    async def run(self) -> None:
        """Sweep once at the start, until that has worked, and at every command. Ends only by cancellation."""
        try:
            await self._run()
        finally:  # whoever still waits for a run of ours would wait for ever
            with suppress(trio.WouldBlock):
                while True:
                    self._mailbox.receive_nowait().done.set()

    async def _run(self) -> None:
        is_behind, pause_s, failures = True, 0.0, 0
        while True:
            command: Sweep | None = None
            with resting(), trio.move_on_after(pause_s if is_behind else math.inf):
                command = await self._mailbox.receive()
            try:
                if command is not None:
                    self._reader.breaker.check()  # a person waits: say at once that the instance is being left alone
                result = await self._sweep()
                is_behind, failures = False, 0
                if command is not None:
                    command.result = result
            except ExternalFailed as error:
                failures += 1
                is_behind, pause_s = True, self._reader.pause_s(failures)
                if command is not None:
                    command.failure = error
            finally:
                if command is not None:
                    command.done.set()

    async def _sweep(self) -> ReconcileResult:
        started_at_s = self._clock.now_s()
        found = await self._reader.sweep(self._clock, self._ids.word())
        self.last = ReconcileResult(found.checked, found.observed, started_at_s, self._clock.now_s(), found.missing)
        return self.last
