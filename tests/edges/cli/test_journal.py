"""`im journal` on real files, with no daemon anywhere."""

import json
from pathlib import Path

import pytest

from syncd.core.events import DaemonBorn, Event, IncidentDeclared, Record, Source
from syncd.edges.cli.render import cells
from syncd.journal.codec import SegmentHeader, encode_record, frame_bytes, segment_header_bytes
from tests.edges.cli.conftest import Outcome, Run

AT_S = 1_795_511_643.5  # 3 s before the tests' now


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder whose journal has five records."""
    chain, blocks = 0, [segment_header_bytes(SegmentHeader(1, 1, 0))]
    for position in range(1, 6):
        event: Event = IncidentDeclared(incident_id=f"INC-{position}", title="A \x1b[2J title", severity="SEV-2")
        if position == 1:
            event = DaemonBorn("j1")
        source = Source("token-7", "10.0.0.9") if position == 5 else None
        record = Record(position, "default", AT_S, "ana\u202e", "t", (event,), source)
        frame, chain = frame_bytes(encode_record(record), position, chain)
        blocks.append(frame)
    (tmp_path / "journal").mkdir()
    segment(tmp_path).write_bytes(b"".join(blocks))
    return tmp_path


def segment(state: Path) -> Path:
    return state / "journal" / "00000001.log"


def journal(im: Run, state: Path, *argv: str) -> Outcome:
    return im("journal", *argv, environ={"INCIDENTS_STATE_DIR": str(state)})


def test_info_says_what_is_there(im: Run, state: Path) -> None:
    outcome = journal(im, state, "info", "--format", "json")
    report = json.loads(outcome.out)
    assert (outcome.code, report["verdict"], report["records"], report["last_position"]) == (0, "clean", 5, 5)
    assert report["last_at"] == "2026-11-24T09:14:03.500000Z"
    assert report["state_dir"] == str(state)
    assert "2026-11-24 09:14:03Z (3 s ago)" in journal(im, state, "info").out


def test_verify_passes_a_whole_journal(im: Run, state: Path) -> None:
    outcome = journal(im, state, "verify")
    assert outcome.code == 0
    assert outcome.out == f"whole: 5 records in 1 segments, {segment(state).stat().st_size} bytes, positions 1 to 5\n"


def test_a_torn_tail_is_reported_and_no_error(im: Run, state: Path) -> None:
    block = segment(state).read_bytes()
    segment(state).write_bytes(block + bytes(7))
    outcome = journal(im, state, "verify")
    assert (outcome.code, outcome.out.startswith("torn: ")) == (0, True)
    assert segment(state).read_bytes() == block + bytes(7)  # looking changes nothing


def test_damage_is_1_and_names_the_place(im: Run, state: Path) -> None:
    block = bytearray(segment(state).read_bytes())
    block[len(block) // 2] ^= 1
    segment(state).write_bytes(block)
    verified, shown, listed = (journal(im, state, *words) for words in (["verify"], ["info"], ["tail"]))
    assert (verified.code, shown.code, listed.code) == (1, 1, 1)
    assert verified.out.startswith(f"refused: {segment(state)} is damaged: at byte ")
    assert listed.err.startswith(f"im: {segment(state)} is damaged")


def test_tail_shows_the_last_records(im: Run, state: Path) -> None:
    outcome = journal(im, state, "tail", "-n", "2")
    head, first, last = outcome.out.splitlines()
    assert head.split() == ["POSITION", "TIME", "BY", "FROM", "EVENTS"]
    assert first.split()[-4:] == ["ana\\u202e", "-", "IncidentDeclared", "INC-4"]
    assert last.startswith("5         2026-11-24 09:14:03Z (3 s ago)")
    assert last.split()[-5:] == ["ana\\u202e", "token-7", "10.0.0.9", "IncidentDeclared", "INC-5"]
    assert max(map(cells, outcome.out.splitlines())) <= 100
    exact = json.loads(journal(im, state, "tail", "-n", "2", "--format", "json").out)
    assert [each["position"] for each in exact] == [4, 5]
    assert exact[0]["events"][0]["title"] == "A \x1b[2J title"


def test_show_prints_one_record_and_nothing_a_terminal_obeys(im: Run, state: Path) -> None:
    outcome = journal(im, state, "show", "3")
    assert "events[0].title" in outcome.out
    assert "A \\x1b[2J title" in outcome.out
    assert json.loads(journal(im, state, "show", "3", "--format", "json").out)["position"] == 3
    assert "source.address         10.0.0.9" in journal(im, state, "show", "5").out


def test_a_position_that_is_not_there_is_1(im: Run, state: Path) -> None:
    for position in ("0", "6", "999"):
        outcome = journal(im, state, "show", position)
        assert (outcome.code, outcome.out) == (1, "")
        assert f"no record {position}" in outcome.err


def test_the_journal_of_another_machine_is_not_mistaken_for_the_one_here(im: Run, state: Path) -> None:
    for command in ("info", "verify", "tail"):
        outcome = journal(im, state, command, "--server", "https://sync.example.org")
        assert (outcome.code, outcome.out) == (2, "")
        assert "run it where the daemon runs" in outcome.err


def test_a_folder_without_a_journal_is_said_to_have_none(im: Run, tmp_path: Path) -> None:
    outcome = im("journal", "verify", "--state-dir", str(tmp_path / "elsewhere"))
    assert outcome.code == 1
    assert outcome.err.startswith(f"im: there is no journal in {tmp_path / 'elsewhere'} - name the state folder")


def test_the_folder_is_where_the_daemon_would_look(im: Run, state: Path, tmp_path: Path) -> None:
    (tmp_path / "syncd").symlink_to(state, target_is_directory=True)
    assert im("journal", "verify", environ={"XDG_STATE_HOME": str(tmp_path)}).code == 0
    (tmp_path / "bad.toml").write_text("no_such_key = 1\n", encoding="utf-8")
    outcome = im("journal", "verify", environ={"INCIDENTS_CONFIG": str(tmp_path / "bad.toml")})
    assert outcome.code == 2
    assert "no_such_key" in outcome.err
