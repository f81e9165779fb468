"""`im integration sync-status` as people read it, once and again and again."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from syncd.edges.cli.render import cells, span
from tests.edges.cli.conftest import Run
from tests.edges.cli.fake_daemon import ANSWERS, Canned, FakeDaemon, Heard, by_contract, problem

LINE = ("integration", "sync-status", "prod-snow")
PATH = "/api/v1/integrations/prod-snow/sync-status"


class Enough(Exception):
    """Whoever watches has seen enough."""


def test_it_says_state_reasons_queue_and_times_in_words(im: Run, daemon: FakeDaemon) -> None:
    shown = im(*LINE, "--socket", daemon.address).out
    lines = shown.splitlines()
    assert lines[1:4] == [
        "state              degraded",
        "reasons            3 dead letters; see: im integration dlq prod-snow",
        "                   an incident \\u202ewith a title",
    ]
    words = " ".join(shown.split())
    assert "links 42: 40 active, 2 pending, 0 parked" in words
    assert (
        "7 changes, 1 under way, 2 tried in vain; the oldest for 2 min, looked for as it got no clear answer" in words
    )
    assert "all of it within about 1.4 s" in words
    assert "way to ServiceNow open" in words
    assert "last reconcile - next reconcile" in words
    assert "paced by our rate_limit" in words
    assert "9 accepted, 0 duplicates, 1 rejected; the last 3 s ago" in words
    assert "97% of 100 changes announced, counted since" in words
    assert "every 72 s instead of every 2.0 s: ServiceNow allows 100 requests an hour; the last 3 s ago" in words
    assert "platform to ServiceNow - - - 0" in words
    assert "ServiceNow to platform 0.4 s 2.0 s 3.2 s 9" in words
    assert "ServiceNow's answers 40 ms 0.2 s 31 s 12" in words
    assert "throttled: too many \\x1b[31mrequests (its hourly rule) -> ask for less" in words
    assert max(map(cells, lines)) <= 100


def test_what_a_newer_daemon_tells_beside_it_is_shown_as_well(im: Run, daemon: FakeDaemon) -> None:
    assert "later.figure       97" in im(*LINE, "--socket", daemon.address).out.splitlines()


def test_what_an_older_daemon_does_not_tell_is_left_out(im: Run, socket_path: Path) -> None:
    with FakeDaemon(lambda heard: Canned(body={"state": "healthy", "lag": {"inbound": None}}), socket_path) as daemon:
        outcome = im(*LINE, "--socket", daemon.address)
    assert outcome.code == 0
    assert "to be written      nothing" in outcome.out
    assert "reasons" not in outcome.out
    assert not [line for line in outcome.out.splitlines() if line.strip() == "-"]


@pytest.mark.parametrize(
    ("length_s", "said"),
    [(0.0004, "0.4 ms"), (0.05, "50 ms"), (2.54, "2.5 s"), (119.0, "119 s"), (600.0, "10 min"), (9e5, "10 d")],
)
def test_a_length_of_time_is_said_as_exactly_as_anybody_wants_it(length_s: float, said: str) -> None:
    assert span(length_s) == said


def test_watching_goes_on_every_two_seconds_and_through_a_restart_of_the_daemon(im: Run, socket_path: Path) -> None:
    looks, slept = 0, list[float]()

    def answer(heard: Heard) -> Canned:
        nonlocal looks
        looks += 1
        return problem(503, "replaying the journal") if looks == 2 else by_contract(heard)

    def sleep(length_s: float) -> None:
        slept.append(length_s)
        if len(slept) == 4:
            raise Enough

    with FakeDaemon(answer, socket_path) as daemon, pytest.raises(Enough):
        im(*LINE, "--watch", "--format", "json", "--socket", daemon.address, sleep_s=sleep)
    assert slept == [2.0] * 4
    assert looks == 4


def test_watching_ends_when_the_integration_is_gone(im: Run, socket_path: Path) -> None:
    answers = iter([ANSWERS["GET", PATH]])
    with FakeDaemon(
        lambda heard: next(answers, None) or problem(404, "no integration prod-snow"), socket_path
    ) as daemon:
        outcome = im(*LINE, "--watch", "--format", "json", "--socket", daemon.address)
    assert outcome.code == 1
    (line,) = outcome.out.splitlines()
    assert json.loads(line) == ANSWERS["GET", PATH].body


def test_ctrl_c_ends_the_watching_without_a_word(daemon: FakeDaemon) -> None:
    words = [sys.executable, "-m", "syncd.edges.cli", *LINE, "--watch", "--format", "json", "--socket", daemon.address]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["state"] == "degraded"
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=10)
    assert (process.returncode, rest, errors) == (130, b"", b"")
