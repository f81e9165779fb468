"""`im watch` and real processes: killed and restarted under it, and every event is printed once."""

import json
import signal
import subprocess
import time
from pathlib import Path

import httpx

from tests.crash.daemon_process import DaemonProcess
from tests.crash.installation import IM, started, stopped, until

DAY = {"severity": "SEV-2"}


def declare(daemon: DaemonProcess, title: str) -> None:
    answer = httpx.post(f"{daemon.url}/api/v1/incidents", json={"title": title, **DAY}, trust_env=False, timeout=10)
    assert answer.status_code == 201, answer.text


def titles(path: Path) -> list[str]:
    """Those of the declares that were printed, a line that is not complete left out."""
    lines = path.read_text("utf-8").split("\n")[:-1]
    return [json.loads(line)["data"]["title"] for line in lines if '"im.incident.declared"' in line]


def test_it_prints_everything_once_while_the_daemon_is_killed_and_restarted(tmp_path: Path) -> None:
    daemon, printed = DaemonProcess(tmp_path), tmp_path / "printed"
    started(daemon)
    declare(daemon, "before")
    words = [IM, "watch", "--since", "0", "--format", "json"]
    with printed.open("wb") as out, (tmp_path / "errors").open("wb") as errors:
        watching = subprocess.Popen(words, env=daemon.environ, stdin=subprocess.DEVNULL, stdout=out, stderr=errors)
    wanted = ["before"]
    try:
        until(lambda: titles(printed) == wanted, "the first event")
        for life in range(2):
            for number in range(5):
                declare(daemon, f"{life}.{number}")
                wanted.append(f"{life}.{number}")
            if life == 0:  # in the middle of what is being told
                assert daemon.process is not None
                daemon.process.kill()
                daemon.process.wait()
                started(daemon)
        until(lambda: titles(printed) == wanted, "everything, once")
        began_at = time.monotonic()
        assert stopped(daemon) == 0
        assert time.monotonic() - began_at < 3  # a stream does not use up the grace
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 130
    finally:
        watching.kill()
        watching.wait()
        if daemon.process is not None:
            daemon.process.kill()
            daemon.process.wait()
    assert titles(printed) == wanted
    assert "Traceback" not in (tmp_path / "errors").read_text()
    done = subprocess.run(words, env=daemon.environ, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (4, "")
