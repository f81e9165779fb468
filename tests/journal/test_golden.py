"""J7: what every version wrote is read for ever, and what a later one wrote is refused untouched."""

import re
import shutil
from pathlib import Path

import msgspec
import pytest

from syncd import __version__
from syncd.core.capture import digest
from syncd.errors import JournalRefused
from syncd.journal.codec import SegmentHeader, frame_bytes, segment_header_bytes
from syncd.journal.past import state_at
from syncd.journal.scan import scan
from syncd.journal.snapshot import snapshot_positions
from syncd.journal.writer import Journal
from syncd.seams import SystemClock, SystemDisk, ThreadWork
from tests.journals.record import FOLDER, known, record

VERSIONS = sorted(path.name for path in FOLDER.iterdir() if re.fullmatch(r"[0-9.]+", path.name))
LATER = b'{"position":%d,"stream":"o","at_s":1.0,"by":"a","trace":"t","events":[{"type":"MoodChanged","mood":"good"}]}'


@pytest.fixture(params=VERSIONS)
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of one version's state folder."""
    return Path(shutil.copytree(FOLDER / str(request.param), tmp_path / "state"))


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "lock"}


def expected(folder: Path) -> object:
    return msgspec.json.decode((folder / "known.json").read_bytes())


def found(folder: Path) -> object:
    return msgspec.json.decode(msgspec.json.encode(known(state_at(SystemDisk(), folder).state)))


def test_this_version_has_a_golden_journal() -> None:
    assert __version__ in VERSIONS


def test_every_version_is_read_from_its_journal_alone(golden: Path) -> None:
    assert scan(SystemDisk(), golden).verdict == "clean"
    for position in snapshot_positions(SystemDisk(), golden):
        (golden / f"snapshot-{position:015d}").unlink()
    assert found(golden) == expected(golden)


def test_every_version_is_read_from_its_snapshot_when_history_is_gone(golden: Path) -> None:
    """Then the snapshot is the truth, however old the version that wrote it."""
    (golden / "journal" / "00000001.log").unlink()
    assert scan(SystemDisk(), golden).verdict == "clean"
    assert found(golden) == expected(golden)


async def test_every_version_is_started_from_and_written_on(golden: Path) -> None:
    journal = await Journal.open(SystemDisk(), golden, SystemClock(), ThreadWork())
    assert msgspec.json.decode(msgspec.json.encode(known(journal.state))) == expected(golden)


def test_a_recording_of_today_agrees_with_itself(tmp_path: Path) -> None:
    """So that the next golden journal can be recorded at any time."""
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        record(folder, seed)
        assert found(folder) == expected(folder)
        whole = digest(state_at(SystemDisk(), folder).state)
        (position,) = snapshot_positions(SystemDisk(), folder)
        (folder / f"snapshot-{position:015d}").unlink()
        assert digest(state_at(SystemDisk(), folder).state) == whole


async def refused(folder: Path, words: str) -> None:
    before = files(folder)
    with pytest.raises(JournalRefused, match=words) as refusal:
        await Journal.open(SystemDisk(), folder, SystemClock(), ThreadWork())
    assert "start the version that wrote it" in refusal.value.hint
    assert files(folder) == before


async def test_a_later_format_of_segments_is_refused_untouched(golden: Path) -> None:
    last = max((golden / "journal").iterdir())
    block = bytearray(last.read_bytes())
    block[8] = 2
    last.write_bytes(bytes(block))
    await refused(golden, "written by a newer syncd")


async def test_an_event_that_only_a_later_version_knows_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    block = segment_header_bytes(SegmentHeader(1, 1, 0)) + frame_bytes(LATER % 1, 1, 0)[0]
    (tmp_path / "journal" / "00000001.log").write_bytes(block)
    await refused(tmp_path, "written by a newer syncd.*MoodChanged")


async def test_a_later_versions_snapshot_is_refused_untouched_when_history_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as later:
        later.setattr("syncd.journal.snapshot.__version__", "99.0")
        later.setattr("syncd.journal.snapshot.shape", lambda: "another")
        record(tmp_path / "state")
    assert found(tmp_path / "state") == expected(tmp_path / "state")  # from the whole journal
    (tmp_path / "state" / "journal" / "00000001.log").unlink()
    await refused(tmp_path / "state", r"its snapshot is from syncd 99\.0")
