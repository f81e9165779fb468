"""`im status` says how the daemon ended before: stopped, killed, or refused to start."""

from pathlib import Path
from typing import cast

from tests.crash.daemon_process import DaemonProcess
from tests.crash.installation import Im, started, stopped


def test_im_status_tells_how_the_daemon_last_ended(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path)
    im = Im(daemon.environ)

    def told() -> tuple[object, object] | None:
        end = cast("dict[str, dict[str, object] | None]", im.one("status")["daemon"])["last_end"]
        return None if end is None else (end["code"], end["reason"])

    started(daemon)
    assert told() is None  # the first run
    assert stopped(daemon) == 0
    started(daemon)
    assert told() == (0, "clean stop")
    assert daemon.process is not None
    daemon.process.kill()
    daemon.process.wait(5)
    started(daemon)
    code, reason = told() or ("", "")
    assert code is None
    assert "killed" in str(reason)
    assert "killed" in im("status")
    second = daemon.spawn()  # finds the folder taken, and leaves what is on record to the one that runs
    assert second.wait(20) == 75
    assert stopped(daemon) == 0

    (segment,) = (tmp_path / "state" / "journal").iterdir()
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-20] + b"?" + whole[-19:])
    assert daemon.spawn().wait(20) == 78
    segment.write_bytes(whole)
    started(daemon)
    code, reason = told() or ("", "")
    assert code == 78
    assert segment.name in str(reason)
    assert "exit code 78" in im("status")
    assert stopped(daemon) == 0
