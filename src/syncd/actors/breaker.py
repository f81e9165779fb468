"""One integration's picture of whether its instance answers, and how long to leave it alone.

Throttled: no request of any kind until ``Retry-After``. Three outages in a row, or one after the breaker has opened:
wait with backoff, at most 15 s, then try again. Wrong credentials twice in a row: paused, with a slow probe. Not
durable: after a restart the first request finds out.
"""

from random import Random
from typing import Final

import trio

from syncd.core.backoff import CAP_S_FRESH, RETRY_AFTER_S_MAX, delay_s
from syncd.errors import ExternalFailed

OUTAGES_UNTIL_OPEN: Final = 3
REFUSALS_UNTIL_PAUSED: Final = 2
PROBE_AFTER_S: Final = 300.0


class Breaker:
    """Shared by all actors of one integration; every request passes it and reports back."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._until = -1.0
        self._outages = 0
        self._refusals = 0
        self.last_failure: ExternalFailed | None = None
        self.requests = self.throttled = self.errors = 0

    @property
    def state(self) -> str:
        """``closed`` (all is well), ``open`` (left alone for a while) or ``paused`` (a person must look)."""
        if self._refusals >= REFUSALS_UNTIL_PAUSED:
            return "paused"
        return "open" if trio.current_time() < self._until or self._outages >= OUTAGES_UNTIL_OPEN else "closed"

    @property
    def wait_s(self) -> float:
        """Seconds until the next request may leave."""
        return max(0.0, self._until - trio.current_time())

    async def passage(self) -> None:
        """Wait until a request may leave."""
        while (until := self._until) > trio.current_time():  # noqa: ASYNC110 another failure may move it while we sleep
            await trio.sleep_until(until)

    def check(self) -> None:
        """Raise what the last request met if no request may leave now."""
        if self.wait_s > 0 and self.last_failure is not None:
            raise self.last_failure

    def succeeded(self) -> None:
        """A request ended in a value, or in a refusal of this one record: the instance is there."""
        self.requests += 1
        self._outages = self._refusals = 0
        self._until = -1.0
        self.last_failure = None

    def failed(self, error: ExternalFailed) -> None:
        """A request ended in ``error``; closes the way when that says something about the whole instance."""
        if error.outcome in ("refused", "gone"):
            self.succeeded()
            return
        self.requests += 1
        self.errors += 1
        self.last_failure = error
        if error.outcome == "paused":
            self._refusals += 1
            pause_s = PROBE_AFTER_S if self._refusals >= REFUSALS_UNTIL_PAUSED else 1.0
        elif error.outcome == "throttled":
            self.throttled += 1
            pause_s = min(error.retry_after_s or delay_s(self._outages, 0.0, 1.0), RETRY_AFTER_S_MAX)
            self._outages += error.retry_after_s is None
        else:
            self._outages += 1
            if self._outages < OUTAGES_UNTIL_OPEN:
                return
            pause_s = min(CAP_S_FRESH, delay_s(self._outages - OUTAGES_UNTIL_OPEN, 0.0, 0.5 + self._rng.random() / 2))
        self._until = max(self._until, trio.current_time() + pause_s)
