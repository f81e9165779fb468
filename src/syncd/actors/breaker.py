"""One integration's picture of whether its instance answers, and how long to leave it alone.

Throttled: no request of any kind until ``Retry-After``. Three outages in a row, or one after the breaker has opened:
wait with backoff, at most 15 s, then try again. Refused twice in a row: paused, with a slow probe. After either, one
request goes first; what had left before the way was closed says nothing about it. For how long refused credentials and
``Retry-After`` close it, the failure tells: that is known of the account (``systems/accounts.py``), and outlives this.
Not durable: after a restart the first request finds out.
"""

import logging
import math
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Final, TypeVar

import trio

from syncd.core.backoff import RETRY_AFTER_S_MAX, delay_s
from syncd.core.troubles import Trouble, with_trouble
from syncd.errors import ExternalFailed
from syncd.pulse import resting

T = TypeVar("T")
log: Final = logging.getLogger("syncd.actors")

OUTAGES_UNTIL_OPEN: Final = 3
REFUSALS_UNTIL_PAUSED: Final = 2
TROUBLED_S_MAX: Final = 30.0
PROBE_AFTER_S: Final = 300.0
REFUSED_S_MIN: Final = 5.0  # who is to wait longer has been refused more than once
ONCE_MORE_AFTER_S: Final = 1.0
ADMITTED_S_MAX: Final = 600.0
PAUSE_S_MAX: Final = 14.0  # an instance that is down is asked every 15 s, the prober's patience included


class Breaker:
    """Shared by all actors of one integration; every request is made in its ``turn``. ``concurrency``: at once.

    ``name``: what the log calls it. ``admit``: the request that goes first: at the start, after every doubt and every
    lost connection, and when it was made more than ten minutes ago.
    ``pace``: waited for at the beginning of each turn.
    """

    def __init__(
        self,
        rng: Random,
        concurrency: int,
        name: str = "",
        admit: Callable[[], Awaitable[None]] | None = None,
        pace: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
    ) -> None:
        self._rng = rng
        self._name = name
        self._admit = admit
        self._admitted_until = math.inf if admit is None else -math.inf
        self._pace = pace
        self._told = "closed"
        self._slots = trio.CapacityLimiter(concurrency)
        self._probe = trio.Lock()
        self._until = -1.0
        self._doubtful = trio.Event()
        self._ended = trio.Event()
        self._closings = 0
        self._outages = 0
        self._refusals = 0
        self.last_failure: ExternalFailed | None = None
        self.requests = self.throttled = self.errors = 0
        self.outcomes: Counter[str] = Counter()
        self.troubles: tuple[Trouble, ...] = ()  # their times are Trio's

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

    def check(self) -> None:
        """Raise what the last request met if no request may leave now."""
        if self.wait_s > 0 and self.last_failure is not None:
            raise self.last_failure

    async def wait_doubtful(self) -> None:
        """Return when a request should leave to find out whether the instance answers: it is in doubt, and one may

        leave; or the last one failed, and nobody has asked since for so long that nobody may.
        """
        while not self.is_in_doubt or self.wait_s > 0:
            if self.is_in_doubt:
                await trio.sleep_until(self._until)
            elif self.is_troubled:
                with trio.move_on_after(max(self.wait_s, TROUBLED_S_MAX)) as patience:
                    await self._doubtful.wait()
                if patience.cancelled_caught:
                    return
            else:
                await self._doubtful.wait()

    async def others_first(self, patience_s: float) -> None:
        """Return when nobody waits for a turn, or after ``patience_s`` seconds: for what may wait."""
        with trio.move_on_after(patience_s):
            while self._slots.statistics().tasks_waiting:
                with resting():
                    await self._ended.wait()

    async def ask(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make one request in its turn. Raises its ``ExternalFailed``."""
        async with self.turn():
            return await self.made(call)

    @asynccontextmanager
    async def turn(self, *, waits: bool = True) -> AsyncIterator[None]:
        """Until the end of the block, one place among the requests; it begins when a request may leave.

        ``waits`` False: where it would have to wait for the instance, ``ExternalFailed`` (``unavailable``) at once.
        """
        try:
            async with _held(self._slots):
                with resting():
                    await self._pace()
                while True:
                    if self.wait_s > 0:
                        if not waits:
                            raise ExternalFailed("unavailable", f"not sent, the instance is left alone: {self._last()}")
                        with resting():
                            await trio.sleep_until(self._until)
                    elif not self._is_admitted and self._admit is not None:
                        async with _held(self._probe):
                            if self.wait_s <= 0 and not self._is_admitted:
                                refusals = self._refusals
                                await self.made(self._admit)
                                self._refusals = refusals  # to be let in is not yet to be served
                                self._admitted_until = trio.current_time() + ADMITTED_S_MAX
                    elif self.is_in_doubt:
                        async with _held(self._probe):
                            if self.wait_s <= 0:  # nobody has found out meanwhile that it is still down
                                yield
                                return
                    else:
                        yield
                        return
        finally:
            self._ended.set()
            self._ended = trio.Event()

    async def made(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a request whose turn it is, and take note of how it ended. Raises its ``ExternalFailed``."""
        closings, refusals = self._closings, self._refusals
        self.requests += 1
        try:
            with resting():  # it has a time limit of its own
                found = await call()
        except ExternalFailed as error:
            self._note(error)
            # An account is locked after a few refusals, whatever else has closed the way meanwhile.
            is_news = refusals == self._refusals if error.outcome == "paused" else closings == self._closings
            self._failed(error, is_news=is_news)
            raise
        self.outcomes["ok"] += 1
        self._succeeded(is_news=closings == self._closings)
        return found

    @property
    def _is_admitted(self) -> bool:
        return trio.current_time() < self._admitted_until

    def _ask_anew(self) -> None:
        """Who is there: it may be another one by now."""
        self._admitted_until = math.inf if self._admit is None else -math.inf

    @property
    def is_in_doubt(self) -> bool:
        """Only one request may find out whether all is well again."""
        return self._outages >= OUTAGES_UNTIL_OPEN or self._refusals > 0

    @property
    def is_troubled(self) -> bool:
        """The last request met an instance that did not answer as it should."""
        return self.last_failure is not None and self.last_failure.outcome in ("unavailable", "ambiguous", "throttled")

    def _note(self, error: ExternalFailed) -> None:
        self.outcomes[error.outcome] += 1
        met = Trouble(trio.current_time(), error.outcome, error.message, error.status, error.detail, way_out=error.hint)
        self.troubles = with_trouble(self.troubles, met)

    def _last(self) -> str:
        return self.last_failure.message if self.last_failure is not None else "it did not answer"

    def _succeeded(self, *, is_news: bool) -> None:
        """A request ended in a value, or in a refusal of this one record: the instance is there."""
        if is_news:
            self._outages = self._refusals = 0
            self._until = -1.0
            self.last_failure = None
            self._tell()

    def _failed(self, error: ExternalFailed, *, is_news: bool) -> None:
        """A request ended in ``error``; closes the way when that says something about the whole instance."""
        if error.outcome in ("refused", "gone"):
            self._succeeded(is_news=is_news)
            return
        self.errors += 1
        if is_news or error.outcome == "throttled":
            self.last_failure = error
            self._wake()
        if error.status is None and error.outcome in ("unavailable", "ambiguous"):
            self._ask_anew()  # nobody answered, and somebody else may answer the next
        if error.outcome == "throttled":
            self.throttled += 1
            self._outages += is_news and error.retry_after_s is None
            self._close_for(min(error.retry_after_s or delay_s(self._outages, 0.0, 1.0), RETRY_AFTER_S_MAX))
        elif not is_news:
            return
        elif error.outcome == "paused":
            self._refusals += 1
            if (error.retry_after_s or 0.0) > REFUSED_S_MIN:
                self._refusals = max(self._refusals, REFUSALS_UNTIL_PAUSED)
            pause_s = PROBE_AFTER_S if self._refusals >= REFUSALS_UNTIL_PAUSED else ONCE_MORE_AFTER_S
            self._close_for(error.retry_after_s or pause_s)
        else:
            self._outages += 1
            if self._outages >= OUTAGES_UNTIL_OPEN:
                jitter = 0.5 + self._rng.random() / 2
                self._close_for(min(PAUSE_S_MAX, delay_s(self._outages - OUTAGES_UNTIL_OPEN, 0.0, jitter)))

    def _close_for(self, pause_s: float) -> None:
        self._closings += 1
        if self.is_in_doubt:
            self._ask_anew()
        self._until = max(self._until, trio.current_time() + pause_s)
        self._wake()
        self._tell()

    def _wake(self) -> None:
        """Have the prober look how it is."""
        self._doubtful.set()
        self._doubtful = trio.Event()

    def _tell(self) -> None:
        """One line in the log for each change between well, left alone and paused."""
        if self.state != self._told:
            self._told = self.state
            reason = self.last_failure.message if self.last_failure is not None else "it answers again"
            log.warning("way to ServiceNow", extra={"who": self._name, "state": self._told, "reason": reason})


@asynccontextmanager
async def _held(lock: trio.Lock | trio.CapacityLimiter) -> AsyncIterator[None]:
    """Have it until the end of the block. Who has it may be waiting for the instance, so this may take long."""
    with resting():
        await lock.acquire()
    try:
        yield
    finally:
        lock.release()
