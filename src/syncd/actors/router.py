"""Opens links for new incidents and starts a merger for every dirty link.

A merger lives only while its link is dirty: it checks the mark and ends in one step, and is started again when the link
is dirty again. So 100,000 links are not 100,000 tasks.
"""

from functools import partial
from typing import Final

import trio

from syncd.actors.containment import AGAIN_AFTER_S, Containment
from syncd.actors.doorbell import Doorbell
from syncd.actors.merger import run_merger
from syncd.actors.ports import Journal
from syncd.core.deciding import open_links

MERGERS_MAX: Final = 64


async def run_router(integration_id: str, by: str, journal: Journal, containment: Containment, bell: Doorbell) -> None:
    """Look for work at every ring. Ends by cancellation, or by an error that is not one link's."""
    active: dict[str, None] = {}
    resting: set[str] = set()  # active in name only, after a crash

    async def merge(name: str, trace: str) -> None:
        if not await containment.run("merging", name, run_merger(name, by, trace, journal), trace):
            resting.add(name)
            await trio.sleep(AGAIN_AFTER_S)
            resting.remove(name)
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
                    if len(active) - len(resting) >= MERGERS_MAX:
                        break
                    if name not in active:
                        active[name] = None
                        nursery.start_soon(partial(merge, name, trace))
            await bell.wait()
