"""Finds changes by asking for them, for an instance that cannot call us (docs/sync.md, "Polling").

Each poll walks through the records stamped since the last one, in keyset order, and feeds what it has not seen into the
one write path. Its watermark is in the journal, on the instance's clock as its answers tell it.
"""

import logging
from collections.abc import Sequence
from typing import Final

import trio
from msgspec import Struct

from syncd.actors.means import Actor, Means
from syncd.actors.reading import LATE_COMMIT_S
from syncd.core.model import Cursor, Observation, Settings
from syncd.core.polling import Polling, pace, polled, told_by_notes
from syncd.errors import ExternalFailed
from syncd.pulse import resting

log: Final = logging.getLogger("syncd.actors")

BACK_S: Final = (
    10.0  # what every poll looks back; a longer look, for what commits late, is made as often as it is cheap
)
REST_S_A_PAGE: Final = 10.0  # between two long looks, for each of their pages but one
REST_S_MAX: Final = LATE_COMMIT_S
YIELD_S_MAX: Final = 1.0  # so long a page waits for requests that have more of a hurry
NOTES_EVERY_S: Final = 30.0
NOTES_OFTEN_S: Final = 3600.0
REFUSED_EVERY_S: Final = 15.0


class _Walk(Struct):
    """One way through the records, oldest change first. ``begun_s``: when, on the instance's clock."""

    begun_s: float
    is_deep: bool
    cursor: Cursor
    pages: int = 0
    is_over: bool = False
    has_shown: bool = False


class Poller(Actor):
    """One integration's polls; nothing runs when its ``poll_interval`` is off."""

    def __init__(self, means: Means, settings: Settings) -> None:
        super().__init__(means)
        self._settings = settings
        self._walk: _Walk | None = None
        self._upto_s: float | None = None
        self._deep_upto_s = self._deep_at = 0.0
        self._seen: dict[str, tuple[float, int | None]] = {}
        self._notes_at = 0.0
        self._notes_upto_s = 0.0
        self._notes_often_until = 0.0
        self._seen_notes: set[str] = set()
        self._since_s = means.clock.now_s()
        self._last_at_s: float | None = None
        self._trouble = ""

    @property
    def polling(self) -> Polling | None:
        """How the polls do; None when there are none."""
        now = pace(self._settings, self._external.hourly_limit)
        if now is None:
            return None
        return Polling(
            now.asked_s,
            now.used_s,
            now.reason,
            since_s=self._since_s,
            last_at_s=self._last_at_s,
            trouble=self._trouble,
        )

    async def run(self) -> None:
        """Poll at every interval. Ends only by cancellation, or at once when nothing is to be polled."""
        failures = 0
        while (now := pace(self._settings, self._external.hourly_limit)) is not None:
            begun = trio.current_time()
            try:
                await self._poll()
                failures, self._trouble = 0, ""
                wait_s = now.used_s
            except ExternalFailed as error:
                failures += 1
                self._trouble = error.message
                wait_s = max(now.used_s, self._reader.pause_s(failures))
                self._reader.query_faults = None  # perhaps it does not keep to our queries any more: find out first
                if error.outcome == "refused":  # nothing will change it but a person
                    wait_s = max(wait_s, REFUSED_EVERY_S)
            with resting():
                await trio.sleep_until(max(trio.current_time(), begun + wait_s))

    async def _poll(self) -> None:
        if faults := await self._reader.find_query_faults():
            raise ExternalFailed("refused", f"{faults[0]}: what a poll would be shown cannot be relied on")
        trace = self._ids.word()
        walk = self._walk if self._walk is not None else self._next_walk()
        self._walk = walk  # should it break off, the next poll goes on there
        while not walk.is_over:
            await self._page(walk, trace)
        self._walk = None
        # Nothing shown is nothing seen: it may all be hidden from us for a while, and must be found behind that.
        if walk.has_shown:
            self._upto_s = walk.begun_s
        if walk.is_deep:
            self._deep_at = trio.current_time() + min(REST_S_MAX, (walk.pages - 1) * REST_S_A_PAGE)
            if walk.has_shown:
                self._deep_upto_s = walk.begun_s
                await self._tell_upto(walk.begun_s, trace)
                self._forget(walk.begun_s - LATE_COMMIT_S)
        if trio.current_time() >= self._notes_at:
            await self._look_at_notes(walk.begun_s, trace)
        self._last_at_s = self._clock.now_s()

    def _next_walk(self) -> "_Walk":
        """From where the last walk began, on the instance's clock, and somewhat before that."""
        now_s = self._clock.now_s() + self._external.offset.s
        if self._upto_s is None:
            integration = self._journal.state.integrations.get(self._integration_id)
            known_s = integration.polled_upto_s if integration is not None else None
            self._upto_s = self._deep_upto_s = self._notes_upto_s = now_s if known_s is None else min(known_s, now_s)
        if trio.current_time() >= self._deep_at:
            return _Walk(now_s, is_deep=True, cursor=Cursor(self._deep_upto_s - LATE_COMMIT_S))
        return _Walk(now_s, is_deep=False, cursor=Cursor(self._upto_s - BACK_S))

    async def _page(self, walk: "_Walk", trace: str) -> None:
        """Feed what is new on a walk's next page."""
        await self._reader.breaker.others_first(YIELD_S_MAX)
        asked = self._journal.state.position
        page = await self._reader.ask(lambda: self._external.changed_after(walk.cursor))
        await self._feed(asked, page.rows, trace)
        walk.pages += 1
        walk.is_over = page.is_last or not (page.rows or page.unreadable)
        last = page.rows[-1] if page.rows else page.unreadable
        if page.unreadable is not None and self._seen.get(page.unreadable.external_id) != _version(page.unreadable):
            await self._reader.leave_to_intake(page.unreadable, trace)
            self._seen[page.unreadable.external_id] = _version(page.unreadable)
        if last is not None:
            walk.has_shown = True
            stamp_s = last.updated_at_s or walk.cursor.at_s
            walk.cursor = Cursor(stamp_s, last.external_id)
            if walk.is_deep:
                # A stamp in the future, as a script can write it, must not take the watermark along.
                await self._tell_upto(min(stamp_s, walk.begun_s), trace)

    async def _tell_upto(self, upto_s: float, trace: str) -> None:
        await self._journal.transact(
            lambda state, _: polled(state, self._integration_id, upto_s), by=self._by, trace=trace
        )

    async def _feed(self, asked: int, rows: Sequence[Observation], trace: str) -> None:
        fresh = [seen for seen in rows if self._seen.get(seen.external_id) != _version(seen) or seen.mod_count is None]
        if not fresh:
            return
        fed = await self._reader.feed(asked, fresh, trace=trace)
        if fed.failure is not None and fed.failure.outcome != "refused":
            raise fed.failure  # a refusal will not end by itself, and what is linked need not wait for that
        settled = (seen for seen in fresh if seen.external_id not in fed.unsure)
        self._seen.update({seen.external_id: _version(seen) for seen in settled})

    def _forget(self, before_s: float) -> None:
        self._seen = {name: version for name, version in self._seen.items() if version[0] >= before_s}

    async def _look_at_notes(self, now_s: float, trace: str) -> None:
        """Find notes that moved no stamp of their record; where there is one, they are looked for at every poll."""
        since_s = self._notes_upto_s - LATE_COMMIT_S
        await self._reader.breaker.others_first(YIELD_S_MAX)
        found = await self._reader.ask(lambda: self._external.notes_since(since_s))
        # Of what came during this poll the stamps have not been looked at yet.
        fresh = [note for note in found if note.id not in self._seen_notes and (note.created_at_s or 0.0) < now_s - 1]
        if fresh:
            told = await self._journal.transact(
                lambda state, at_s: told_by_notes(state, at_s, self._integration_id, fresh), by=self._by, trace=trace
            )
            if told:
                self._notes_often_until = trio.current_time() + NOTES_OFTEN_S
        self._seen_notes = {note.id for note in fresh} | (self._seen_notes & {note.id for note in found})
        self._notes_upto_s = now_s
        is_often = trio.current_time() < self._notes_often_until
        self._notes_at = trio.current_time() + (0.0 if is_often else NOTES_EVERY_S)


def _version(seen: Observation) -> tuple[float, int | None]:
    return seen.updated_at_s or 0.0, seen.mod_count
