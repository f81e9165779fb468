"""The keeper: snapshots, the end of history, and the daily scrub, beside the writer and never in its way.

    snapshot   when 50,000 records or 64 MiB were written since the last: State is copied in one step, then encoded and
               written in chunks through ``Work``, synced, named, and read back
    history    a segment is removed, oldest first, when the older of two good snapshots covers all of it, and it is
               older than 30 days or the journal larger than 2 GiB; each removal is durable before the next
    scrub      once a day everything that is kept is read and verified, a piece at a time

A crash between any two steps leaves what a start understands: a draft without a name, a snapshot too many, or history
that ends a segment earlier. A failure of the disk ends no daemon here; it is told, and tried again.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import trio
from msgspec import Struct
from msgspec.structs import replace

from syncd.core.daemon_status import Condition
from syncd.core.events import DAEMON_STREAM, Change, HistoryEnded
from syncd.core.state import State
from syncd.errors import Busy, JournalFailed, JournalRefused
from syncd.journal.files import journal_folder, segment_numbers, segment_path
from syncd.journal.reader import first_record
from syncd.journal.scrub import scrub
from syncd.journal.snapshot import Draft, check, read_head, snapshot_path, snapshot_positions
from syncd.journal.writer import Journal
from syncd.pulse import resting, watched
from syncd.seams import Clock, Disk, Work

SNAPSHOT_RECORDS = 50_000
SNAPSHOT_BYTES = 64 * 2**20
SNAPSHOTS_KEPT = 2
HISTORY_S = 30 * 86_400.0
HISTORY_BYTES = 2 * 2**30
REST_S = 60.0  # between a snapshot and the next
RETRY_S = 600.0
SCRUB_AFTER_S = 60.0  # a daemon that starts has better things to do
SCRUB_EVERY_S = 20 * 3600.0
SCRUB_REST_S = 0.5  # between two pieces of 1 MiB

log = logging.getLogger("syncd.journal")


class Limits(Struct, frozen=True):
    """When there is something to keep house about."""

    snapshot_records: int = SNAPSHOT_RECORDS
    snapshot_bytes: int = SNAPSHOT_BYTES
    history_s: float = HISTORY_S
    history_bytes: int = HISTORY_BYTES


class Keeper:
    """Keeps house in a state folder. ``condition`` is for status and metrics."""

    def __init__(
        self, journal: Journal, disk: Disk, folder: Path, clock: Clock, work: Work, limits: Limits | None = None
    ) -> None:
        self.condition = Condition()
        self._journal, self._disk, self._folder, self._clock, self._work = journal, disk, folder, clock, work
        self._limits = limits or Limits()
        self._bell = trio.Event()
        self._tidying = trio.Lock()

    async def run(self) -> None:
        """Keep house until cancelled, or until the journal ends."""
        for words in self._journal.passed_over:
            log.error("a snapshot was not used", extra={"reason": words})
        unsubscribe = self._journal.subscribe(lambda _: self._bell.set())
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep, "snapshot keeper", self._take_snapshots)
                nursery.start_soon(self._keep, "scrub", self._scrub_daily)
        except* (JournalFailed, Busy):
            pass  # its writer says so, and ends the daemon; or it is closing
        finally:
            unsubscribe()

    async def take_snapshot(self) -> bool:
        """Write a snapshot and let history end where it may. False: it could not be written."""
        captured, end = await self._journal.capture()
        draft = Draft(self._disk, self._folder, captured, end)
        try:
            while await self._work.run(draft.step):
                pass
            await self._work.run(draft.finish)
            await self._go_through(check(self._disk, self._folder, draft.position))
        except (OSError, JournalRefused) as error:
            await self._work.run(draft.abandon)
            self._put(failure=f"a snapshot could not be written: {error}")
            log.warning("no snapshot", extra={"reason": str(error), "next_try_s": RETRY_S})
            return False
        now_s = self._clock.now_s()
        self._put(snapshot_position=draft.position, snapshot_at_s=now_s, snapshot_bytes=draft.size_bytes, failure="")
        log.info("snapshot", extra={"position": draft.position, "bytes": draft.size_bytes})
        await self.tidy()
        return True

    async def tidy(self) -> None:
        """Remove what is no longer needed: snapshots but for two good ones, then history as far as it may go."""
        with resting():  # who does it already is watched
            await self._tidying.acquire()
        try:
            good = await self._good_snapshots()
            if len(good) >= SNAPSHOTS_KEPT:
                head = await self._work.run(read_head, self._disk, self._folder, good[SNAPSHOTS_KEPT - 1])
                await self._end_history(head.end.segment)
        except (OSError, JournalRefused) as error:
            log.warning("old files are kept", extra={"reason": str(error)})
        finally:
            self._tidying.release()

    async def scrub(self) -> None:
        """Verify everything that is kept, once."""
        found: list[JournalRefused] = []
        read_bytes = 0
        try:
            steps = scrub(self._disk, self._folder, self._journal.end, found.append)
            while (count := await self._work.run(next, steps, None)) is not None:
                read_bytes += count
                await trio.sleep(SCRUB_REST_S)
        except (OSError, JournalRefused) as error:
            hint = "look at the disk"
            found.append(error if isinstance(error, JournalRefused) else JournalRefused(str(error), hint=hint))
        damage = tuple(map(str, found))
        for words in damage:
            log.error("the journal is damaged", extra={"reason": words, "hint": "run: im journal verify"})
        self._put(damage=damage, scrubbed_at_s=self._clock.now_s(), scrubbed_bytes=read_bytes)

    async def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        with watched(name):
            await work()

    async def _take_snapshots(self) -> None:
        is_owed = False  # the last one could not be written
        while True:
            with resting():
                await self._bell.wait()
            self._bell = trio.Event()
            journal, limits = self._journal, self._limits
            is_much = journal.uncovered_records >= limits.snapshot_records
            if is_owed or is_much or journal.uncovered_bytes >= limits.snapshot_bytes:
                is_owed = not await self.take_snapshot()
                await self._tell_history()
                with resting():
                    await trio.sleep(RETRY_S if is_owed else REST_S)
                self._bell.set()

    async def _scrub_daily(self) -> None:
        with resting():
            await trio.sleep(SCRUB_AFTER_S)
        while True:
            begun_s = trio.current_time()
            await self.scrub()
            await self.tidy()
            await self._tell_history()
            with resting():
                await trio.sleep(max(0.0, begun_s + SCRUB_EVERY_S - trio.current_time()))

    async def _tell_history(self) -> None:
        """Journal from where on history is kept, so that what is remembered of the rest can go (``core/pasts.py``)."""
        first = self._journal.first_position

        def tell(state: State, _: float) -> Change[None]:
            is_news = max(1, state.history_from) < first
            return Change(DAEMON_STREAM, (HistoryEnded(first),) if is_news else (), None)

        await self._journal.transact(tell, by="syncd", trace="")

    async def _good_snapshots(self) -> list[int]:
        """The good ones that stay, newest first; removes the others, also bad ones where a newer one is good."""
        good: list[int] = []
        for position in await self._work.run(snapshot_positions, self._disk, self._folder):
            if len(good) < SNAPSHOTS_KEPT:
                try:
                    await self._go_through(check(self._disk, self._folder, position))
                except JournalRefused as damage:
                    log.error("a snapshot is damaged", extra={"reason": str(damage)})  # noqa: TRY400 it says all
                else:
                    good.append(position)
                    continue
            if good:
                await self._work.run(self._disk.unlink, snapshot_path(self._folder, position))
        return good

    async def _end_history(self, floor: int) -> None:
        """Remove the oldest segments before ``floor``, one by one, as far as they are old or too much."""
        numbers = await self._work.run(segment_numbers, self._disk, self._folder)
        sizes_bytes = [await self._work.run(self._disk.size, segment_path(self._folder, number)) for number in numbers]
        kept_bytes = sum(sizes_bytes)
        for number, size_bytes in zip(numbers, sizes_bytes, strict=True):
            if number >= floor:
                return
            following = await self._work.run(first_record, self._disk, self._folder, number + 1)
            is_old = following is not None and following.at_s < self._clock.now_s() - self._limits.history_s
            if not is_old and kept_bytes <= self._limits.history_bytes:
                return
            self._journal.forget(number)
            await self._work.run(self._disk.unlink, segment_path(self._folder, number))
            await self._work.run(self._disk.sync_folder, journal_folder(self._folder))
            kept_bytes -= size_bytes
            log.info("history ends later", extra={"segment": number, "first_position": self._journal.first_position})

    async def _go_through(self, steps: Iterator[int]) -> None:
        while await self._work.run(next, steps, None) is not None:
            pass

    def _put(self, **news: object) -> None:
        self.condition = replace(self.condition, **news)
