"""Reading records of one instance into State: for hints, for a sweep over all links, and for records that are new.

All three end in ``core.hints.settle_read``, the one write path. Shared by intake and reconciler.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from syncd.actors.breaker import Breaker
from syncd.actors.ports import External, Journal
from syncd.core.hints import HINTS_A_READ, Read, settle_read, swept, unlinked
from syncd.core.model import Cursor, Hint, Integration, Observation
from syncd.errors import ExternalFailed
from syncd.seams import Clock, Ids

LATE_COMMIT_S: Final = 300.0  # a record may appear with a creation stamp this old, the longest UI transaction
PAGES_MAX: Final = 10_000


class Swept(Struct, frozen=True):
    """A finished sweep: links read, and records that showed something new."""

    checked: int
    observed: int


class Reader:
    """Reads for one integration. Raises ``ExternalFailed``, after telling the breaker."""

    def __init__(
        self, integration_id: str, by: str, journal: Journal, external: External, breaker: Breaker, ids: Ids
    ) -> None:
        self._integration_id = integration_id
        self._by = by
        self._journal = journal
        self._external = external
        self._ids = ids
        self.breaker = breaker

    async def rows(self, external_ids: Sequence[str]) -> list[Observation]:
        """The records that are shown of these ids, at most 50."""
        await self.breaker.passage()
        try:
            found = await self._external.read(external_ids)
        except ExternalFailed as error:
            self.breaker.failed(error)
            raise
        self.breaker.succeeded()
        return found

    async def read(self, hints: Sequence[Hint]) -> None:
        """Read what hints name and settle them."""
        asked = self._journal.state.position
        rows = await self.rows([hint.external_id for hint in hints])
        await self._feed(asked, tuple(hints), rows, trace=hints[0].trace)

    async def sweep(self, clock: Clock, trace: str) -> Swept:
        """Read every link's record, then look for records created since the last sweep. Heals through the merge."""
        integration = self._journal.state.integrations[self._integration_id]
        begun_s = clock.now_s()
        names = [link.external_id for link in self._journal.state.links_under(integration.id) if link.external_id]
        observed = 0
        for start in range(0, len(names), HINTS_A_READ):
            page = names[start : start + HINTS_A_READ]
            asked = self._journal.state.position
            observed += await self._feed(asked, (), await self.rows(page), trace=trace)
        observed += await self._look_for_new(integration, trace)
        upto_s = begun_s + self._external.offset.s
        await self._journal.transact(lambda state, _: swept(state, integration.id, upto_s), by=self._by, trace=trace)
        return Swept(len(names), observed)

    async def _look_for_new(self, integration: Integration, trace: str) -> int:
        """Walk through records created since the last sweep, with an overlap for late commits."""
        first_s = integration.first_enabled_at_s
        if first_s is None or not (integration.settings.reads and integration.settings.create_platform):
            return 0
        since_s = first_s + self._external.offset.s
        if integration.swept_at_s is not None:
            since_s = max(since_s, integration.swept_at_s - LATE_COMMIT_S)
        cursor = Cursor(since_s - 3.0)
        observed = 0
        for _ in range(PAGES_MAX):
            await self.breaker.passage()
            asked = self._journal.state.position
            rows = await self._external.created_after(cursor)
            if not rows:
                break
            observed += await self._feed(asked, (), rows, trace=trace)
            cursor = Cursor(rows[-1].created_at_s or cursor.created_at_s, rows[-1].external_id)
        return observed

    async def _feed(self, asked: int, hints: tuple[Hint, ...], rows: list[Observation], *, trace: str) -> int:
        integration = self._journal.state.integrations[self._integration_id]
        strangers = [seen.external_id for seen in unlinked(self._journal.state, integration.id, rows)]
        wanted = await self._external.passing(strangers, integration.settings.import_query)
        words = tuple(self._ids.word() for _ in strangers)
        read = Read(asked, hints, tuple(rows), wanted, words, self._external.offset)
        return await self._journal.transact(
            lambda state, at_s: settle_read(state, at_s, integration.id, read), by=self._by, trace=trace
        )
