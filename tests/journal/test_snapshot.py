"""A snapshot on disk: whole or not there, and never mistaken for what it is not."""

from pathlib import Path

import pytest

from syncd.core.capture import capture, digest
from syncd.core.state import State
from syncd.journal import snapshot as module
from syncd.journal.files import Watermark
from syncd.journal.snapshot import Draft, check, load, read_head, snapshot_path, snapshot_positions
from syncd.journal.walk import JournalDamaged
from tests.core.test_capture import lived
from tests.journal.samples import STATE
from tests.simulation.disk import SimDisk

END = Watermark(3, 700, 0, 7)


def written(state: State, disk: SimDisk | None = None) -> SimDisk:
    """A disk with a snapshot of this state."""
    disk = disk or SimDisk()
    disk.make_folder(STATE)
    draft = Draft(disk, STATE, capture(state), Watermark(3, 700, state.position, 7))
    while draft.step():
        pass
    draft.finish()
    return disk


@pytest.mark.parametrize("chunk_bytes", [1, 300, 128 * 1024])
def test_what_is_written_is_read(chunk_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", chunk_bytes)
    monkeypatch.setattr(module, "SYNC_BYTES", 1000)
    state = lived(5).state
    disk = written(state)
    head, again = load(disk, STATE, state.position)
    assert (head.end, head.position, head.at_s) == (Watermark(3, 700, state.position, 7), state.position, state.at_s)
    assert digest(again) == digest(state)
    assert sum(check(disk, STATE, state.position)) > 1000
    assert head.is_same_shape
    assert not head.is_newer


def test_an_empty_state_is_a_state() -> None:
    disk = written(State())
    assert digest(load(disk, STATE, 0)[1]) == digest(State())


def test_every_cut_and_every_flipped_bit_is_refused() -> None:
    state = lived(1, acts=0).state
    disk = written(state)
    path = snapshot_path(STATE, state.position)
    whole = disk.files()[path]
    spoiled = [whole[:size_bytes] for size_bytes in range(0, len(whole), 7)]
    for at in range(0, len(whole), 3):
        block = bytearray(whole)
        block[at] ^= 1 << at % 8
        spoiled.append(bytes(block))
    for one in spoiled:
        disk.put(path, one)
        with pytest.raises(JournalDamaged):
            load(disk, STATE, state.position)
        with pytest.raises(JournalDamaged):
            list(check(disk, STATE, state.position))
    assert len(spoiled) > 1000


def test_a_cut_between_two_frames_is_no_shorter_snapshot() -> None:
    """All frames are whole, and the last one is not there."""
    state = lived(1, acts=0).state
    disk = written(state)
    path = snapshot_path(STATE, state.position)
    whole = disk.files()[path]
    disk.put(path, whole[: whole.rindex(b"\xf5\xd1")])
    for read in (lambda: load(disk, STATE, state.position), lambda: list(check(disk, STATE, state.position))):
        with pytest.raises(JournalDamaged, match=r"not all there|without an end"):
            read()


def test_a_snapshot_under_another_name_is_refused() -> None:
    state = lived(1, acts=0).state
    disk = written(state)
    disk.put(snapshot_path(STATE, 99), disk.files()[snapshot_path(STATE, state.position)])
    assert snapshot_positions(disk, STATE) == [99, state.position]
    with pytest.raises(JournalDamaged, match="snapshot-000000000000099 is damaged: at byte 0"):
        load(disk, STATE, 99)


def test_a_later_format_is_called_newer() -> None:
    disk = written(State())
    path = snapshot_path(STATE, 0)
    block = bytearray(disk.files()[path])
    block[8] = 2
    disk.put(path, bytes(block))
    with pytest.raises(JournalDamaged, match="was written by a newer syncd"):
        read_head(disk, STATE, 0)


@pytest.mark.parametrize(("version", "is_newer"), [("0.0.9", False), ("0.1.0", False), ("0.1.1", True), ("1.0", True)])
def test_versions_are_compared_as_numbers(version: str, is_newer: bool) -> None:
    head = module.Head(1, 0.0, END, version, "other", {})
    assert (head.is_newer, head.is_same_shape) == (is_newer, False)


def test_no_room_is_an_error_and_abandoning_leaves_nothing() -> None:
    disk = SimDisk()
    disk.make_folder(STATE)
    disk.space_bytes = 500
    draft = Draft(disk, STATE, capture(lived(1, acts=0).state), END)
    with pytest.raises(OSError, match=r"[Nn]o (room|space)"):
        all(iter(draft.step, False))
    draft.abandon()
    draft.abandon()
    assert disk.names(STATE) == []


def test_other_names_are_left_alone() -> None:
    disk = SimDisk()
    for name in ("snapshot-7", "snapshot-000000000000007.new", "snapshot-000000000000007~", "watermark"):
        disk.put(STATE / name, b"")
    assert snapshot_positions(disk, Path("/state")) == []
