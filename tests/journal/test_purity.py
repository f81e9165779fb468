"""J8: replay is pure. Two hundred histories, read in two other processes with other hash seeds, give what was live.

So do the files of whole daemons, after the kills and troubles of a world.
"""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from syncd.core.capture import digest
from syncd.journal.codec import frame_bytes
from syncd.journal.log import open_log
from syncd.seams import SystemDisk
from tests.core.test_capture import lived
from tests.simulation import stories
from tests.simulation.kinds import draw
from tests.simulation.world import STATE_DIR, World

HISTORIES = 200
WORLDS = [("days", 3), ("days", 4), ("people", 3), ("rules", 3)]

# Sockets, clocks and randomness are taken away before anything of the journal is read.
REPLAY = """
import random, socket, sys, time
from pathlib import Path
from syncd.core.capture import digest
from syncd.journal.past import state_at
from syncd.seams import SystemDisk

def refuse(*_, **__):
    raise AssertionError("a replay reached outside")

for module, names in ((socket, ("socket", "create_connection")), (time, ("time", "monotonic")), (random, ("random",))):
    for name in names:
        setattr(module, name, refuse)
for folder in sys.argv[1:]:
    sys.stdout.write(digest(state_at(SystemDisk(), Path(folder)).state) + "\\n")
"""


def keep(folder: Path, payloads: list[bytes], positions: list[int]) -> None:
    """Write a journal as the writer does."""
    folder.mkdir()
    log, chain, frames = open_log(SystemDisk(), folder, None), 0, []
    for payload, position in zip(payloads, positions, strict=True):
        frame, chain = frame_bytes(payload, position, chain)
        frames.append(frame)
    log.append(b"".join(frames), positions[-1], chain)
    log.close()


@pytest.mark.parametrize("part", range(4))
def test_a_replay_in_any_process_gives_the_state_that_was_live(part: int, tmp_path: Path) -> None:
    live, folders = [], []
    for seed in range(part * HISTORIES // 4, (part + 1) * HISTORIES // 4):
        world = lived(1000 + seed, acts=40)
        folders.append(tmp_path / str(seed))
        keep(folders[-1], world.records, [2 * number for number in range(1, len(world.records) + 1)])
        live.append(digest(world.state))
    assert replayed(folders) == [live, live]
    assert len(set(live)) > len(live) // 2


def replayed(folders: list[Path]) -> list[list[str]]:
    """The digests that two processes with different hash seeds come to."""
    found = []
    for hash_seed in ("1", "77"):
        run = subprocess.run(
            [sys.executable, "-c", REPLAY, *map(str, folders)],
            capture_output=True,
            check=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )
        found.append(run.stdout.split())
    return found


def test_a_replay_of_what_a_whole_daemon_left_gives_the_state_that_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, folders = list[str](), list[Path]()
    at_the_end = stories._count

    def kept(world: World) -> None:
        at_the_end(world)
        assert world.house is not None
        assert world.house.journal.durable_position == world.state.position
        live.append(digest(world.state))
        folders.append(tmp_path / str(len(folders)))
        for path, block in world._disk.files().items():
            place = folders[-1] / path.relative_to(STATE_DIR)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(block)

    monkeypatch.setattr(stories, "_count", kept)
    for kind, seed in WORLDS:
        stories.run(draw(kind, seed), Counter())
    assert len(live) == len(WORLDS)
    assert replayed(folders) == [live, live]
