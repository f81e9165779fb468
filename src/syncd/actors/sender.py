"""Writes due links to ServiceNow: fresh read, attempt on record, request, echo (docs/sync.md, "Delivery").

In order for each link, which is written by one task at a time, and in parallel over links within the rate budget. What
is due is in State; what to send is decided on the fresh read (``core.sending``).
"""

from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from typing import Final

import trio

from syncd.actors.containment import AGAIN_AFTER_S
from syncd.actors.doorbell import Doorbell
from syncd.actors.means import Actor, Means
from syncd.actors.people import People
from syncd.actors.traced import traced
from syncd.core import groups, sending, worknotes
from syncd.core.backoff import delay_s
from syncd.core.events import Change
from syncd.core.groups import Group
from syncd.core.letters import Inquiry
from syncd.core.model import Attempt, Failure, Link, NoteAttempt, NoteEntry, Observation
from syncd.core.outbox import due_links, due_note, next_due_at_s
from syncd.core.people import Person
from syncd.core.state import State
from syncd.errors import ExternalFailed, Outcome
from syncd.pulse import watched

READ_AHEAD_S: Final = 2.0  # links read together: what can be written in this time at the present rate
READ_AHEAD_MAX: Final = 50
FRESH_S: Final = 0.5  # a read older than this is not written on
RECORDED_S_MAX: Final = 2.0  # nor what was put on record longer after its read: the disk was full, or very slow
LOOKUP_AFTER_S: Final = (1.0, 2.0, 5.0, 15.0)


class Sender(Actor):
    """One integration's sender."""

    def __init__(self, means: Means, bell: Doorbell) -> None:
        super().__init__(means)
        self._breaker = means.reader.breaker
        self._containment = means.reader.containment
        self._people = People(means.external, means.reader.breaker)
        self._bell = bell
        self._active: dict[str, None] = {}
        self._resting = 0  # active in name only, after a crash

    async def run(self) -> None:
        """Look for due links at every ring and when the next one is due. Ends only by cancellation."""
        self._active.clear()  # an earlier life of this actor may have ended in the middle of a batch
        async with trio.open_nursery() as nursery:
            while True:
                now_s = self._clock.now_s()
                for batch in self._batches(now_s, frozenset(self._active)):
                    self._active.update(dict.fromkeys(link.id for link in batch))
                    nursery.start_soon(self._watched_write, batch, now_s)
                # What is due and was not started waits for room, and whoever makes room rings.
                next_at_s = next_due_at_s(
                    self._journal.state, self._integration_id, now_s, without=frozenset(self._active)
                )
                await self._bell.wait(next_at_s - now_s)

    def _batches(self, now_s: float, active: frozenset[str]) -> list[list[Link]]:
        """The next links to write: creates and notes one by one, updates in one batch, as much as 2 s allow."""
        integration = self._journal.state.integrations.get(self._integration_id)
        if integration is None or not integration.settings.writes:
            return []
        room = max(1, min(READ_AHEAD_MAX, int(integration.settings.rate_limit * READ_AHEAD_S)))
        room -= len(active) - self._resting
        if room <= 0:
            return []
        due = due_links(self._journal.state, integration.id, now_s, room, without=active)
        updates = [link for link in due if link.state == "active" and due_note(link, now_s) is None]
        alone = [[link] for link in due if link not in updates]
        return [*alone, updates] if updates else alone

    async def _watched_write(self, links: list[Link], now_s: float) -> None:
        with watched(f"{self._by.removeprefix('integration:')} writing"):
            await self._write(links, now_s)

    async def _write(self, links: list[Link], now_s: float) -> None:
        """Write one pending link, a link's next note, or a batch that is read together and then goes its own ways."""
        first = links[0]
        if first.state == "pending":
            await self._release_after(first, self._create(first))
            return
        if (note := due_note(first, now_s)) is not None:
            await self._release_after(first, self._note(first, note))
            return
        asked = self._journal.state.position
        traces = {link.external_id: self._trace(link) for link in links}
        try:
            rows = {seen.external_id: seen for seen in await self._reader.rows(list(traces), traces)}
        except ExternalFailed as error:
            for link in links:
                await self._release_after(link, self._postpone(link, error))
            return
        read_at = trio.current_time()  # from here on it ages: to read again at once would take as long as this did
        async with trio.open_nursery() as nursery:
            for link in links:
                seen = rows.get(link.external_id)
                nursery.start_soon(self._release_after, link, self._update(link, seen, asked, read_at))

    async def _release_after(self, link: Link, work: Awaitable[None]) -> None:
        """Do the work on a link, then let the next work on it begin; after a crash a little later."""
        try:
            if not await self._containment.run("writing", link.id, work, self._trace(link)):
                self._resting += 1
                try:
                    await trio.sleep(AGAIN_AFTER_S)
                finally:
                    self._resting -= 1
        finally:
            del self._active[link.id]
            self._bell.ring()

    async def _update(self, link: Link, seen: Observation | None, asked: int, read_at: float) -> None:
        """Write a link on a read that is fresh at the moment of sending: what waited for its turn is read again."""
        try:
            async with self._breaker.turn(waits=False):
                people = await self._assignee(link, seen) if seen is not None else {}
                if seen is not None and trio.current_time() - read_at > FRESH_S:
                    asked = self._journal.state.position
                    read = partial(self._external.read, [link.external_id])
                    about = {link.external_id: self._trace(link)}
                    rows = await self._breaker.made(partial(traced, about, "GET", read))
                    seen, read_at = next(iter(rows), None), trio.current_time()
                if seen is None:
                    words = "ServiceNow does not show this record: deleted there, or hidden from our account"
                    raise ExternalFailed("gone", words, status=404)
                attempt = await self._prepared(link, seen, asked, people)
                if attempt is None:
                    return
                if trio.current_time() - read_at > RECORDED_S_MAX:
                    await self._give_up(link, attempt)
                else:
                    await self._send(link, attempt)
        except ExternalFailed as error:
            await self._postpone(link, error)

    async def _give_up(self, link: Link, attempt: Attempt) -> None:
        """It has not left: it took so long to be put on record that its read is old. The next one reads again."""
        failure = Failure("unavailable", "the disk was too slow to put this write on record; the record is read again")
        now_s = self._clock.now_s()
        await self._journal.transact(
            lambda state, at_s: sending.fail(state, at_s, link.id, attempt.number, "unavailable", failure, now_s),
            by=self._by,
            trace=self._trace(link),
        )

    async def _prepared(
        self, link: Link, seen: Observation, asked: int, people: Mapping[str, Person]
    ) -> Attempt | None:
        offset = self._external.offset
        return await self._journal.transact(
            lambda state, at_s: sending.prepare_update(state, at_s, link.id, seen, asked, offset, people),
            by=self._by,
            trace=self._trace(link),
        )

    async def _assignee(self, link: Link, seen: Observation | None) -> Mapping[str, Person]:
        """Look up whom the record is to be assigned to, if it may have to be written now."""
        text = sending.name_to_find(self._journal.state, link.id, seen)
        if text is None:
            return {}
        return {text: await self._people.find(text)}

    async def _create(self, link: Link) -> None:
        """POST a record, or, when an earlier POST had no clear outcome, look for what it may have made."""
        try:
            async with self._breaker.turn():
                people = await self._assignee(link, None)
                if sending.looks_up(self._journal.state.links.get(link.id, link)):
                    attempt = await self._looked_up(link, people)
                else:
                    attempt = await self._journal.transact(
                        lambda state, at_s: sending.prepare_create(state, at_s, link.id, people),
                        by=self._by,
                        trace=self._trace(link),
                    )
                if attempt is not None:
                    await self._send(link, attempt)
        except ExternalFailed as error:
            await self._postpone(link, error)

    async def _note(self, link: Link, entry: NoteEntry) -> None:
        """Send the next work note of a link, or look for it, when it may have arrived already."""
        try:
            async with self._breaker.turn(waits=False):
                attempt = await self._prepared_note(link, entry)
                if attempt is not None:
                    await self._send_note(link, entry, attempt)
        except ExternalFailed as error:
            next_at_s, failure = self._next_at_s(entry.attempts, entry.since_s, error), _failure(error)
            await self._journal.transact(
                lambda state, _: worknotes.postpone_note(state, link.id, entry.note_id, failure, next_at_s),
                by=self._by,
                trace=entry.trace,
            )

    async def _prepared_note(self, link: Link, entry: NoteEntry) -> NoteAttempt | None:
        state, shown, looked_at_s = self._journal.state, None, self._clock.now_s()
        if worknotes.must_look(state, link):
            shown = await self._count_notes(link, entry, worknotes.wording_of(state, link))
        next_at_s = self._look_again_at_s(entry.attempts)
        return await self._journal.transact(
            lambda state, at_s: worknotes.prepare_note(
                state, at_s, link.id, entry.note_id, shown, looked_at_s=looked_at_s, next_at_s=next_at_s
            ),
            by=self._by,
            trace=entry.trace,
        )

    async def _count_notes(self, link: Link, entry: NoteEntry, text: str) -> int | None:
        account = self._journal.state.integrations[self._integration_id].account
        count = partial(self._external.count_notes, link.external_id, text, account)
        about = {link.external_id: entry.trace}
        return await self._breaker.made(partial(traced, about, "GET", count, columns="work_notes"))

    async def _send_note(self, link: Link, entry: NoteEntry, attempt: NoteAttempt) -> None:
        shown, add = None, partial(self._external.add_note, link.external_id, attempt.text)
        about = {link.external_id: entry.trace}
        try:
            echo = await self._breaker.made(partial(traced, about, "PATCH", add, columns="work_notes"))
        except ExternalFailed as error:
            await self._fail_note(link, entry, attempt, error, error.outcome)
            return
        if not worknotes.is_evident(self._journal.state.links.get(link.id), echo):
            try:
                shown = await self._count_notes(link, entry, attempt.text)
            except ExternalFailed as error:
                await self._fail_note(link, entry, attempt, error, "ambiguous")
                return
        offset = self._external.offset
        await self._journal.transact(
            lambda state, at_s: worknotes.settle_note(state, at_s, link.id, attempt.number, echo, offset, shown),
            by=self._by,
            trace=entry.trace,
        )

    async def _fail_note(
        self, link: Link, entry: NoteEntry, attempt: NoteAttempt, error: ExternalFailed, outcome: Outcome
    ) -> None:
        failure, next_at_s = _failure(error), self._next_at_s(entry.attempts, entry.since_s, error)
        await self._journal.transact(
            lambda state, at_s: worknotes.fail_note(state, at_s, link.id, attempt.number, outcome, failure, next_at_s),
            by=self._by,
            trace=entry.trace,
        )

    def _look_again_at_s(self, tries: int) -> float:
        """When to look again for what may have arrived."""
        return self._clock.now_s() + LOOKUP_AFTER_S[min(tries, len(LOOKUP_AFTER_S) - 1)]

    async def _looked_up(self, link: Link, people: Mapping[str, Person]) -> Attempt | None:
        looked_at_s = self._clock.now_s()
        look = partial(self._external.with_correlation, sending.correlation_id(link))
        found = await self._breaker.made(partial(traced, {link.id: self._trace(link)}, "GET", look))
        offset = self._external.offset
        tries = link.outbox.attempts if link.outbox is not None else 0
        next_at_s = self._look_again_at_s(tries)
        return await self._journal.transact(
            lambda state, at_s: sending.settle_lookup(
                state, at_s, link.id, found, next_at_s, offset, people, looked_at_s=looked_at_s
            ),
            by=self._by,
            trace=self._trace(link),
        )

    async def _send(self, link: Link, attempt: Attempt) -> None:
        """Make the request of an attempt that is on record, and settle it with what came of it."""
        echo: Observation | None = None
        error = ExternalFailed("ambiguous", "")
        try:
            echo = await self._breaker.made(partial(self._request, link, attempt))
        except ExternalFailed as failed:
            error = failed
        offset, failure, next_at_s = self._external.offset, _failure(error), self._link_next_at_s(link, error)
        inquiry = Inquiry(
            await self._close_codes(attempt, echo, error), await self._groups(attempt, echo, error.outcome, failure)
        )

        def settle(state: State, at_s: float) -> Change[None]:
            if echo is not None:
                return sending.settle(state, at_s, link.id, attempt.number, echo, offset, inquiry)
            return sending.fail(state, at_s, link.id, attempt.number, error.outcome, failure, next_at_s, inquiry)

        await self._journal.transact(settle, by=self._by, trace=self._trace(link))

    async def _close_codes(self, attempt: Attempt, echo: Observation | None, error: ExternalFailed) -> Sequence[str]:
        """The close codes that the instance has, if a refusal or the echo may be about the one that was sent."""
        is_blanked = echo is not None and "close_code" in sending.blanked_columns(attempt, echo)
        is_refused = echo is None and error.outcome == "refused"
        if not attempt.columns.get("close_code") or not (is_blanked or is_refused):
            return ()
        try:
            return await self._breaker.made(self._external.close_codes)
        except ExternalFailed:
            return ()  # the letter is true without them

    async def _groups(
        self, attempt: Attempt, echo: Observation | None, outcome: Outcome, failure: Failure
    ) -> Sequence[Group] | None:
        """The groups of an assignee whom ServiceNow refused, or cleared again."""
        is_refused = echo is None and outcome == "refused" and groups.is_about_the_person(attempt, failure)
        if not is_refused and not (echo is not None and groups.is_cleared(attempt, echo.columns)):
            return None
        try:
            return await self._people.groups_of(attempt.columns["assigned_to"])
        except ExternalFailed:
            return None  # the letter is true without them

    async def _request(self, link: Link, attempt: Attempt) -> Observation:
        method = "POST" if attempt.kind == "create" else "PATCH"
        request = partial(self._external.update, link.external_id, attempt.columns)
        if attempt.kind == "create":
            request = partial(self._external.create, attempt.columns)
        about = {link.external_id or link.id: self._trace(link)}
        return await traced(about, method, request, columns=",".join(attempt.columns))

    def _trace(self, link: Link) -> str:
        """The ids of the changes that wait to be written there, those included that came while we were at it."""
        waiting = self._journal.state.links.get(link.id, link).outbox or link.outbox
        return waiting.trace if waiting is not None else ""

    async def _postpone(self, link: Link, error: ExternalFailed) -> None:
        next_at_s, failure = self._link_next_at_s(link, error), _failure(error)
        await self._journal.transact(
            lambda state, _: sending.postpone(state, link.id, failure, next_at_s), by=self._by, trace=self._trace(link)
        )

    def _link_next_at_s(self, link: Link, error: ExternalFailed) -> float:
        entry = link.outbox
        attempts, since_s = (entry.attempts, entry.since_s) if entry is not None else (0, self._clock.now_s())
        return self._next_at_s(attempts, since_s, error)

    def _next_at_s(self, attempts: int, since_s: float, error: ExternalFailed) -> float:
        """When to try again. What failed with the whole instance is back soon after it is: the breaker paces that."""
        now_s = self._clock.now_s()
        concerns_all = error.outcome in ("unavailable", "throttled", "paused")
        age_s = 0.0 if concerns_all else now_s - since_s
        return now_s + delay_s(attempts, age_s, self._ids.rng.random())


def _failure(error: ExternalFailed) -> Failure:
    return Failure(error.outcome, error.message, error.status, error.detail)
