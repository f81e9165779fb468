"""Reading records of one instance into State: for hints, for a sweep over all links, and for records that are new.

All three end in ``core.hints.settle_read``, the one write path. Shared by intake and reconciler.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from syncd.actors.breaker import Breaker
from syncd.actors.containment import Containment
from syncd.actors.ports import External, Journal
from syncd.actors.traced import traced
from syncd.core.backoff import CAP_S_FRESH
from syncd.core.coverage import Announcements, unread
from syncd.core.events import Source
from syncd.core.hints import (
    HINTS_A_READ,
    Read,
    is_last_look,
    join_pair,
    new_since_s,
    noted_since_s,
    part_of,
    settle_read,
    to_be_noted,
    unlinked,
)
from syncd.core.model import Cursor, Hint, Integration, Observation, SeenNote
from syncd.core.paging import IDS_A_PAGE
from syncd.core.polling import look_at
from syncd.core.sending import Offset
from syncd.errors import ExternalFailed, ExternalUnreadable, Unknown
from syncd.seams import Clock, Ids

T = TypeVar("T")
log: Final = logging.getLogger("syncd.actors")

LATE_COMMIT_S: Final = 300.0  # a record may appear with a creation stamp this old, the longest UI transaction
PAGES_MAX: Final = 10_000
OFFSET_ERROR_S_MAX: Final = 1.0
NO_TRACES: Final[Mapping[str, str]] = MappingProxyType({})
URL_TOO_LONG: Final = (414, 431)
SLACK_S: Final = 3.0  # the slack of what is new, and a second of its stamp


class Fed(Struct, frozen=True):
    """What became of a read: how many records showed something new, and why unlinked ones were left out, if they were.

    ``unsure``: those, which may have to come in.
    """

    observed: int
    failure: ExternalFailed | None = None
    unsure: frozenset[str] = frozenset()


class Ear(Struct, frozen=True):
    """Where it is told what a look found and no webhook had announced."""

    heard: Announcements
    clock: Clock


class Reader:
    """Reads for one integration. Raises ``ExternalFailed``, after telling the breaker."""

    def __init__(
        self,
        integration_id: str,
        by: str,
        journal: Journal,
        external: External,
        breaker: Breaker,
        containment: Containment,
        ids: Ids,
        ear: Ear | None = None,
    ) -> None:
        """``ear``: told of what nobody had announced."""
        self._ear = ear
        self._integration_id = integration_id
        self._by = by
        self._journal = journal
        self._external = external
        self._ids = ids
        self._ids_max = IDS_A_PAGE
        self.containment = containment
        self.breaker = breaker
        self.query_faults: list[str] | None = None  # None: not tried yet

    async def rows(
        self, external_ids: Sequence[str], traces: Mapping[str, str] = NO_TRACES, unreadable: set[str] | None = None
    ) -> list[Observation]:
        """The records that are shown of these ids. ``traces``: by record, the change that it is about.

        ``unreadable``: gets those that are there, and cannot be read.
        """
        shown: list[Observation] = []
        left_out = set[str]() if unreadable is None else unreadable
        left = list(external_ids)

        async def read(ids: Sequence[str]) -> list[Observation]:
            return await traced(_of(traces, ids), "GET", partial(self._external.read, ids))

        while left:
            page, left = left[: self._ids_max], left[self._ids_max :]
            try:
                shown += await self.ask(partial(read, page))
            except ExternalUnreadable as error:
                if error.status in URL_TOO_LONG and self._ids_max > HINTS_A_READ:
                    self._ids_max = HINTS_A_READ  # something on the way takes no such long URLs
                    left = page + left
                else:
                    shown += await self._halves(read, page, error, left_out)
        return shown

    async def _by_halves(
        self, ask: Callable[[Sequence[str]], Awaitable[list[T]]], ids: Sequence[str], left_out: set[str]
    ) -> list[T]:
        """What is shown of these records. ``left_out``: gets those that cannot be read.

        An answer that cannot be read is asked for again by halves, down to the record that cannot; that one is left
        out, as if it were hidden, so that it holds up nobody else.
        """
        try:
            return await self.ask(lambda: ask(ids))
        except ExternalUnreadable as error:
            return await self._halves(ask, ids, error, left_out)

    async def _halves(
        self,
        ask: Callable[[Sequence[str]], Awaitable[list[T]]],
        ids: Sequence[str],
        error: ExternalUnreadable,
        left_out: set[str],
    ) -> list[T]:
        if len(ids) == 1:
            log.warning("a record cannot be read", extra={"record": ids[0], "reason": error.message})
            left_out.add(ids[0])
            return []
        half = len(ids) // 2
        first = await self._by_halves(ask, ids[:half], left_out)
        return [*first, *await self._by_halves(ask, ids[half:], left_out)]

    @property
    def offset(self) -> Offset:
        """The instance's clock minus ours, as measured so far."""
        return self._external.offset

    def pause_s(self, failures: int) -> float:
        """How long to wait after so many failed reads in a row; no longer than an instance may be left unprobed."""
        return max(self.breaker.wait_s, min(CAP_S_FRESH, 2.0 ** min(failures - 1, 8)))

    async def ask(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            return await self.breaker.ask(call)
        except ExternalFailed as error:
            self.breaker.last_failure = error  # a read that is refused is trouble, too: nothing comes in
            raise

    async def link(self, incident_id: str, external_id: str, *, by: str, trace: str, source: Source | None) -> None:
        """Join an incident and a record that a person named; ``Unknown`` when ServiceNow does not show the record."""
        asked = self._journal.state.position
        rows = await self.rows([external_id])
        if not rows:
            unseen = f"ServiceNow does not show a record {external_id}"
            raise Unknown(unseen, hint="give the record's sys_id; it may be hidden from the integration's account")
        offset = self._external.offset
        await self._journal.transact(
            lambda state, at_s: join_pair(state, at_s, self._integration_id, incident_id, rows[0], offset, asked),
            by=by,
            trace=trace,
            source=source,
        )

    async def read(self, hints: Sequence[Hint]) -> None:
        """Read what hints name and settle them."""
        asked = self._journal.state.position
        traces, unreadable = {hint.external_id: hint.trace for hint in hints}, set[str]()
        rows = await self.rows(list(traces), traces, unreadable)
        is_last = any(is_last_look(self._journal.state, self._integration_id, hint) for hint in hints)
        blind = is_last and not rows and not unreadable and not await self.shows_any()
        read, _ = await self._gathered(asked, tuple(hints), rows, hints[0].trace)
        await self.settle(replace(read, blind=blind, unreadable=frozenset(unreadable)), hints[0].trace)

    async def walk_new(
        self,
        integration: Integration,
        on_page: Callable[[int, Sequence[Observation]], Awaitable[None]],
        on_unreadable: Callable[[Observation], Awaitable[None]],
    ) -> bool:
        """Walk through records created since the last sweep; False when new ones are not wanted, and stay unlooked.

        ``on_page`` is given the position at which a page was asked for, and its rows; ``on_unreadable`` a record that
        is passed over, since its answer cannot be read.
        """
        if integration.first_enabled_at_s is None or not (
            integration.settings.reads and integration.settings.create_platform
        ):
            return False
        if await self.find_query_faults():
            return False  # what such a query gives is any records, in any order: some would be missed, unnoticed
        since_s = self._new_since_s(integration)
        cursor = Cursor(since_s)
        for _ in range(PAGES_MAX):
            asked, after = self._journal.state.position, cursor
            page = await self.ask(lambda after=after: self._external.created_after(after))  # type: ignore[misc]
            if self._new_since_s(integration) < since_s - OFFSET_ERROR_S_MAX:
                since_s = self._new_since_s(integration)  # this answer was the first to tell the instance's clock
                cursor = Cursor(since_s)
                continue
            if page.unreadable is not None:
                await on_unreadable(page.unreadable)
            elif page.rows:
                await on_page(asked, page.rows)
            else:
                break
            last = page.unreadable or page.rows[-1]
            cursor = Cursor(last.created_at_s or cursor.at_s, last.external_id)
        return True

    async def leave_to_intake(self, seen: Observation, trace: str) -> None:
        """A record that cannot be read holds up nobody; it is tried again by itself, like one that a webhook named."""
        log.warning("a record cannot be read", extra={"record": seen.external_id, "trace": trace})
        await self._journal.transact(
            lambda state, at_s: look_at(state, at_s, self._integration_id, seen.external_id), by=self._by, trace=trace
        )

    async def ours(self, prefix: str) -> list[Observation]:
        """The records that carry a correlation id with this prefix, without values; none where no search is sure."""
        found: list[Observation] = []
        if await self.find_query_faults():
            return found
        after = "0"
        for _ in range(PAGES_MAX):
            page = await self.ask(lambda after=after: self._external.ours(prefix, after))  # type: ignore[misc]
            found += page
            if not page:  # one that is merely short may have lost what is hidden from us
                break
            after = page[-1].external_id
        return found

    async def shows_any(self) -> bool:
        """Whether our account is shown any record at all."""
        return await self.ask(self._external.shows_any)

    async def find_query_faults(self) -> list[str]:
        """Which queries the instance does not keep to; asked until it is none."""
        if self.query_faults != []:
            self.query_faults = await self.ask(self._external.query_faults)
        return self.query_faults or []

    def _new_since_s(self, integration: Integration) -> float:
        """From where to look for new records, on the instance's clock: with an overlap for late commits."""
        since_s = new_since_s(integration, self._external.offset) or 0.0
        if integration.swept_at_s is not None:
            since_s = max(since_s, integration.swept_at_s - LATE_COMMIT_S)
        return since_s - SLACK_S

    async def _notes(
        self, integration: Integration, rows: Sequence[Observation], hints: Sequence[Hint], wanted: frozenset[str]
    ) -> tuple[frozenset[str], tuple[SeenNote, ...]]:
        """The notes of the records that may have got some, and which records those are that were read."""
        state = self._journal.state
        noted = to_be_noted(state, integration, rows, hints, wanted, self._external.offset)
        if not noted or not integration.settings.reads:
            return frozenset(noted), ()
        traces = {hint.external_id: hint.trace for hint in hints}
        notes, unread = await self.notes_of(noted, traces)
        return frozenset(noted) - unread, notes

    async def notes_of(
        self, external_ids: Sequence[str], traces: Mapping[str, str]
    ) -> tuple[tuple[SeenNote, ...], frozenset[str]]:
        """The work notes of these records that we have not read yet, and a few more; and whose could not be read.

        ``traces``: whose change it is.
        """
        since_s = noted_since_s(self._journal.state, self._integration_id, external_ids) - LATE_COMMIT_S
        notes, unread = list[SeenNote](), set[str]()
        for start in range(0, len(external_ids), HINTS_A_READ):
            page = external_ids[start : start + HINTS_A_READ]
            notes += await self._by_halves(
                lambda ids: traced(
                    _of(traces, ids), "GET", partial(self._external.notes, ids, since_s), columns="work_notes"
                ),
                page,
                unread,
            )
        return tuple(notes), frozenset(unread)

    async def feed(self, asked: int, rows: Sequence[Observation], *, trace: str) -> Fed:
        """Bring what records show into State. ``asked``: the journal's position when the request left."""
        read, failure = await self._gathered(asked, (), rows, trace)
        return Fed(await self.settle(read, trace), failure, read.unsure)

    async def gathered(self, asked: int, rows: Sequence[Observation], trace: str) -> Read:
        """What was read, with what must be known beside it: which strangers are wanted, and the new notes."""
        read, failure = await self._gathered(asked, (), rows, trace)
        if failure is not None:
            raise failure  # a sweep is not done while a new record may have been left out
        return read

    async def _gathered(
        self, asked: int, hints: tuple[Hint, ...], rows: Sequence[Observation], trace: str
    ) -> tuple[Read, ExternalFailed | None]:
        integration = self._journal.state.integrations.get(self._integration_id)
        if integration is None:  # deleted while the answer was on its way; whoever runs us is about to be stopped
            return Read(asked, hints, (), frozenset(), (), self._external.offset), None
        strangers = [seen.external_id for seen in unlinked(self._journal.state, integration.id, rows)]
        query = integration.settings.import_query
        wanted, unsure, failure = frozenset(strangers), frozenset[str](), None
        if query and strangers:
            try:
                wanted = await self.ask(lambda: self._external.passing(strangers, query))
            except ExternalFailed as error:  # the linked records need not wait for the strangers
                wanted, unsure, failure = frozenset(), frozenset(strangers), error
        words = tuple(self._ids.word() for _ in strangers)
        noted, notes = await self._notes(integration, rows, hints, wanted)
        traces = {hint.external_id: hint.trace for hint in hints} if len(hints) > 1 else {}
        if not hints:  # whoever looked through all of them found several changes
            traces = {seen.external_id: f"{trace}.{seen.external_id[:8]}" for seen in rows}
        read = Read(
            asked, hints, tuple(rows), wanted, words, self._external.offset, unsure, noted, notes, traces=traces
        )
        return read, failure

    async def settle(self, read: Read, trace: str) -> int:
        """Feed a read into State. Records that crash this are left out, as if they were hidden, and read again."""
        observed = 0
        found = self._unread(read)

        async def feed(part: Read) -> None:
            nonlocal observed
            observed += await self._journal.transact(
                lambda state, at_s: settle_read(state, at_s, self._integration_id, part), by=self._by, trace=trace
            )

        if self._ear is not None:
            for external_id, count in found:
                self._ear.heard.found(self._ear.clock.now_s(), external_id, count)
        if await self.containment.run("reading", "", feed(read), trace):
            return observed
        sound: list[str] = []
        for seen in read.rows:
            name = self._journal.state.link_of_record.get((self._integration_id, seen.external_id), "")
            part = part_of(read, {seen.external_id})
            alone = replace(part, hints=(), ids=(self._ids.word(),), crashed=frozenset())
            if await self.containment.run("reading", name, feed(alone), trace):
                sound.append(seen.external_id)
        await feed(part_of(read, set(sound)))
        return observed

    def _unread(self, read: Read) -> list[tuple[str, int]]:
        """The changes that nobody had read, of a look that no webhook set off."""
        integration = self._journal.state.integrations.get(self._integration_id)
        if self._ear is None or integration is None or read.hints:
            return []
        return list(unread(self._journal.state, read, integration, self._ear.heard.since_s))


def _of(traces: Mapping[str, str], external_ids: Sequence[str]) -> Mapping[str, str]:
    """Those of some records."""
    return {name: traces[name] for name in external_ids if name in traces}
