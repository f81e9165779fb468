"""Opens links for new incidents and starts a merger for every dirty link.

A merger lives only while its link is dirty: it checks the mark and ends in one step, and is started again when the link
is dirty again. So 100,000 links are not 100,000 tasks.
"""

from functools import partial
from typing import Final

import trio

from syncd.actors.doorbell import Doorbell
from syncd.actors.merger import run_merger
from syncd.actors.ports import Journal
from syncd.core.deciding import open_links

MERGERS_MAX: Final = 64


async def run_router(integration_id: str, by: str, journal: Journal, bell: Doorbell) -> None:
    """Look for work at every ring. Ends by cancellation, or by a merger's error, for the supervisor to restart it."""
    active: dict[str, None] = {}

    async def merge(name: str, trace: str) -> None:
        await run_merger(name, by, trace, journal)
        del active[name]
        bell.ring()  # it may have become dirty again between the merger's last look and its end

    async with trio.open_nursery() as nursery:
        while True:
            integration = journal.state.integrations.get(integration_id)
            if integration is not None and integration.settings.runs:
                if journal.state.unlinked.get(integration_id) and integration.settings.writes:
                    trace = next(iter(journal.state.unlinked[integration_id].values()))
                    await journal.transact(lambda state, _: open_links(state, integration_id), by=by, trace=trace)
                for name, trace in journal.state.dirty.get(integration_id, {}).items():
                    if len(active) >= MERGERS_MAX:
                        break
                    if name not in active:
                        active[name] = None
                        nursery.start_soon(partial(merge, name, trace))
            await bell.wait()
