"""Reconcile runs and real processes: SIGKILL in the middle of one, and Ctrl-C on the command that waits for it."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.installation import ACCOUNT, IM, Installation, started, until

LINKS = 3


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """A few pairs that differ, since a script has edited the records, on an instance that has become slow."""
    one = Installation(tmp_path)
    try:
        one.start()
        im = one.im
        (tmp_path / "password").write_text(ACCOUNT[1])
        words = ["--name", "Prod", "--base-url", one.simulator_url, "--username", ACCOUNT[0]]
        im("integration", "configure", "prod", *words, "--password-file", str(tmp_path / "password"))
        for number in range(LINKS):
            im("declare", "--title", f"incident {number}", "--sev", "3")
        until(lambda: [row["state"] for row in im.many("integration", "links", "prod")] == ["active"] * LINKS, "links")
        for row in one.rows():
            body = {"fields": {"description": "by script"}, "rules": False, "stamps": False}
            one.control("POST", f"/incidents/{row['sys_id']}/edit", body)
        one.control("POST", "/faults", {"name": "slow", "value": "1"})
        yield one
    finally:
        one.stop()


def healing(one: Installation) -> subprocess.Popen[str]:
    """`im integration reconcile --auto-heal`, once its run is on record."""
    words = [IM, "integration", "reconcile", "prod", "--auto-heal", "--format", "json"]
    process = subprocess.Popen(
        words,
        env=one.im.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: one.im.many("integration", "reconcile", "history", "prod"), "the run is on record")
    return process


def statuses(one: Installation) -> list[object]:
    """The runs, the newest first."""
    return [run["status"] for run in one.im.many("integration", "reconcile", "history", "prod")]


def descriptions(one: Installation) -> set[object]:
    return {incident["description"] for incident in one.im.many("incident", "list")}


def test_a_run_that_was_killed_is_interrupted_and_the_next_one_finishes_the_job(installation: Installation) -> None:
    process = healing(installation)
    assert statuses(installation) == ["running"]
    assert installation.daemon.process is not None
    installation.daemon.process.kill()
    installation.daemon.process.wait()
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in errors) == (4, False)
    installation.control("DELETE", "/faults")
    started(installation.daemon)
    assert statuses(installation) == ["interrupted"]
    done = installation.im.one("integration", "reconcile", "prod", "--auto-heal")
    assert done["status"] == "finished"
    until(lambda: descriptions(installation) == {"by script"}, "everything is healed")
    again = installation.im.one("integration", "reconcile", "prod", "--auto-heal")
    assert (again["found"], statuses(installation)) == (0, ["finished", "finished", "interrupted"])


def test_ctrl_c_stops_the_run_and_prints_what_it_had_found(installation: Installation) -> None:
    process = healing(installation)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "")
    shown = json.loads(out)
    assert (shown["status"], shown["reason"].startswith("stopped by ")) == ("stopped", True)
    assert statuses(installation) == ["stopped"]
    installation.control("DELETE", "/faults")
    healed = installation.im.one("integration", "reconcile", "prod", "--auto-heal")
    assert (healed["status"], healed["causes"]) == ("finished", {"missed-webhook": LINKS})
