import json
from pathlib import Path

from syncd.edges.cli.render import cells
from tests.edges.cli.conftest import Run
from tests.edges.cli.fake_daemon import Canned, FakeDaemon, Heard, by_contract, problem


def test_a_daemon_that_is_not_ready_is_1(im: Run, socket_path: Path) -> None:
    def answers(heard: Heard) -> Canned:
        return Canned(body={"status": "healthy"}) if heard.path == "/health" else problem(503, "replaying the journal")

    with FakeDaemon(answers, socket_path) as daemon:
        shown = im("status", "--socket", daemon.address)
        exact = im("status", "--format", "json", "--socket", daemon.address)
    assert (shown.code, exact.code) == (1, 1)
    assert shown.out.startswith("ready             no\n")
    assert "replaying the journal" in shown.out
    assert json.loads(exact.out)["ready"] is False


def test_no_json_is_no_verdict(im: Run, socket_path: Path) -> None:
    with FakeDaemon(lambda heard: Canned(502, b"<html>"), socket_path) as daemon:
        outcome = im("status", "--socket", daemon.address)
    assert outcome.code == 1
    assert "HTTP 502 Said So" in outcome.out


def test_no_daemon_is_4(im: Run, socket_path: Path) -> None:
    assert im("status", "--socket", str(socket_path)).code == 4


def test_a_daemon_that_runs_shows_its_journal_and_a_line_for_each_integration(im: Run, daemon: FakeDaemon) -> None:
    outcome = im("status", "--socket", daemon.address)
    words = " ".join(outcome.out.split())
    assert outcome.code == 0
    assert outcome.out.startswith("ready           yes\n")
    assert "position 4711, 71.2 MB in 2 files" in words
    assert "ok; a write takes 0.4 ms, one of a hundred 20 ms or more" in words
    assert "prod-snow degraded 42 7 3 dead letters; see" in words
    assert max(map(cells, outcome.out.splitlines())) <= 100


def test_a_daemon_that_is_not_ready_shows_what_it_knows(im: Run, socket_path: Path) -> None:
    def answers(heard: Heard) -> Canned:
        return problem(503, "the disk of the state folder is full") if heard.path == "/ready" else by_contract(heard)

    with FakeDaemon(answers, socket_path) as daemon:
        outcome = im("status", "--socket", daemon.address)
    assert outcome.code == 1
    assert "the disk of the state folder is full" in outcome.out
    assert "4711" in outcome.out
