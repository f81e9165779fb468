import json
from pathlib import Path

import pytest

from syncd.edges.cli.client import Json
from syncd.edges.cli.render import cells
from tests.edges.cli.conftest import Run
from tests.edges.cli.fake_daemon import Canned, FakeDaemon, Heard

LINE = ["integration", "import", "prod-snow", "--query", "active=true"]
PATH = "/api/v1/integrations/prod-snow/import"


def run_of(**told: Json) -> dict[str, Json]:
    """An import."""
    usual: dict[str, Json] = {
        "id": "import-17",
        "integration_id": "int_1",
        "query": "active=true",
        "dry_run": False,
        "status": "finished",
        "reason": "",
        "total": 42,
        "checked": 42,
        "counts": {"imported": 40, "linked": 1, "unlinked": 1, "ours": 0},
        "left": [{"external_id": "a" * 32, "external_number": "INC0010023", "why": "a person unlinked it"}],
        "rate": 20.0,
        "remaining_s": 0.0,
    }
    return {**usual, **told}


class Daemon:
    """Begins an import, shows it halfway, and then as it ended."""

    def __init__(self, **ended: Json) -> None:
        self._ended = run_of(**ended)
        self._looks = 0

    def __call__(self, heard: Heard) -> Canned:
        """Answer one request."""
        if heard.method == "POST":
            return Canned(202, run_of(status="running", checked=0, total=None, rate=None))
        self._looks += 1
        return Canned(body=run_of(status="running", checked=21) if self._looks == 1 else self._ended)


def test_it_is_followed_to_its_end_and_says_what_came_of_the_records(im: Run, socket_path: Path) -> None:
    with FakeDaemon(Daemon(), socket_path) as daemon:
        outcome = im(*LINE, "--socket", daemon.address)
    assert [(one.method, one.path) for one in daemon.heard] == [("POST", PATH), ("GET", PATH), ("GET", PATH)]
    assert daemon.heard[0].body == {"query": "active=true", "dry_run": False}
    assert outcome.code == 0
    assert "INC0010023" in outcome.out
    words = "42 records looked at, 40 imported, 1 linked already, 1 left, unlinked by a person"
    assert " ".join(outcome.out.split()).endswith(f"a person unlinked it import-17 finished: {words}")
    assert max(map(cells, outcome.out.splitlines())) <= 100


@pytest.mark.parametrize("status", ["stopped"])
def test_one_that_was_stopped_is_1_and_says_why(im: Run, socket_path: Path, status: str) -> None:
    with FakeDaemon(Daemon(status=status, reason="it ignores a part of the query"), socket_path) as daemon:
        outcome = im(*LINE, "--socket", daemon.address)
    assert outcome.code == 1
    assert "reason: it ignores a part of the query" in outcome.out


def test_a_dry_run_says_what_would_come_in(im: Run, socket_path: Path) -> None:
    with FakeDaemon(lambda heard: Canned(body=run_of(dry_run=True, left=[])), socket_path) as daemon:
        outcome = im(*LINE, "--dry-run", "--socket", daemon.address)
    assert daemon.heard[0].body == {"query": "active=true", "dry_run": True}
    assert "40 would be imported" in outcome.out


def test_a_dry_run_names_the_first_records_that_would_come_in(im: Run, socket_path: Path) -> None:
    coming: list[Json] = [
        {
            "external_id": f"{number:032x}",
            "external_number": f"INC00100{number:02}",
            "incident_id": None if number else "INC-1",
            "title": "The mail is slow\x1b[31m, and has been for as long as anybody can remember",
            "severity": "SEV-3",
            "status": "mitigated",
        }
        for number in range(20)
    ]
    told = run_of(dry_run=True, left=[], coming=coming)
    with FakeDaemon(lambda heard: Canned(body=told), socket_path) as daemon:
        shown = im(*LINE, "--dry-run", "--socket", daemon.address)
    lines = shown.out.splitlines()
    assert lines[1].split()[:4] == ["INC0010000", "INC-1", "SEV-3", "mitigated"]
    assert lines[20].split()[:2] == ["INC0010019", "new"]
    assert lines[21] == "… and 20 more"
    assert "\x1b" not in shown.out
    assert max(map(cells, lines)) <= 100


def test_json_is_the_import_as_the_daemon_tells_it(im: Run, socket_path: Path) -> None:
    with FakeDaemon(Daemon(), socket_path) as daemon:
        shown = json.loads(im(*LINE, "--format", "json", "--socket", daemon.address).out)
    assert (shown["checked"], shown["left"][0]["external_number"]) == (42, "INC0010023")


def test_one_that_does_not_get_on_says_so_once_and_goes_on(im: Run, socket_path: Path) -> None:
    looks = iter([run_of(status="running", checked=7)] * 50 + [run_of()])

    def answers(heard: Heard) -> Canned:
        return Canned(202, run_of(status="running", checked=0)) if heard.method == "POST" else Canned(body=next(looks))

    with FakeDaemon(answers, socket_path) as daemon:
        outcome = im(*LINE, "--socket", daemon.address)
    assert outcome.code == 0
    assert outcome.err == "im: no record for 10 s; why: im integration sync-status prod-snow\n"


def test_ctrl_c_stops_it(im: Run, socket_path: Path) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    def answer(heard: Heard) -> Canned:
        if heard.path == f"{PATH}/stop":
            return Canned(body=run_of(status="stopped", reason="stopped by ana", checked=21))
        return Canned(202, run_of(status="running"))

    with FakeDaemon(answer, socket_path) as daemon:
        outcome = im(*LINE, "--socket", daemon.address, sleep_s=interrupted)
    assert outcome.code == 130
    assert "reason: stopped by ana" in outcome.out
