"""Keeps the crash of one link to that link: it is logged and tried again, and the second one parks the link.

Beside the supervisors one of the places that may catch ``Exception``. Owns nothing but who crashed lately. When so many
are parked that it cannot be their records, the crash passes, and is the actor's.
"""

import logging
from collections.abc import Awaitable
from typing import Final

import trio

from syncd.actors.ports import Journal
from syncd.actors.supervisor import holds_journal_failure, leaf
from syncd.core.parking import park
from syncd.errors import JournalFailed
from syncd.pulse import watched

log: Final = logging.getLogger("syncd.actors")

AGAIN_AFTER_S: Final = 1.0
REMEMBERED_S: Final = 600.0
WORDS_MAX: Final = 200


class Containment:
    """Shared by the actors of one integration."""

    def __init__(self, by: str, journal: Journal) -> None:
        self._by = by
        self._journal = journal
        self._crashed_at: dict[tuple[str, str], float] = {}

    async def run(self, doing: str, name: str, work: Awaitable[object], trace: str) -> bool:
        """Do the work on a link; False when it crashed, and the next try should come ``AGAIN_AFTER_S`` later.

        ``doing``: a word such as "merging". ``name`` empty: there is no link that could be parked. ``JournalFailed``
        passes.
        """
        try:
            with watched(f"{self._by.removeprefix('integration:')} {doing}"):
                await work
        except JournalFailed:
            raise
        except Exception as error:
            if holds_journal_failure(error):
                raise
            crash = error
        else:
            return True
        log.error("a record crashed its actor", exc_info=crash, extra={"link": name, "doing": doing, "trace": trace})
        if name and self._is_second(doing, name) and not await self._park(doing, name, crash, trace):
            raise crash
        return False

    def _is_second(self, doing: str, name: str) -> bool:
        """Whether it crashed before, lately; remembers that it did."""
        now = trio.current_time()
        before = self._crashed_at.pop((doing, name), None)
        if before is not None and now - before <= REMEMBERED_S:
            return True
        self._crashed_at[doing, name] = now
        return False

    async def _park(self, doing: str, name: str, crash: Exception, trace: str) -> bool:
        first = leaf(crash)
        words = f"{type(first).__name__}: {first}"[:WORDS_MAX]
        return await self._journal.transact(lambda state, _: park(state, name, doing, words), by=self._by, trace=trace)
