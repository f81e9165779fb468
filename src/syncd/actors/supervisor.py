"""Restarts an actor after errors with growing pauses, and gives up when it fails too often.

What crashes on one link alone is kept to it before it comes here (``containment.py``). Owns nothing but the list of
recent failures.
"""

import logging
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

import trio
from msgspec import Struct

from syncd.core.backoff import delay_s
from syncd.errors import ActorGaveUp, JournalFailed
from syncd.pulse import watched

log: Final = logging.getLogger("syncd.actors")

Start = Callable[[], Awaitable[None]]


class RestartPolicy(Struct, frozen=True):
    """Give up after ``failures_max`` failures within ``window_s``."""

    failures_max: int = 5
    window_s: float = 600.0


def _unheard() -> None:
    """Nobody counts."""


async def supervise(
    name: str, start: Start, policy: RestartPolicy, rng: Random, failed: Callable[[], None] = _unheard
) -> None:
    """Run an actor until it ends by itself, restarting it after errors; ``ActorGaveUp`` once the policy is exhausted.

    ``failed`` is called for each failure.
    ``JournalFailed`` passes through: it ends the daemon, no restart can mend it.
    """
    failed_at: list[float] = []
    while True:
        try:
            with watched(name):
                await start()
        except JournalFailed:
            raise
        except Exception as error:
            if holds_journal_failure(error):
                raise
            failed()
            now = trio.current_time()
            failed_at = [*(at for at in failed_at if now - at < policy.window_s), now]
            log.exception("actor failed", extra={"actor": name, "failures": len(failed_at)})
            if len(failed_at) >= policy.failures_max:
                raise ActorGaveUp(name, len(failed_at), leaf(error)) from error
        else:
            return
        await trio.sleep(delay_s(len(failed_at), 0.0, rng.random()))  # outside ``except``: no error is lost


def holds_journal_failure(error: BaseException) -> bool:
    """The group, if it is one, has a ``JournalFailed`` in it: no restart can mend that."""
    return isinstance(error, ExceptionGroup) and error.subgroup(JournalFailed) is not None


def leaf(error: BaseException) -> BaseException:
    """The first error in a group of groups; another error itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
