"""Merges one link until it is clean. The decision is ``core.deciding.merge_link``; this is only the waiting."""

from syncd.actors.ports import Journal
from syncd.core.deciding import merge_link


async def run_merger(name: str, by: str, trace: str, journal: Journal) -> None:
    """Merge a link until its dirty mark is gone."""
    while await journal.transact(lambda state, at_s: merge_link(state, at_s, name), by=by, trace=trace):
        pass
