"""Brings existing records in, page by page, for as long as an import is running in State; a crash leaves it there.

Each page yields to live traffic before it is asked for. What it brings and the place behind it are one transaction.
"""

from collections import Counter
from itertools import islice
from typing import Final

import trio
from msgspec import Struct
from msgspec.structs import replace

from syncd.actors.doorbell import Doorbell
from syncd.actors.means import Actor, Means
from syncd.core import importing
from syncd.core.encoded_query import parse
from syncd.core.fold_import import LEFT_KEPT_MAX
from syncd.core.hints import Read, only_of
from syncd.core.importing import Candidates, Coming, Tried
from syncd.core.model import ImportRun, Integration, LeftOut, Observation
from syncd.errors import Busy, ExternalFailed
from syncd.pulse import resting

YIELD_S_MAX: Final = 30.0  # so long a page waits while others wait for their turn
TRY_S_MAX: Final = 240.0
COMING_SHOWN_MAX: Final = 20
RETRY_AFTER_S: Final = 5


class _Trial(Struct):
    """A dry run: what it would have brought in so far."""

    counts: Counter[str]
    left: list[LeftOut]
    coming: list[Coming]


class Importer(Actor):
    """One integration's imports."""

    def __init__(self, means: Means, bell: Doorbell) -> None:
        super().__init__(means)
        self._containment = means.reader.containment
        self._bell = bell
        self._over = trio.Event()

    @property
    def _integration(self) -> Integration | None:
        return self._journal.state.integrations.get(self._integration_id)

    @property
    def _run(self) -> ImportRun | None:
        """The import that is under way."""
        one = self._integration
        run = one.importing if one is not None else None
        return run if run is not None and run.status == "running" else None

    async def wait(self) -> None:
        """Return when no import is under way."""
        while self._run is not None:
            await self._over.wait()

    async def run(self) -> None:
        """Do the import there is, at every ring. Ends only by cancellation."""
        failures = 0
        try:
            while True:
                run = self._run
                if run is None:
                    self._tell_over()
                    await self._bell.wait()
                    continue
                try:
                    await self._page(run)
                    failures = 0
                except ExternalFailed as error:
                    if error.outcome == "refused":
                        await self._end(run, f"ServiceNow refused the query: {error}")
                        continue
                    failures += 1
                    with resting():
                        await trio.sleep(self._reader.pause_s(failures))
        finally:
            self._tell_over()  # whoever waits looks again, and goes on waiting if it is not

    def _tell_over(self) -> None:
        self._over.set()
        self._over = trio.Event()

    async def _page(self, run: ImportRun) -> None:
        """Bring in the next page, or end the import."""
        if (one := self._integration) is None or not one.settings.reads:
            await self._end(run, "nothing may come in any more: the integration is disabled, or its direction changed")
            return
        asked = self._journal.state.position
        page = await self._asked(run.query, run.cursor)
        if fault := importing.fault_of(parse(run.query), page.rows):
            await self._end(run, fault)
            return
        rows = [one.seen for one in page.rows]
        integration = self._integration
        if rows and integration is not None:
            read = await self._read(asked, integration, rows)
            total = page.total if not run.checked else None
            if not await self._take(run, read, rows, total):
                return  # stopped meanwhile
        if page.unreadable is not None:
            await self._pass_over(run, page.unreadable)
        elif page.is_last or not rows:
            await self._end(run, "")

    async def _asked(self, query: str, after: str) -> Candidates:
        await self._reader.breaker.others_first(YIELD_S_MAX)
        return await self._reader.ask(lambda: self._external.matching(query, after))

    async def _read(self, asked: int, integration: Integration, rows: list[Observation]) -> Read:
        """The records with their work notes, as far as they may come in."""
        state = self._journal.state
        coming = [
            seen for seen in rows if importing.fate_of(state, integration, seen) in ("imported", "adopted", "unsure")
        ]
        names = [seen.external_id for seen in coming]
        notes, unread = await self._reader.notes_of(names, {}) if names else ((), frozenset())
        return Read(
            asked,
            (),
            tuple(coming),
            frozenset(),
            tuple(self._ids.word() for _ in coming),
            self._external.offset,
            noted=frozenset(names) - unread,
            notes=notes,
            imported=frozenset(names),
        )

    async def _take(self, run: ImportRun, read: Read, rows: list[Observation], total: int | None) -> bool:
        """Bring a page in, in one step; where that crashes, record by record, and pass over those that crash."""
        is_on = False

        async def take(part: Read, some: list[Observation]) -> None:
            nonlocal is_on
            is_on = await self._journal.transact(
                lambda state, at_s: importing.take(state, at_s, self._integration_id, run.id, part, some, total),
                by=self._by,
                trace=run.id,
            )

        if await self._containment.run("importing", "", take(read, rows), run.id):
            return is_on
        for seen in rows:
            # Words of its own: with those of the page each record would declare the same incident.
            alone = replace(only_of(read, {seen.external_id}), ids=(self._ids.word(),))
            if not await self._containment.run("importing", "", take(alone, [seen]), run.id):
                is_on = await self._pass_over(run, seen)
            if not is_on:
                return False
        return True

    async def _pass_over(self, run: ImportRun, seen: Observation) -> bool:
        return await self._journal.transact(
            lambda state, _: importing.pass_over(state, self._integration_id, run.id, seen), by=self._by, trace=run.id
        )

    async def _end(self, run: ImportRun, reason: str) -> None:
        await self._journal.transact(
            lambda state, _: importing.end(state, self._integration_id, run.id, reason), by=self._by, trace=run.id
        )

    async def attempt(self, query: str, *, run_id: str, by: str) -> Tried:
        """Look what an import would bring in, and change nothing. ``Busy`` when ServiceNow does not answer in time."""
        started_at_s = self._clock.now_s()
        trial, total, reason = _Trial(Counter(), [], []), 0, ""
        with trio.move_on_after(TRY_S_MAX) as scope:
            try:
                self._reader.breaker.check()  # a person waits: say at once that the instance is being left alone
                total, reason = await self._tried(query, trial)
            except ExternalFailed as error:
                if error.outcome != "refused":
                    raise Busy(
                        f"the records could not be read: {error}",
                        hint="im integration sync-status says how the instance does",
                        retry_after_s=RETRY_AFTER_S,
                    ) from error
                reason = f"ServiceNow refused the query: {error}"
        if scope.cancelled_caught:
            reason = f"it did not come to its end within {TRY_S_MAX:g} s"
        run = ImportRun(
            id=run_id,
            query=query,
            by=by,
            started_at_s=started_at_s,
            status="stopped" if reason else "finished",
            reason=reason,
            finished_at_s=self._clock.now_s(),
            total=total,
            counts=dict(trial.counts),
            left=tuple(trial.left),
            at_s=self._clock.now_s(),
            since_s=started_at_s,
        )
        return Tried(run, tuple(trial.coming))

    async def _tried(self, query: str, trial: _Trial) -> tuple[int, str]:
        """How many match, and why it stopped before the end; empty when it did not."""
        total, after, parsed = 0, "", parse(query)
        while True:
            page = await self._asked(query, after)
            total = total or page.total
            if fault := importing.fault_of(parsed, page.rows):
                return total, fault
            self._judge(page, trial)
            if page.unreadable is not None:
                trial.counts["failed"] += 1
                trial.left += importing.left_out([page.unreadable], {page.unreadable.external_id: "failed"})
                after = page.unreadable.external_id
            elif page.is_last or not page.rows:
                return total, ""
            else:
                after = page.rows[-1].seen.external_id

    def _judge(self, page: Candidates, trial: _Trial) -> None:
        integration = self._integration
        if integration is not None:
            rows = [one.seen for one in page.rows]
            state = self._journal.state
            fates = {seen.external_id: importing.fate_of(state, integration, seen) for seen in rows}
            trial.counts.update(fates.values())
            come = importing.coming(state, integration, rows, fates, self._external.offset)
            trial.coming += islice(come, COMING_SHOWN_MAX - len(trial.coming))
            trial.left = [*trial.left, *importing.left_out(rows, fates)][:LEFT_KEPT_MAX]
