"""Asks an instance that does not answer, or refuses us, whether it does again, when nobody else has reason to.

So that "down" and "paused" are never older than the breaker's pause, and end by themselves; so does the trouble that
one failed request leaves.
"""

from contextlib import suppress
from typing import Final

import trio

from syncd.actors.breaker import Breaker
from syncd.actors.ports import External
from syncd.errors import ExternalFailed
from syncd.pulse import resting

PATIENCE_S: Final = 0.5  # work that waits goes first, and finds out as well


async def run_prober(breaker: Breaker, external: External) -> None:
    """Probe whenever a pause of the breaker is over and it is still in doubt. Ends only by cancellation."""
    while True:
        with resting():
            await breaker.wait_doubtful()
        await trio.sleep(PATIENCE_S)
        if breaker.wait_s > 0 or not (breaker.is_in_doubt or breaker.is_troubled):
            continue
        with suppress(ExternalFailed):  # the breaker has taken note, and says how long to wait
            await breaker.ask(external.probe)
