"""Reads the records that pending hints name, in batches, and feeds what they show into State.

The hints are in State, where the webhook door put them; a crash leaves them there.
"""

import trio

from syncd.actors.doorbell import Doorbell
from syncd.actors.ports import Journal
from syncd.actors.reading import Reader
from syncd.core.hints import due_hints, next_hint_at_s
from syncd.errors import ExternalFailed
from syncd.pulse import resting
from syncd.seams import Clock


async def run_intake(integration_id: str, journal: Journal, reader: Reader, clock: Clock, bell: Doorbell) -> None:
    """Look for due hints at every ring and when the next one is due. Ends only by cancellation."""
    failures = 0
    while True:
        integration = journal.state.integrations.get(integration_id)
        if integration is None or not integration.settings.runs:
            await bell.wait()
            continue
        if hints := due_hints(journal.state, integration_id, clock.now_s()):
            try:
                await reader.read(hints)
                failures = 0
            except ExternalFailed:  # the hints are still there; more of them are no reason to ask more often
                failures += 1
                with resting():
                    await trio.sleep(reader.pause_s(failures))
        else:
            await bell.wait(max(0.0, next_hint_at_s(journal.state, integration_id) - clock.now_s()))
