"""How the daemon last ended is on record, over a crash at any moment, and told without guessing."""

from pathlib import Path

import pytest

from syncd.core.daemon_status import EndView
from syncd.core.views import rfc3339
from syncd.errors import AlreadyRunning, JournalFailed, JournalRefused
from syncd.lives import CLEAN, CUT_OFF, OWN_FAULT, Life, ended, last_end, life_path, read_life, write_life
from tests.simulation.disk import SimDisk

STATE = Path("/state")
BEGAN_S, ENDED_S = 1_700_000_000.0, 1_700_000_100.0


def test_what_is_written_is_read_back_and_the_next_one_replaces_it() -> None:
    disk = SimDisk()
    disk.make_folder(STATE)
    assert read_life(disk, STATE) is None
    for life in (Life(BEGAN_S), ended(BEGAN_S, ENDED_S, 7)):
        disk.put(STATE / "life.json.new", b"left by a crash")
        write_life(disk, STATE, life)
        assert read_life(disk, STATE) == life
    assert disk.names(STATE) == ["life.json"]


@pytest.mark.parametrize("block", [b"", b"{", b"[]", b'{"began_at_s": "x"}', b"\xff\xfe"])
def test_a_record_that_cannot_be_read_means_that_nothing_is_known(block: bytes) -> None:
    disk = SimDisk()
    disk.make_folder(STATE)
    disk.put(life_path(STATE), block)
    assert read_life(disk, STATE) is None
    assert last_end(None, 7, ENDED_S) is None


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (None, 0, CLEAN),
        (JournalRefused("segment 3 is damaged at byte 7"), 78, "segment 3 is damaged at byte 7"),
        (AlreadyRunning(Path("/run/syncd.sock"), "41"), 75, "/run/syncd.sock is held by another syncd (pid 41)"),
        (ExceptionGroup("", [ExceptionGroup("", [JournalFailed("cannot sync /state")])]), 70, "cannot sync /state"),
        (ExceptionGroup("", [KeyError("a detail that is for the log")]), 70, OWN_FAULT),
    ],
)
def test_an_end_is_told_with_its_exit_code_and_its_reason(error: Exception | None, code: int, reason: str) -> None:
    told = last_end(ended(BEGAN_S, ENDED_S, 7, error), 7, ENDED_S - 1)
    assert told == EndView(at=rfc3339(ENDED_S), code=code, reason=reason)


def test_a_run_without_an_end_was_cut_off_after_the_last_that_is_known_of_it() -> None:
    assert last_end(Life(BEGAN_S), 7, BEGAN_S + 50) == EndView(at=rfc3339(BEGAN_S + 50), code=None, reason=CUT_OFF)
    assert last_end(Life(BEGAN_S), 7, 0.0) == EndView(at=rfc3339(BEGAN_S), code=None, reason=CUT_OFF)


def test_a_clean_stop_is_not_told_of_a_later_run_that_could_not_be_put_on_record() -> None:
    told = last_end(ended(BEGAN_S, ENDED_S, 7), 9, ENDED_S + 50)
    assert told == EndView(at=rfc3339(ENDED_S + 50), code=None, reason=CUT_OFF)
