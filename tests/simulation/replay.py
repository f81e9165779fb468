"""What all lives together have written, folded once from the beginning, is what the last of them knows.

A life that began from a snapshot, or on what a crash had left, must not know more, less or anything twice.
"""

from typing import Final

import trio

from syncd.core.capture import digest
from syncd.core.fold import evolve
from syncd.core.state import State
from tests.simulation.world import World

WRITTEN_S: Final = 1.0


async def check(world: World) -> None:
    """Compare the daemon's state with a replay of everything that became durable."""
    await trio.sleep(WRITTEN_S)  # what was just decided is being written
    assert world.ledger.position == world.state.position, "something is not durable"
    folded = State()
    for record in world.ledger.records:
        evolve(folded, record)
    assert digest(folded) == digest(world.state), f"life {world.life.number} knows something else than the journal"
