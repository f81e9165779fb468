"""The daemon as a process: how it starts, refuses and stops, and `im` from end to end against a real simulator."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.crash.daemon_process import DaemonProcess, free_port
from tests.crash.installation import ACCOUNT, Im, Installation, is_up, started, stopped, until


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    one = Installation(tmp_path_factory.mktemp("installation"))
    try:
        one.start()
        yield one
    finally:
        one.stop()


@pytest.fixture(scope="module")
def linked(installation: Installation) -> tuple[str, str]:
    """An integration with webhooks, and an incident with its record; returns (incident id, sys_id)."""
    im = installation.im
    password_file = installation.folder / "password"
    password_file.write_text(ACCOUNT[1])
    made = im.one(
        *("integration", "configure", "prod-snow", "--name", "Production ServiceNow", "--type", "servicenow"),
        *("--base-url", installation.simulator_url, "--direction", "bidirectional", "--username", ACCOUNT[0]),
        *("--password-file", str(password_file), "--webhook-secret", "a-webhook-secret-of-the-test"),
        *("--external-defaults", '{"close_code": "Solution provided", "close_notes": "done"}'),
    )
    hook = f"{installation.daemon.url}/api/v1/webhooks/{made['id']}"
    installation.control("POST", "/webhook", {"url": hook, "secret": "a-webhook-secret-of-the-test"})
    incident_id = str(im.one("declare", "--title", "Checkout is down", "--sev", "2", "--service", "shop")["id"])
    rows = until(installation.rows, "the record is made")
    until(lambda: im.many("integration", "links", "prod-snow")[0]["state"] == "active", "the link is active")
    return incident_id, rows[0]["sys_id"]


# `im` from end to end


def test_an_incident_is_declared_listed_and_shown(installation: Installation, linked: tuple[str, str]) -> None:
    im, (incident_id, _) = installation.im, linked
    row = installation.rows()[0]
    assert (row["short_description"], row["priority"]) == ("Checkout is down", "2")
    assert incident_id in im("incident", "list", "--status", "open")
    card = im("incident", "show", incident_id)
    assert row["number"] in card
    assert "Checkout is down" in card


def test_both_sides_follow_each_other(installation: Installation, linked: tuple[str, str]) -> None:
    im, (incident_id, sys_id) = installation.im, linked
    updated = im.one("incident", "update", incident_id, "--severity", "SEV-1", "--if-match", "1")
    assert updated["severity"] == "SEV-1"
    until(lambda: installation.rows()[0]["priority"] == "1", "the priority arrives")
    installation.control("POST", f"/incidents/{sys_id}/edit", {"fields": {"short_description": "All of it is down"}})
    until(lambda: "All of it is down" in im("incident", "show", incident_id), "the title arrives by webhook")
    assert "If-Match" in im("incident", "update", incident_id, "--title", "x", "--if-match", "1", code=1)


def test_notes_resolution_closing_and_the_timeline(installation: Installation, linked: tuple[str, str]) -> None:
    im, (incident_id, _) = installation.im, linked
    assert "added" in im("incident", "note", incident_id, "failed over")
    assert "failed over" in im("incident", "notes", incident_id)
    assert im.one("incident", "resolve", incident_id, "--notes", "rolled back")["status"] == "resolved"
    until(lambda: installation.rows()[0]["state"] == "6", "the state arrives")
    assert installation.rows()[0]["close_notes"] == "rolled back"
    assert im.one("incident", "close", incident_id)["status"] == "closed"
    until(lambda: installation.rows()[0]["state"] == "7", "the record is closed")
    kinds = [str(event["type"]) for event in im.many("incident", "timeline", incident_id)]
    assert any(kind.startswith("im.incident.") for kind in kinds)
    assert any(kind.startswith("im.sync.") for kind in kinds)


def test_the_commands_of_an_integration(installation: Installation, linked: tuple[str, str]) -> None:
    im, (incident_id, _) = installation.im, linked
    assert "prod-snow" in im("integration", "list")
    shown = im("integration", "get", "prod-snow", "--format", "json")
    assert ACCOUNT[1] not in shown
    assert json.loads(shown)["name"] == "Production ServiceNow"
    assert im.many("integration", "links", "prod-snow")[0]["incident_id"] == incident_id
    assert im.one("integration", "sync-status", "prod-snow")["state"] == "healthy"
    assert f"{installation.daemon.url}/api/v1/webhooks/" in im("integration", "webhook-script", "prod-snow")
    run = im.one("integration", "reconcile", "prod-snow", "--auto-heal")
    assert (run["status"], run["checked"]) == ("finished", 1)
    assert im.many("integration", "dlq", "prod-snow") == []
    assert im.many("conflict", "list", "--status", "all") == []
    rotated = im.one("integration", "rotate-secret", "prod-snow", "--grace", "1h")
    assert rotated["webhook_secret"]
    changed = im.one("integration", "configure", "prod-snow", "--conflict-strategy", "manual-review")
    assert changed["conflict_strategy"] == "manual-review"


def test_a_token_opens_the_tcp_door_as_far_as_its_scope_goes_until_it_is_revoked(installation: Installation) -> None:
    im, url = installation.im, installation.daemon.url
    refused = im("incident", "list", "--server", url, code=1)
    assert "token" in refused
    token = im.one("token", "create", "--scope", "read", "--name", "reader")
    text = str(token["token"])
    im("incident", "list", "--server", url, "--token", text)
    im("incident", "list", INCIDENTS_SERVER=url, INCIDENTS_TOKEN=text)
    im("declare", "--title", "x", "--sev", "1", "--server", url, "--token", text, code=1)
    listed = im("token", "list")
    assert str(token["id"]) in listed
    assert text not in listed
    im("token", "revoke", str(token["id"]))
    im("incident", "list", "--server", url, "--token", text, code=1)


def test_exit_codes_tell_a_refusal_wrong_usage_and_a_daemon_that_is_not_there(
    installation: Installation, tmp_path: Path
) -> None:
    im = installation.im
    assert "INC-NONE" in im("incident", "show", "INC-NONE", code=1)
    assert "prod-nothing" in im("integration", "get", "prod-nothing", code=1)
    assert "--help" in im("incident", "show", code=2)
    im("integration", "reconcile", "prod-snow", "--nonsense", code=2)
    gone = im("incident", "list", "--socket", str(tmp_path / "nobody.sock"), code=4)
    assert str(tmp_path / "nobody.sock") in gone
    im("incident", "list", "--server", f"http://127.0.0.1:{free_port()}", "--token", "x", code=4)


def test_the_journal_is_read_while_the_daemon_lives(installation: Installation) -> None:
    im = installation.im
    assert im.one("journal", "info")["verdict"] == "clean"
    assert "whole" in im("journal", "verify")
    last = im.many("journal", "tail", "-n", "3")[-1]
    assert im.one("journal", "show", str(last["position"]))["position"] == last["position"]
    im("journal", "show", "99999999", code=1)


# The process


def test_the_socket_is_for_its_user_and_group_alone(installation: Installation) -> None:
    status = (installation.folder / "syncd.sock").stat()
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o660


def test_a_second_daemon_on_the_same_state_ends_with_75_and_names_the_first(
    installation: Installation, tmp_path: Path
) -> None:
    environ = installation.daemon.environ | {
        "INCIDENTS_SOCKET": str(tmp_path / "other.sock"),
        "INCIDENTS_LISTEN": f"127.0.0.1:{free_port()}",
    }
    code, told = refusal(environ)
    assert installation.daemon.process is not None
    assert code == 75
    assert str(installation.daemon.process.pid) in told
    assert "--state-dir" in told


def test_a_second_daemon_on_the_same_socket_ends_with_75_and_leaves_the_first_alone(
    installation: Installation, tmp_path: Path
) -> None:
    environ = DaemonProcess(tmp_path).environ | {"INCIDENTS_SOCKET": str(installation.folder / "syncd.sock")}
    code, told = refusal(environ)
    assert installation.daemon.process is not None
    assert code == 75
    assert str(installation.daemon.process.pid) in told
    installation.im("incident", "list")


def test_a_taken_port_is_78_and_named(installation: Installation, tmp_path: Path) -> None:
    listen = installation.daemon.environ["INCIDENTS_LISTEN"]
    code, told = refusal(DaemonProcess(tmp_path).environ | {"INCIDENTS_LISTEN": listen})
    assert code == 78
    assert listen in told


def test_sighup_reads_the_level_again_and_a_broken_file_does_not_end_the_daemon(installation: Installation) -> None:
    daemon, file = installation.daemon, installation.folder / "syncd.toml"
    assert daemon.process is not None

    def hang_up(text: str, expected: str) -> None:
        file.write_text(text)
        seen = daemon.log().count(expected)
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: daemon.log().count(expected) > seen, expected)
        assert is_up(f"{daemon.url}/ready")

    def told() -> int:
        """A request that is refused by its size makes a line of level debug; how many there are."""
        with socket.create_connection(("127.0.0.1", daemon.port)) as client:
            client.sendall(b"POST /refused-by-size HTTP/1.1\r\nhost: x\r\ncontent-length: 999999999\r\n\r\n")
            assert b" 413 " in client.recv(1000)
        return (installation.folder / "daemon.log").read_text().count("/refused-by-size")

    hang_up('log_level = "debug"\n', "level=debug")
    assert told() == 1
    hang_up('log_level = "loud"\n', "loud")
    assert told() == 2
    hang_up("log_level = \n", "is not TOML")
    assert told() == 3
    hang_up('log_level = "warning"\nsync_trace = true\n', "level=warning")
    assert told() == 3
    installation.im("incident", "list")
    assert "syncd.trace" not in (installation.folder / "daemon.log").read_text()


def test_sigterm_with_idle_clients_ends_with_0_in_time_and_the_journal_stays_readable(tmp_path: Path) -> None:
    daemon = started(DaemonProcess(tmp_path))
    im = Im(daemon.environ)
    im("declare", "--title", "kept", "--sev", "1")
    with httpx.Client(trust_env=False) as idle, socket.create_connection(("127.0.0.1", daemon.port)) as silent:
        assert idle.get(f"{daemon.url}/health").status_code == 200
        silent.sendall(b"GET /health HT")
        assert stopped(daemon) == 0
    assert not (tmp_path / "syncd.sock").exists()
    assert "stopped" in daemon.log()
    im("incident", "list", code=4)
    assert "whole" in im("journal", "verify")
    assert "IncidentDeclared" in im("journal", "tail")


# Refusals to start


def refusal(environ: dict[str, str], *words: str) -> tuple[int, str]:
    """Start a daemon that must not come up; its exit code and what it said, which is no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "syncd", "serve", *words],
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"INCIDENTS_LOG_LEVEL": "loud"}, ["log_level", "loud"]),
        ({"INCIDENTS_LISTEN": "8080"}, ["listen", "8080"]),
        ({"INCIDENTS_LISTEN": "0.0.0.0:8080"}, ["auth", "none", "0.0.0.0:8080"]),
        ({"INCIDENTS_LISTEN": "[::]:8080"}, ["auth", "none", "[::]:8080"]),
        ({"INCIDENTS_LISTEN": "localhost.localdomain:8080"}, ["auth", "none", "localhost.localdomain:8080"]),
    ],
)
def test_a_setting_that_cannot_be_used_is_78_with_key_and_value(
    tmp_path: Path, variables: dict[str, str], named: list[str]
) -> None:
    code, told = refusal(DaemonProcess(tmp_path).environ | variables)
    assert code == 78
    assert all(word in told for word in named), told
    assert not (tmp_path / "state").exists()


def test_a_state_folder_that_cannot_be_used_is_78_and_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / "file" / "state"
    code, told = refusal(DaemonProcess(tmp_path).environ | {"INCIDENTS_STATE_DIR": str(folder)})
    assert code == 78
    assert str(folder) in told


def test_without_its_key_or_with_a_flipped_bit_it_does_not_start(tmp_path: Path) -> None:
    daemon = started(DaemonProcess(tmp_path))
    im = Im(daemon.environ)
    im(
        *("integration", "configure", "one", "--name", "One", "--base-url", f"http://127.0.0.1:{free_port()}"),
        *("--username", "u", "--password", "p"),
    )
    assert stopped(daemon) == 0
    key = tmp_path / "master.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o400
    key.rename(tmp_path / "elsewhere")
    code, told = refusal(daemon.environ)
    assert code == 78
    assert str(key) in told
    assert not key.exists(), "a new key was made although something is sealed"
    (tmp_path / "elsewhere").rename(key)
    (segment,) = (tmp_path / "state" / "journal").iterdir()
    block = bytearray(segment.read_bytes())
    block[len(block) // 2] ^= 1
    segment.write_bytes(block)
    code, told = refusal(daemon.environ)
    assert code == 78
    assert segment.name in told
    assert re.search(r"(offset|byte) \d+", told), told
    assert segment.read_bytes() == block, "a damaged journal was changed"
    im("journal", "verify", code=1)


# The demo


def test_the_demo_tells_its_story_on_free_ports_whatever_the_environment_names(tmp_path: Path) -> None:
    with socket.socket() as taken:
        try:
            taken.bind(("127.0.0.1", 8080))
            taken.listen()
        except OSError:
            pass  # somebody else has it, which is as good
        misleading = {
            "INCIDENTS_SERVER": f"http://127.0.0.1:{free_port()}",
            "INCIDENTS_TOKEN": "of another daemon",
            "INCIDENTS_CONFIG": str(tmp_path / "of-another-daemon.toml"),
            "TMPDIR": str(tmp_path),
        }
        done = subprocess.run(
            [sys.executable, "-m", "syncd", "demo", "--once"],
            env=os.environ | misleading,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("after") >= 4
    assert list(tmp_path.iterdir()) == []


def test_a_demo_logs_what_it_is_told_to_and_when_told_to_stop_takes_its_processes_with_it(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        demo = subprocess.Popen(
            [sys.executable, "-m", "syncd", "demo"],
            env=os.environ | {"TMPDIR": str(tmp_path), "INCIDENTS_SYNC_TRACE": "true", "INCIDENTS_LOG_LEVEL": "error"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        until(lambda: b"Setting up" in (tmp_path / "out").read_bytes(), "the story begins")
        (log,) = tmp_path.glob("syncd-demo-*/serve.log")  # what is asked of its log is passed on
        assert " INFO syncd.trace " in log.read_text()
        assert " INFO syncd started " not in log.read_text()
        demo.terminate()
        assert demo.wait(20) == 1  # before the story's end
    finally:
        if demo.poll() is None:
            demo.kill()
            demo.wait(5)
        left = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if is_within(tmp_path, path)]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
    assert left == []
    assert b"Traceback" not in (tmp_path / "out").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def is_within(folder: Path, environ: Path) -> bool:
    """Whether a process was started with this folder in its environment; False when it is gone or not ours."""
    try:
        return os.fsencode(folder) in environ.read_bytes()
    except OSError:
        return False
