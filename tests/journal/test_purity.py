"""J8: replay is pure. Two hundred histories, read in two other processes with other hash seeds, give what was live."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from syncd.core.capture import digest
from syncd.journal.codec import frame_bytes
from syncd.journal.log import open_log
from syncd.seams import SystemDisk
from tests.core.test_capture import lived

HISTORIES = 200

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
    for hash_seed in ("1", "77"):
        run = subprocess.run(
            [sys.executable, "-c", REPLAY, *map(str, folders)],
            capture_output=True,
            check=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )
        assert run.stdout.split() == live
    assert len(set(live)) > len(live) // 2
