"""The journal: decide and evolve in one step, then durable, then visible; group commit by the only task that writes.

``transact`` reads, decides, takes a position and evolves without an await in between, so no two decisions ever see
the same old version. The frame joins the group that is forming; whatever gathers while one group is being synced is
the next one. The caller goes on only when everything that it saw is on disk. ``run`` is the only task that touches
the log.

    forming --(writer takes it)--> writing --(one write, one fdatasync)--> durable: waiters wake, then subscribers hear
                                      |  no room: cut off again, kept, tried again every second; ``full`` meanwhile
                                      |  no answer: waited for; ``silent`` meanwhile, and after ten minutes it counts
                                      |             as stuck (``pulse.py``)
                                      `- a failed sync: JournalFailed for every waiter, and the end of the process

A record belongs to the journal from the moment it is decided: a caller that is cancelled while it waits takes nothing
back. Its place among the 256 that may wait stays taken until the record is durable, so a full disk cannot make the
group grow.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, Self, TypeVar

import trio

from syncd.core.capture import Captured, capture
from syncd.core.events import Change, Record, Source
from syncd.core.fold import evolve
from syncd.core.lag import Lag
from syncd.core.state import State
from syncd.errors import Busy, JournalFailed
from syncd.journal.codec import encode_record, frame_bytes
from syncd.journal.files import Watermark
from syncd.journal.kept import Kept
from syncd.journal.log import SEGMENT_BYTES_MAX, Recovered
from syncd.journal.replay import Progress, Replayed, no_progress, replay
from syncd.pulse import resting, watched
from syncd.seams import Clock, Disk, Work

T = TypeVar("T")

WAITING_MAX = 256
WATERMARK_INTERVAL_S = 10.0
RETRY_S = 1.0  # with room again, service resumes within this
SILENT_AFTER_S = 2.0
CLOSE_S_MAX = 5.0  # for what a full disk still holds back when the daemon stops

Subscriber = Callable[[Sequence[Record]], None]


class _Group:
    """Records that become durable together. ``failed``: they did not, and nobody knows how much of them is on disk."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.frames: list[bytes] = []
        self.chain = 0
        self.settled = trio.Event()
        self.failed = False


class _Wanted:
    """Somebody waits for a state together with the place where the log ends with it."""

    def __init__(self) -> None:
        self.answer: tuple[Captured, Watermark] | None = None
        self.ready = trio.Event()


class Journal:
    """The one durable truth, and ``state``, the fold of it. Opened by ``open``; serves while ``run`` runs.

    ``recovered``, ``passed_over``: what the start had to say of a torn tail, and of snapshots that it did not use.
    ``uncovered_records``, ``uncovered_bytes``: what was written since the last ``capture``.
    """

    def __init__(self, replayed: Replayed, disk: Disk, folder: Path, clock: Clock, work: Work) -> None:
        self.recovered: Recovered | None = replayed.recovered
        self.passed_over = replayed.base.passed_over
        self.uncovered_records = replayed.records
        self.uncovered_bytes = replayed.size_bytes
        self._disk, self._folder, self._clock, self._work = disk, folder, clock, work
        self._state = replayed.state
        self._kept = Kept(replayed.index, disk, folder, work)
        self._log = replayed.log
        self._position = replayed.log.end.position
        self._chain = replayed.log.end.chain
        self._marked = replayed.watermark
        self._marked_at = trio.current_time()
        self._forming = _Group()
        self._writing: _Group | None = None
        self._writing_since = 0.0
        self._room = trio.Semaphore(WAITING_MAX, max_value=WAITING_MAX)
        self._bell = trio.Event()
        self._subscribers: dict[int, Subscriber] = {}
        self._subscriptions = 0
        self._full = False
        self._close_by: float | None = None
        self._failure: JournalFailed | None = None
        self.commits = Lag()
        self.opened_at_s = clock.now_s()
        self.resumed_position, self.resumed_at_s = replayed.state.position, replayed.state.at_s
        self.replay_s = 0.0
        self._captures: list[_Wanted] = []

    @classmethod
    async def open(
        cls,
        disk: Disk,
        folder: Path,
        clock: Clock,
        work: Work,
        *,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
        progress: Progress = no_progress,
    ) -> Self:
        """Lock the state ``folder``, verify and fold its journal, cut off a torn tail (``recovered`` tells).

        ``progress`` hears (bytes folded, bytes in all) after each segment. Raises ``AlreadyRunning``,
        ``JournalRefused``, or ``JournalFailed``.
        """
        begun_at = trio.current_time()
        opened = cls(await replay(disk, folder, work, segment_bytes_max, progress), disk, folder, clock, work)
        opened.replay_s = trio.current_time() - begun_at
        return opened

    @property
    def state(self) -> State:
        """The newest, which may not be durable yet: what leaves the daemon waits for ``settled`` first."""
        return self._state

    @property
    def full(self) -> bool:
        """The disk has no room; what was decided is kept and written when there is."""
        return self._full

    @property
    def silent(self) -> bool:
        """The disk has not answered for a while; what was decided is written as soon as it does."""
        return self._writing is not None and trio.current_time() - self._writing_since > SILENT_AFTER_S

    @property
    def durable_position(self) -> int:
        """The last position on disk."""
        return self._log.end.position if self._writing is None else self._writing.records[0].position - 1

    @property
    def first_position(self) -> int:
        """The oldest record that is kept, 0 if there is none."""
        return self._kept.first_position

    async def transact(
        self, decide: Callable[[State, float], Change[T]], *, by: str, trace: str, source: Source | None = None
    ) -> T:
        """Give ``decide`` the newest state and the time; journal its events as one record; return its result.

        ``decide`` must not wait and must not keep the state. When it journals nothing, or raises, the answer still
        waits until everything it may rest on is durable. Waits for room, and for ever while the disk is full: put a
        deadline around it. Cancelled before it decided, nothing happened; after that the record stays. Raises
        ``JournalFailed`` when it is unknown what is on disk, ``Busy`` once the journal is closing, ``TooLarge`` above
        16 MiB.
        """
        with resting():  # the writer's pulse is watched
            await self._room.acquire()
        is_journaled = False
        refusal: Exception | None = None
        change: Change[T] | None = None
        try:
            self._check_open()
            at_s = self._clock.now_s()
            change = decide(self._state, at_s)
            if change.events:
                self._append(Record(self._position + 1, change.stream, at_s, by, trace, change.events, source))
                is_journaled = True
        except Exception as error:  # noqa: BLE001 raised again below: a refusal rests on the state, too
            refusal = error
        finally:
            if not is_journaled:
                self._room.release()
        await self.settled()
        if refusal is not None:
            raise refusal
        if change is None:
            raise JournalFailed("a decision without a change")
        return change.result

    async def settled(self) -> None:
        """Return once everything that is in ``state`` now is durable. Raises ``JournalFailed`` if it will not be."""
        group = self._forming if self._forming.records else self._writing
        if group is None:
            await trio.lowlevel.checkpoint()
            if self._failure is not None:
                self._raise_failure()
            return
        with resting():
            await group.settled.wait()
        if group.failed:
            self._raise_failure()

    def subscribe(self, callback: Subscriber) -> Callable[[], None]:
        """Have ``callback`` called with each group of records, in order, once durable; returns how to end that.

        It runs in the writer's task: it must neither wait nor raise.
        """
        self._subscriptions += 1
        subscription = self._subscriptions
        self._subscribers[subscription] = callback

        def unsubscribe() -> None:
            self._subscribers.pop(subscription, None)

        return unsubscribe

    async def records(self, positions: Sequence[int]) -> list[Record]:
        """The records at these positions, in the order asked for. ``Unknown`` if there is none at one of them."""
        if positions and max(positions) > self.durable_position:
            await self.settled()
        return await self._kept.records(positions)

    async def since(self, position: int, limit: int, bytes_max: int | None = None) -> list[Record]:
        """Up to ``limit`` durable records behind ``position``, oldest first.

        With ``bytes_max`` only those that begin within so many bytes, at least one if there is any: what is read at a
        time is bounded, whatever the records hold.
        """
        return await self._kept.since(position, limit, bytes_max)

    async def capture(self) -> tuple[Captured, Watermark]:
        """The state as of a durable position, in pieces, and where the log ends with that position.

        Raises ``JournalFailed``.
        """
        if not self._forming.records and self._writing is None:
            self.uncovered_records = self.uncovered_bytes = 0
            return capture(self._state), self._log.end
        wanted = _Wanted()
        self._captures.append(wanted)
        with resting():
            await wanted.ready.wait()
        if wanted.answer is None:
            self._raise_failure()
        return wanted.answer

    def forget(self, segment: int) -> None:
        """Keep no longer what is in this segment and before it; its file may then be removed."""
        self._kept.drop(segment)

    @property
    def segments(self) -> list[int]:
        """The segments that hold kept records, oldest first."""
        return self._kept.segments

    @property
    def end(self) -> Watermark:
        """Where the log ends, on disk."""
        return self._log.end

    async def footprint(self) -> tuple[int, int]:
        """How many segments there are, and how many bytes they have; while the disk is silent, as of the last look."""
        return self._kept.measured if self.silent else await self._kept.measure()

    def close(self) -> None:
        """Take no more; ``run`` writes what has been decided and the watermark, then ends.

        Call it after the actors ended.
        """
        if self._close_by is None:
            self._close_by = trio.current_time() + CLOSE_S_MAX
            self._bell.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write what is decided, until ``close``. Raises ``JournalFailed``. Cancelled, it leaves what a crash leaves.

        On a disk that stays full, ``close`` gives it 5 s; what nobody was promised is then given up.
        """
        task_status.started()
        try:
            with watched("journal writer"):
                await self._write()
        except JournalFailed as failure:
            self._fail(failure)
            raise
        finally:
            self._fail(JournalFailed("the journal's writer has ended", hint="the daemon is stopping; ask again"))
            self._log.close()

    async def _write(self) -> None:
        while self._failure is None:
            if self._forming.records:
                if not await self._commit():
                    break
            elif self._close_by is not None:
                break
            else:
                if self._captures:
                    self._answer(self._captures, capture(self._state))
                with resting(), trio.move_on_at(self._mark_due_at()):
                    await self._bell.wait()
                self._bell = trio.Event()
            if trio.current_time() >= self._mark_due_at():
                await self._mark()
        if self._failure is not None:
            self._raise_failure()
        if self._marked != self._log.end:
            await self._mark()

    def _check_open(self) -> None:
        if self._failure is not None:
            self._raise_failure()
        if self._close_by is not None:
            raise Busy("the daemon is stopping", hint="ask again in a moment")

    def _append(self, record: Record) -> None:
        payload = encode_record(record)  # first: what cannot be written must not be in the state
        frame, chain = frame_bytes(payload, record.position, self._chain)
        try:
            self._state = evolve(self._state, record)
        except Exception as error:
            # The fold works in place, so the state may hold half of the record. Reading the journal again gives a
            # whole one.
            self._fail(JournalFailed(f"the record for position {record.position} cannot be folded: {error!r}"))
            raise
        self._position, self._chain = record.position, chain
        self._forming.records.append(record)
        self._forming.frames.append(frame)
        self._forming.chain = chain
        self._bell.set()

    async def _commit(self) -> bool:
        """Make the forming group durable. False: there was no room, and now there is no point in waiting for it."""
        group, self._forming = self._forming, _Group()
        self._writing, self._writing_since = group, trio.current_time()
        wanted = list(self._captures)
        captured = capture(self._state) if wanted else None  # in one step with taking the group
        block, last = b"".join(group.frames), group.records[-1].position
        begun_at = trio.current_time()
        while (place := await self._work.run(self._log.append, block, last, group.chain)) is None:
            self._full = True
            is_late = self._close_by is not None and trio.current_time() >= self._close_by
            if is_late or self._failure is not None:
                return False
            await trio.sleep(RETRY_S)
        self._full = False
        self.commits = self.commits.after(trio.current_time() - begun_at, self._clock.now_s())
        self.uncovered_records += len(group.records)
        self.uncovered_bytes += len(block)
        if captured is not None:
            self._answer(wanted, captured)
        offsets, offset = [], place.offset
        for frame in group.frames:
            offsets.append(offset)
            offset += len(frame)
        self._kept.extend(place.segment, offsets, [record.position for record in group.records], offset)
        self._writing = None
        self._settle(group)
        for subscriber in list(self._subscribers.values()):
            subscriber(group.records)
        return True

    def _answer(self, wanted: list[_Wanted], captured: Captured) -> None:
        """Hand over a state that the log ends with to those who have wanted it longest."""
        for one in wanted:
            one.answer = (captured, self._log.end)
            one.ready.set()
        self._captures = self._captures[len(wanted) :]
        self.uncovered_records = self.uncovered_bytes = 0

    def _mark_due_at(self) -> float:
        return math.inf if self._marked == self._log.end else self._marked_at + WATERMARK_INTERVAL_S

    async def _mark(self) -> None:
        end = self._log.end
        if await self._work.run(self._log.mark):
            self._marked = end
        self._marked_at = trio.current_time()

    def _settle(self, group: _Group) -> None:
        if group.settled.is_set():
            return  # it was given up while its write was under way
        group.settled.set()
        for _ in group.records:
            self._room.release()

    def _fail(self, failure: JournalFailed) -> None:
        """The first failure is final: everybody who waits, or comes later, gets it."""
        if self._failure is not None:
            return
        self._failure = failure
        self._bell.set()
        for group in (self._writing, self._forming):
            if group is not None:
                group.failed = True
                self._settle(group)
        for wanted in self._captures:
            wanted.ready.set()

    def _raise_failure(self) -> NoReturn:
        """Raise a copy: one exception raised in many tasks would collect all of their tracebacks."""
        failure = self._failure or JournalFailed("the journal has failed")
        raise JournalFailed(str(failure), hint=failure.hint) from failure
