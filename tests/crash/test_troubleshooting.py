"""docs/operations.md, the troubles that show on neither side: its command lines are run, and tell what they promise."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.crash.installation import ACCOUNT, IM, Installation, until

PAGE: Final = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
SECRET: Final = "a-webhook-secret-of-the-test"


def lines_of(heading: str) -> list[str]:
    """The command lines of a section, up to the next one of the same depth."""
    depth = next(
        line.split()[0] for line in PAGE.splitlines() if line.lstrip("#").strip() == heading and line[0] == "#"
    )
    text = PAGE.split(f"\n{depth} {heading}\n")[1]
    text = re.split(rf"^#{{1,{len(depth)}}} ", text, flags=re.MULTILINE)[0]
    return re.findall(r"^ {4,7}(\S.*)$", text, re.MULTILINE)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    one = Installation(tmp_path_factory.mktemp("installation"))
    one.daemon.environ |= {"INCIDENTS_AUTH": "none", "INCIDENTS_LOG_LEVEL": "debug", "INCIDENTS_SYNC_TRACE": "true"}
    try:
        one.start()
        (one.folder / "password").write_text(ACCOUNT[1])
        (one.folder / "hook").write_text(SECRET)
        one.im(
            *("integration", "configure", "prod-snow", "--name", "Prod", "--base-url", one.simulator_url),
            *("--username", ACCOUNT[0], "--password-file", str(one.folder / "password")),
            *("--webhook-secret-file", str(one.folder / "hook")),
        )
        yield one
    finally:
        one.stop()


def run(installation: Installation, line: str, **names: str) -> str:
    """A command line in a shell that knows ``names``, with the address of our daemon in its place."""
    line = re.sub(r"\bI\b", "prod-snow", line.replace("https://syncd.example.com", installation.daemon.url))
    environ = installation.im.environ | names | {"PATH": f"{Path(IM).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", line], env=environ, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, (line, done)
    return done.stdout


def test_webhooks_that_do_not_come_are_found_step_by_step(installation: Installation) -> None:
    lines = lines_of("Changes from ServiceNow do not arrive")
    alive, unsigned, signed, script, secret, heal = (
        next(line for line in lines if words in line)
        for words in ("/health", "-d '{}'", "openssl", "webhook-script", "rotate-secret", "reconcile")
    )
    assert "healthy" in run(installation, alive)
    assert run(installation, unsigned).endswith("401\n")
    assert run(installation, signed, SECRET=SECRET).endswith("202\n")
    assert run(installation, signed, SECRET="another").endswith("401\n")
    status = installation.im.one("integration", "sync-status", "prod-snow")["webhooks"]
    assert isinstance(status, dict)
    assert (status["accepted"], status["rejected"]) == (1, 2)
    assert "(function" in run(installation, script)
    assert "webhook" in run(installation, secret)
    assert run(installation, heal)


def test_one_change_is_followed_through_the_debug_log(installation: Installation) -> None:
    incident_id = str(installation.im.one("declare", "--title", "Checkout is down", "--sev", "2")["id"])
    until(lambda: f"{incident_id}" in installation.daemon.log() and installation.rows(), "it is delivered")
    follow = next(line for line in lines_of("Debug logging") if "grep" in line)
    trace = re.findall(
        rf"incident declared trace=(\w+) incident={incident_id}", (installation.folder / "daemon.log").read_text()
    )
    until(lambda: "delivered" in (installation.folder / "daemon.log").read_text(), "it says so")
    told = run(
        installation, follow.replace("journalctl -u syncd", f"cat {installation.folder / 'daemon.log'}"), TRACE=trace[0]
    )
    for words in ("method=POST path=/api/v1/incidents", "incident declared", "request", "delivered"):
        assert words in told, told
