import json
from pathlib import Path

from tests.edges.cli.conftest import Run
from tests.edges.cli.fake_daemon import Canned, FakeDaemon, Heard, problem


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
