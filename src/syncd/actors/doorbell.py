"""Doorbells: capacity-1 channels that say "look at State", and waiting for one or for a time.

A bell that already rings is enough, so ringing never waits. The work itself is in State, where a crash leaves it.
"""

import math
from contextlib import suppress

import trio

from syncd.pulse import resting


class Doorbell:
    """One actor's bell. Whoever has work for the actor rings it; the actor waits on it."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[None](1)

    def ring(self) -> None:
        """Ring; never waits."""
        with suppress(trio.WouldBlock):
            self._send.send_nowait(None)

    async def wait(self, for_s: float = math.inf) -> None:
        """Return at the next ring, or after ``for_s`` seconds."""
        with resting(), trio.move_on_after(for_s):
            await self._receive.receive()
