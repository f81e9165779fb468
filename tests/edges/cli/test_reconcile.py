import json
from pathlib import Path

import pytest

from tests.edges.cli.conftest import Run
from tests.edges.cli.fake_daemon import Canned, FakeDaemon, run_of

LINE = ["integration", "reconcile", "prod-snow"]


@pytest.mark.parametrize(
    ("checked", "observed", "said"),
    [
        (42, 3, "run-17 finished: 42 links checked, 3 had something new"),
        (1, 1, "run-17 finished: 1 link checked, 1 had something new"),
        (0, 0, "run-17 finished: 0 links checked, none had something new"),
    ],
)
def test_the_report_says_what_was_checked_and_what_was_new(
    im: Run, socket_path: Path, checked: int, observed: int, said: str
) -> None:
    with FakeDaemon(lambda heard: Canned(body=run_of(checked=checked, observed=observed)), socket_path) as daemon:
        outcome = im(*LINE, "--auto-heal", "--socket", daemon.address)
    assert (outcome.code, outcome.out) == (0, said + "\n")


def test_json_is_the_run_as_the_daemon_tells_it(im: Run, daemon: FakeDaemon) -> None:
    shown = json.loads(im(*LINE, "--auto-heal", "--format", "json", "--socket", daemon.address).out)
    assert (shown["checked"], shown["observed"], shown["drifts"]) == (42, 0, [])


@pytest.mark.parametrize("status", ["stopped", "interrupted", "running"])
def test_a_run_that_did_not_finish_is_1(im: Run, socket_path: Path, status: str) -> None:
    with FakeDaemon(lambda heard: Canned(body=run_of(status=status)), socket_path) as daemon:
        assert im(*LINE, "--auto-heal", "--socket", daemon.address).code == 1


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ([], "reconcile without --auto-heal"),
        (["--dry-run"], "--dry-run"),
        (["--dry-run", "--auto-heal"], "--dry-run"),
        (["--auto-heal", "--force"], "--force"),
    ],
)
def test_runs_that_only_report_are_refused_by_name_in_the_words_of_the_shell(
    im: Run, daemon: FakeDaemon, flags: list[str], named: str
) -> None:
    outcome = im(*LINE, *flags, "--socket", daemon.address)
    assert (outcome.code, outcome.out, daemon.heard) == (1, "", [])
    assert f"{named} is not in this version of syncd" in outcome.err
    assert "im integration reconcile prod-snow --auto-heal" in outcome.err
    assert outcome.err.count("\n") == 1


def test_the_help_shows_what_works_and_nothing_else(im: Run) -> None:
    shown = im("integration", "reconcile", "--help").out
    assert "Example: im integration reconcile prod-snow --auto-heal" in " ".join(shown.split())
    for word in ("--dry-run", "--force", "Exit code 3"):
        assert word not in shown
