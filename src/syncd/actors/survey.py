"""A look at all links and at what is new beside them: what a reconcile run and an integration's start have in common.

A run makes two passes: what the first one finds odd is read again, and only what is still there is drift. The brake is
asked before anything is fed, and what is fed goes the one write path (``core.hints.settle_read``).
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final, TypeVar

import trio
from msgspec.structs import replace

from syncd.actors.ports import Journal, Progress
from syncd.actors.reading import Reader
from syncd.core import drift, hints
from syncd.core.brake import Weight, verdict
from syncd.core.drift import Downtime, Finding
from syncd.core.hints import Read, due_hints, only_of
from syncd.core.model import Integration, Observation
from syncd.core.outbox import due_links
from syncd.core.paging import IDS_A_PAGE, pages
from syncd.core.parking import release
from syncd.core.run import StoppedBy
from syncd.core.sending import CORRELATION_PREFIX, Offset
from syncd.errors import ExternalFailed
from syncd.pulse import resting
from syncd.seams import Clock

T = TypeVar("T")

BLIND: Final = "ServiceNow shows our account no incident at all, so what it does not show says nothing"
TRIES: Final = 3
GIVES_WAY_S_MAX: Final = 30.0
GIVES_WAY_STEP_S: Final = 0.1


class Stopped(Exception):
    """A look that must not be acted upon."""

    def __init__(self, reason: str, by: StoppedBy) -> None:
        super().__init__(reason)
        self.reason = reason
        self.by = by


class Survey:
    """One look at one integration, step by step. ``findings``: the drifts so far; ``checked``: the links compared.

    ``fed``: healing has begun.
    """

    def __init__(
        self,
        integration: Integration,
        by: str,
        journal: Journal,
        reader: Reader,
        clock: Clock,
        trace: str,
        down: Downtime | None = None,
    ) -> None:
        self._integration = integration
        self._by = by
        self._journal = journal
        self._reader = reader
        self._clock = clock
        self._trace = trace
        self._down = down
        self._begun_s = clock.now_s()
        self._links = [link for link in journal.state.links_under(integration.id) if link.external_id]
        self._held: list[Read] = []
        self._weights: dict[str, Weight] = {}
        self._looked_for_new = False
        self._unreadable: list[Observation] = []
        self._has_seen = False
        self.findings: list[Finding] = []
        self.missing: set[str] = set()
        self.checked = 0
        self.fed = False

    def progress(self, run_id: str) -> Progress:
        """How far it is."""
        return Progress(run_id, self.checked, len(self._links))

    @property
    def braked(self) -> str:
        """Why nothing of this may be done without being asked; empty when it may."""
        return verdict(self._weights, len(self._links))

    async def first_pass(self) -> set[str]:
        """Read all links, and what is new; the records that must be read again."""
        found: set[str] = set()
        for page in pages(self._links):
            asked = self._journal.state.position
            rows = await self._asked(lambda page=page: self._reader.rows(page))  # type: ignore[misc]
            self.missing |= set(page) - {seen.external_id for seen in rows}
            found |= await self._odd(self._bare(asked, rows), page)
            self.checked += len(page)
            self._has_seen |= bool(rows)
        await self._check_sight()

        async def on_page(asked: int, rows: Sequence[Observation]) -> None:
            self._has_seen = True
            found.update(await self._odd(self._bare(asked, rows), ()))

        async def on_unreadable(seen: Observation) -> None:
            await trio.lowlevel.checkpoint()
            self._unreadable.append(seen)

        self._looked_for_new = await self._asked(
            lambda: self._reader.walk_new(self._integration, on_page, on_unreadable)
        )
        prefix = f"{CORRELATION_PREFIX}{self._integration.id}:"
        ours = await self._asked(lambda: self._reader.ours(prefix))
        copies = drift.copies(self._journal.state, self._integration, ours)
        return found | {one.drift.external_id for one in copies}

    async def second_pass(self, odd: Collection[str], *, heals: bool, forced: bool) -> None:
        """Read again what was odd: what still is becomes a finding, and is held to be fed if the run heals."""
        missing_before, ids = frozenset(self.missing), sorted(odd)
        self.missing = set()
        for start in range(0, len(ids), IDS_A_PAGE):
            page = ids[start : start + IDS_A_PAGE]
            asked = self._journal.state.position
            rows = await self._asked(lambda page=page: self._reader.rows(page))  # type: ignore[misc]
            read = await self._asked(lambda asked=asked, rows=rows: self._reader.gathered(asked, rows, self._trace))  # type: ignore[misc]
            unseen = set(page) - {seen.external_id for seen in rows}
            gone = missing_before & unseen
            self.missing |= gone
            linked = {link.external_id: link.id for link in self._links}
            self._weights |= {linked[one]: "unseen" for one in (unseen - gone) & linked.keys()}
            await self._take(replace(read, missing=gone, forced=forced), heals=heals)
            self.findings += drift.copies(self._journal.state, self._integration, rows)
            if heals and not forced:
                self._check_brake()
        self.findings += drift.refused(self._journal.state, self._clock.now_s(), self._integration)

    async def only_pass(self) -> None:
        """Read all links and hold what is new, without asking whether it was on its way. ``missing``: not shown."""
        for page in pages(self._links):
            asked = self._journal.state.position
            rows = await self._asked(lambda page=page: self._reader.rows(page))  # type: ignore[misc]
            missing = set(page) - {seen.external_id for seen in rows}
            odd = await self._odd(self._bare(asked, rows), ())
            new = [seen for seen in rows if seen.external_id in odd]
            if new:
                await self._take(await self._reader.gathered(asked, new, self._trace), heals=True)
            gone = {link.external_id for link in self._links if link.gone_there}
            self._weights |= dict.fromkeys(missing - gone, "parks")
            self.missing |= missing
            self.checked += len(page)
            self._has_seen |= bool(rows)
        await self._check_sight()
        if self.braked:
            self._held = [only_of(read, {seen.external_id for seen in read.rows} - self._heavy) for read in self._held]

    @property
    def _heavy(self) -> set[str]:
        """The records of what the brake counts."""
        links = {link.id: link.external_id for link in self._links}
        return {links.get(place, place) for place in self._weights}

    async def feed(self) -> None:
        """Let what was held go the way of every read."""
        self.fed = True
        for read in self._held:
            await self._reader.settle(read, self._trace)
        self._held.clear()
        for seen in self._unreadable:
            await self._leave(seen)

    async def _leave(self, seen: Observation) -> None:
        self._has_seen = True
        await self._reader.leave_to_intake(seen, self._trace)

    async def feed_new(self) -> None:
        """Walk through what is new and feed it, without what the brake holds."""

        async def on_page(asked: int, rows: Sequence[Observation]) -> None:
            self._has_seen = True
            light = [seen for seen in rows if seen.external_id not in held]
            await self._reader.settle(await self._reader.gathered(asked, light, self._trace), self._trace)

        held = self._heavy if self.braked else set[str]()

        self._looked_for_new = await self._reader.walk_new(self._integration, on_page, self._leave)

    async def done(self, offset: Offset) -> bool:
        """Remember how far new records were looked for, and try again what had failed.

        False when our account is shown nothing at all, so that nothing is known of what is new.
        """
        name = self._integration.id
        sees = self._has_seen or await self._asked(self._reader.shows_any)
        if self._looked_for_new and sees:
            upto_s = self._begun_s + offset.s
            await self._journal.transact(
                lambda state, _: hints.swept(state, name, upto_s, offset), by=self._by, trace=self._trace
            )
        await self._journal.transact(lambda state, _: release(state, name), by=self._by, trace=self._trace)
        return sees

    def _bare(self, asked: int, rows: Collection[Observation]) -> Read:
        """What was read, without notes; every stranger counts as wanted, and is looked at again."""
        strangers = frozenset(seen.external_id for seen in rows)
        words = tuple(seen.external_id for seen in rows)
        return Read(asked, (), tuple(rows), strangers, words, self._reader.offset)

    async def _odd(self, read: Read, asked_for: Collection[str]) -> set[str]:
        """What must be read again; what we fail on is, too, and will be contained when it is fed."""
        found: set[str] = set()
        shown = {seen.external_id for seen in read.rows}

        def look(part: Read) -> None:
            missing = set(asked_for) - shown if part is read or not part.rows else set[str]()
            state, at_s = self._journal.state, self._clock.now_s()
            found.update(drift.candidates(state, at_s, self._integration, part, missing))

        return found | await self._each(read, look)

    async def _take(self, read: Read, *, heals: bool) -> None:
        found: list[Finding] = []

        def look(part: Read) -> None:
            state, at_s = self._journal.state, self._clock.now_s()
            found.extend(drift.found_in(state, at_s, self._integration, part, self._down))

        failed = await self._each(read, look)
        self.findings += found
        self._weights |= {one.place: one.weight for one in found if one.weight}
        if heals:
            self._held.append(only_of(read, failed | await self._odd(read, ())))

    async def _each(self, read: Read, look: Callable[[Read], None]) -> set[str]:
        """Look at what was read, at each record by itself where that fails; the records that we failed on."""

        async def work(part: Read) -> None:
            await trio.lowlevel.checkpoint()
            look(part)

        contained = self._reader.containment.run
        if await contained("comparing", "", work(read), self._trace):
            return set()
        failed: set[str] = set()
        for seen in read.rows:
            part = replace(only_of(read, {seen.external_id}), missing=frozenset())
            if not await contained("comparing", "", work(part), self._trace):
                failed.add(seen.external_id)
        await contained("comparing", "", work(only_of(read, frozenset())), self._trace)
        return failed

    def _check_brake(self) -> None:
        if self.braked:
            raise Stopped(self.braked, "brake")

    async def _check_sight(self) -> None:
        """No linked record at all is shown: either they are gone, or our account sees nothing any more."""
        sees_none = len(self.missing) == len(self._links) and not all(link.gone_there for link in self._links)
        if sees_none and not await self._asked(self._reader.shows_any):
            raise Stopped(BLIND, "answers")

    async def _asked(self, call: Callable[[], Awaitable[T]]) -> T:
        """Ask when nobody else has something to ask; once or twice more when the answer was none."""
        for tries in range(1, TRIES + 1):
            await self._give_way()
            try:
                return await call()
            except ExternalFailed as error:
                if tries == TRIES or error.outcome not in ("unavailable", "throttled"):
                    raise
                with resting():
                    await trio.sleep(self._reader.pause_s(tries))
        raise AssertionError

    async def _give_way(self) -> None:
        """Wait while hints are to be read or entries to be written: live traffic goes first, for half a minute."""
        with resting(), trio.move_on_after(GIVES_WAY_S_MAX):
            while self._is_busy():  # noqa: ASYNC110 what is due changes with time alone
                await trio.sleep(GIVES_WAY_STEP_S)

    def _is_busy(self) -> bool:
        if self._reader.breaker.wait_s > 0:
            return False  # nobody else gets anything done either
        state, name, now_s = self._journal.state, self._integration.id, self._clock.now_s()
        if due_hints(state, name, now_s):
            return True
        return self._integration.settings.writes and bool(due_links(state, name, now_s, 1, without=frozenset()))
