"""Record the golden journal of this version: ``python -m tests.journals.record``. Once, at its release.

A history of the real decisions, in several segments, with a snapshot in its middle; and what is known in the end, in
words that later versions can be asked for.
"""

import random
import sys
from pathlib import Path

import msgspec

from syncd import __version__
from syncd.core.capture import capture
from syncd.core.events import Record
from syncd.core.fold import evolve
from syncd.core.pasts import positions_of
from syncd.core.state import State
from syncd.journal.codec import frame_bytes
from syncd.journal.log import open_log
from syncd.journal.snapshot import Draft
from syncd.seams import SystemDisk
from tests.core.world import KINDS, World

FOLDER = Path(__file__).parent
SEED = 6
SEGMENT_BYTES_MAX = 12 * 1024


def known(state: State) -> dict[str, object]:
    """What a later version must know of a state, too."""
    return {
        "position": state.position,
        "incidents": {
            one.id: [
                one.title,
                one.severity,
                one.status,
                one.assigned_to,
                one.version,
                one.forgotten + len(positions_of(one)),
            ]
            for one in state.incidents.values()
        },
        "notes": {name: [note.text for note in notes] for name, notes in state.notes.items()},
        "links": {one.id: [one.external_id, one.state, sorted(one.base)] for one in state.links.values()},
        "conflicts": {one.id: [one.field, one.status, one.platform, one.external] for one in state.conflicts.values()},
        "dead_letters": sorted(state.dead_letters),
        "waiting": [len(queue) for queue in (state.hints, state.dirty, state.outbox, state.unlinked)],
        "integrations": [one.settings.handle for one in state.integrations.values()],
    }


def lived(seed: int) -> World:
    """A world with a history in which much happens, and nothing is deleted."""
    rng = random.Random(seed)
    world = World()
    world.act("declare", 0, 0)
    world.quiet()
    for _ in range(200):
        world.act(rng.choice((*KINDS, "declare", "park", "unlink")), rng.randrange(15), rng.randrange(15))
    return world


def record(folder: Path, seed: int = SEED) -> None:
    """Write the state folder."""
    disk, state = SystemDisk(), State()
    folder.mkdir(parents=True)
    world = lived(seed)
    log, chain = open_log(disk, folder, None, SEGMENT_BYTES_MAX), 0
    for number, payload in enumerate(world.records, start=1):
        event = msgspec.json.decode(payload, type=Record)
        frame, chain = frame_bytes(payload, event.position, chain)
        log.append(frame, event.position, chain)
        state = evolve(state, event)
        if number == len(world.records) * 2 // 3:
            draft = Draft(disk, folder, capture(state), log.end)
            while draft.step():
                pass
            draft.finish()
    log.mark()
    log.close()
    (folder / "known.json").write_bytes(msgspec.json.format(msgspec.json.encode(known(state))) + b"\n")


if __name__ == "__main__":
    target = FOLDER / __version__
    if target.exists():
        sys.exit(f"{target} is there, and stays as it is for ever")
    record(target)
    print(f"recorded {target}")
