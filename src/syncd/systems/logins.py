"""Logins with one set of credentials at one instance, made so that refused ones lock no account.

What was not proved of late goes one by one: a request first, and the others when it is answered, or slow. After a
refusal they are tried once more, and then every five minutes. Where several were refused at once, there is no
"once more". Tokens are no logins: whoever shows one need not wait for another.
"""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from syncd.errors import ExternalFailed

PROVED_S: Final = 2.0  # a write never waits: the read that it rests on was let in no longer ago
PATIENCE_S: Final = 0.5  # a refusal is quick, and who is slow looks at more than credentials
ONCE_MORE_AFTER_S: Final = 1.0
PROBE_AFTER_S: Final = 300.0
REFUSED_BEFORE: Final = 2
MARGIN_S: Final = 0.001  # who waits for as long as he is told must not be early by a rounding


class Logins:
    """``shows_secret``: with every request."""

    def __init__(self, *, shows_secret: bool) -> None:
        self._shows_secret = shows_secret
        self._refused = 0  # in a row
        self._words = self._detail = ""
        self._until = self._proved_at = self._refused_at = -math.inf
        self._is_tried = False
        self._news = trio.Event()

    def check(self, since: float = math.inf) -> None:
        """``ExternalFailed`` (``paused``) while none may leave, or when one was refused after ``since``."""
        now = trio.current_time()
        if now < self._until or self._refused_at > since:
            words = f"not sent, the credentials were refused: {self._words}"
            wait_s = max(0.0, self._until - now) + MARGIN_S
            raise ExternalFailed("paused", words, status=401, detail=self._detail, retry_after_s=wait_s)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Until the end of the block, a request that may leave; ``ExternalFailed`` (``paused``) when none may."""
        is_first = await self._is_first()
        try:
            yield
        finally:
            if is_first:
                self._is_tried = False
                self._wake()

    async def _is_first(self) -> bool:
        """Returns when a request may leave: whether the others have to wait for it."""
        while True:
            self.check()
            if not self._refused and (not self._shows_secret or trio.current_time() < self._proved_at + PROVED_S):
                return False
            if not self._is_tried:
                self._is_tried = True
                return True
            with trio.move_on_after(math.inf if self._refused else PATIENCE_S) as patience:
                await self._news.wait()
            if patience.cancelled_caught and not self._refused:
                return False

    def accepted(self, left_at: float) -> None:
        """A request that left then was let in."""
        if left_at >= self._refused_at:
            self._refused, self._until = 0, -math.inf
            self._proved_at = trio.current_time()
            self._wake()

    def refused(self, error: ExternalFailed) -> None:
        """A request was refused; ``error`` gets to tell for how long none may leave."""
        if error.retry_after_s is not None:
            return  # counted: it was not sent, or is another's refusal, shared
        now = trio.current_time()
        self._refused, self._refused_at = self._refused + 1, now
        self._words, self._detail = error.message, error.detail
        pause_s = ONCE_MORE_AFTER_S if self._refused == 1 else PROBE_AFTER_S
        self._until = max(self._until, now + pause_s)
        error.retry_after_s = self._until - now + MARGIN_S
        self._wake()

    def were_refused(self, wait_s: float) -> None:
        """In an earlier life of ours, which meant to wait for so long still."""
        self._refused, self._words = max(self._refused, REFUSED_BEFORE), self._words or "before this start"
        self._until = max(self._until, trio.current_time() + min(wait_s, PROBE_AFTER_S))

    def ask_for_one(self) -> None:
        """A person wants to know: one may leave now. Refused again, the others wait for as long as ever."""
        self._until = -math.inf

    def _wake(self) -> None:
        self._news.set()
        self._news = trio.Event()
