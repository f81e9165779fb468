"""Tries refused changes again when their time has come; what is tried, and when, is ``core.letters``.

People's verdicts on dead letters are decisions of the API (``core.verdicts``): nothing waits for this actor.
"""

from syncd.actors.doorbell import Doorbell
from syncd.actors.ports import Journal
from syncd.core.letters import next_retry_at_s, retry_due
from syncd.seams import Clock, Ids


async def run_dead_letters(
    integration_id: str, by: str, journal: Journal, clock: Clock, ids: Ids, bell: Doorbell
) -> None:
    """Requeue letters whose time has come, at every ring and at that time. Ends only by cancellation."""
    while True:
        if next_retry_at_s(journal.state, integration_id) <= clock.now_s():
            await journal.transact(lambda state, at_s: retry_due(state, integration_id, at_s), by=by, trace=ids.word())
        await bell.wait(max(0.0, next_retry_at_s(journal.state, integration_id) - clock.now_s()))
