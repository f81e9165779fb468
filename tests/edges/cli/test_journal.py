"""`im journal` on real files, with no daemon anywhere."""

import fcntl
import json
import socket
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
    assert outcome.out == f"whole: 5 records in 1 segment, {segment(state).stat().st_size} bytes, positions 1 to 5\n"


def test_a_torn_tail_is_reported_and_no_error(im: Run, state: Path) -> None:
    block = segment(state).read_bytes()
    segment(state).write_bytes(block + bytes(7))
    outcome = journal(im, state, "verify")
    assert (outcome.code, outcome.out.startswith("torn: ")) == (0, True)
    assert segment(state).read_bytes() == block + bytes(7)  # looking changes nothing


def test_damage_that_no_start_meets_is_told_apart_and_is_1(im: Run, state: Path) -> None:
    (state / "snapshot-000000000000003").write_bytes(b"not a snapshot")
    verified, shown, repaired = (journal(im, state, *words) for words in (["verify"], ["info"], ["repair", "--yes"]))
    assert (verified.code, shown.code, repaired.code) == (1, 0, 0)
    assert verified.out.startswith("a daemon starts with it: 5 records")
    assert (
        f"damaged, and not needed for a start: {state}/snapshot-000000000000003 is damaged: at byte 0" in verified.out
    )
    assert journal(im, state, "verify").code == 0


def test_damage_is_1_and_names_the_place(im: Run, state: Path) -> None:
    block = bytearray(segment(state).read_bytes())
    block[len(block) // 2] ^= 1
    segment(state).write_bytes(block)
    verified, shown, listed = (journal(im, state, *words) for words in (["verify"], ["info"], ["tail"]))
    assert (verified.code, shown.code, listed.code) == (1, 1, 1)
    assert verified.out.startswith(f"refused: {segment(state)} is damaged: at byte ")
    assert "before that" not in verified.out  # some of the damaged file is whole, and not counted
    assert "whole beside it: 0 records in 0 segments, 0 bytes; `im journal repair` shows what can be" in verified.out
    assert listed.err.startswith(f"im: {segment(state)} is damaged")


def test_tail_shows_the_last_records(im: Run, state: Path) -> None:
    outcome = journal(im, state, "tail", "-n", "2")
    head, first, last = outcome.out.splitlines()
    assert head.split() == ["POSITION", "TIME", "BY", "FROM", "EVENTS"]
    assert first.split()[-4:] == ["ana\\u202e", "-", "IncidentDeclared", "INC-4"]
    assert last.startswith("5         2026-11-24 09:14:03Z  ana")
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


def test_a_reader_who_has_seen_enough_is_no_fault_of_the_journal(
    im: Run, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seen_enough(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", seen_enough)
    for words in (["replay"], ["repair"]):
        with pytest.raises(BrokenPipeError):  # ``main`` ends quietly on it
            journal(im, state, *words)


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


def test_replay_shows_everything_as_it_was(im: Run, state: Path) -> None:
    now = json.loads(journal(im, state, "replay", "--format", "json").out)
    assert (now["position"], now["snapshot"], now["incidents"]) == (5, 0, {"open": 4})
    then = json.loads(journal(im, state, "replay", "--until", "3", "--format", "json").out)
    assert (then["position"], then["incidents"], then["integrations"]) == (3, {"open": 2}, [])
    assert len({now["state_digest"], then["state_digest"]}) == 2
    assert "incidents.open  4" in journal(im, state, "replay").out


def test_replay_shows_one_incident_with_what_led_to_it(im: Run, state: Path) -> None:
    shown = json.loads(journal(im, state, "replay", "--incident", "INC-3", "--format", "json").out)
    assert (shown["incident"]["id"], shown["incident"]["severity"], shown["kept_from"]) == ("INC-3", "SEV-2", None)
    assert [event["type"] for event in shown["timeline"]] == ["im.incident.declared"]
    assert shown["explanation"]["incident_id"] == "INC-3"
    card = journal(im, state, "replay", "--incident", "INC-3").out
    assert "\x1b" not in card
    assert "im.incident.declared" in card
    assert "no integration has a record for it" in card
    assert "explanation" not in card


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["--until", "0"], 2, "--until 0 is no position"),
        (["--until", "9"], 1, "position 9 lies in the future; the newest is 5"),
        (["--incident", "INC-404"], 1, "INC-404"),
        (["--until", "2", "--incident", "INC-3"], 1, "INC-3"),
    ],
)
def test_a_past_that_there_is_not_is_refused(im: Run, state: Path, argv: list[str], code: int, words: str) -> None:
    outcome = journal(im, state, "replay", *argv)
    assert (outcome.code, words in outcome.err) == (code, True), outcome.err


def test_replay_opens_no_socket(im: Run, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a replay opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    assert journal(im, state, "replay").code == 0
    assert journal(im, state, "replay", "--incident", "INC-3").code == 0


def test_repair_shows_its_price_and_does_it_when_told_to(im: Run, state: Path) -> None:
    outcome = journal(im, state, "repair")
    assert (outcome.code, outcome.out) == (0, "there is nothing to repair: a daemon starts with this journal\n")
    block = bytearray(segment(state).read_bytes())
    block[block.index(b"INC-4") + 1] ^= 1
    segment(state).write_bytes(bytes(block))
    shown = journal(im, state, "repair")
    assert shown.code == 1
    assert "kept: everything that is known up to position 3" in shown.out
    assert "lost: positions 4 to 5" in shown.out
    assert "speak of: INC-5" in shown.out or "INC-5" in shown.out
    assert "nothing was changed" in shown.out
    assert segment(state).read_bytes() == bytes(block)
    done = json.loads(journal(im, state, "repair", "--yes", "--format", "json").out)
    assert (done["verdict"], done["kept_until"], done["lost_until"]) == ("repaired", 3, 5)
    assert (Path(done["copies"]) / "00000001.log").read_bytes() == bytes(block)
    assert json.loads((Path(done["copies"]) / "report.json").read_bytes())["lost_incidents"]
    assert journal(im, state, "verify").code == 0
    assert json.loads(journal(im, state, "replay", "--format", "json").out)["position"] == 3


def test_repair_is_refused_while_a_daemon_holds_the_journal(im: Run, state: Path) -> None:
    with (state / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        outcome = journal(im, state, "repair", "--yes")
    assert outcome.code == 1
    assert "held by another syncd" in outcome.err
    assert "stop the daemon first" in outcome.err


def test_repair_of_what_cannot_be_repaired_says_so(im: Run, state: Path) -> None:
    segment(state).rename(state / "journal" / "00000002.log")
    outcome = journal(im, state, "repair")
    assert outcome.code == 1
    assert "can be kept" in outcome.err
    assert "restore a backup" in outcome.err
