"""README's installation, as far as it can be tried without a machine of its own: what it names is there, and works."""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from syncd import __version__
from tests.crash.installation import ACCOUNT, IM, Im, Installation, started, stopped, until
from tests.crash.service_manager import Managed

ROOT: Final = Path(__file__).parents[2]
README: Final = (ROOT / "README.md").read_text()
OPERATIONS: Final = (ROOT / "docs" / "operations.md").read_text()


def commands(page: str, heading: str) -> list[str]:
    """The command lines below a heading, with those that go on joined."""
    text = re.split(rf"^#+ {re.escape(heading)}$", page, flags=re.MULTILINE)[1]
    text = re.split(r"^##+ ", text, flags=re.MULTILINE)[0].replace("\\\n", " ")
    return [line.partition("  #")[0].strip() for line in re.findall(r"^ {4}(.+)$", text, re.MULTILINE)]


def test_every_file_that_is_installed_is_there_and_lands_where_the_units_look_for_it() -> None:
    lines = commands(README, "Install it as a service")
    named = {word for line in lines for word in shlex.split(line) if re.match(r"(systemd|requirements)/\w", word)}
    assert named == {
        *("requirements/run.txt", "requirements/build.txt"),
        *("systemd/syncd.toml", "systemd/syncd.service", "systemd/syncd.socket"),
    }
    assert all((ROOT / name).is_file() for name in named)
    service = (ROOT / "systemd" / "syncd.service").read_text()
    doors = (ROOT / "systemd" / "syncd.socket").read_text()
    assert "ExecStart=/opt/syncd/bin/syncd serve" in service
    assert "ln -sfn syncd-0.1.0 /opt/syncd" in lines
    assert any(line.endswith("> /etc/syncd/master.key)") for line in lines)
    assert "LoadCredential=syncd-master-key:/etc/syncd/master.key" in service
    assert "groupadd --system syncd-admin" in lines
    assert "SocketGroup=syncd-admin" in doors


def test_the_version_in_the_commands_is_the_present_one() -> None:
    assert f"python3 -m venv /opt/syncd-{__version__}" in commands(README, "Install it as a service")


@pytest.mark.parametrize("heading", ["Upgrade, and take it back", "Back up", "Restore", "It does not start"])
def test_what_is_stopped_is_started_again_and_paths_agree(heading: str) -> None:
    lines = commands(OPERATIONS, heading)
    assert lines
    stopped = [line for line in lines if line.startswith("systemctl stop")]
    started = [line for line in lines if line.startswith("systemctl start")]
    assert [line.split()[2:] for line in stopped] in ([], [line.split()[2:] for line in started])
    for line in lines:
        assert not re.search(r"syncd-backup(?!\.tar\.gz)", line)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Installation]:
    """A daemon as the units run it: sockets handed over, its key from a credential, tokens asked for."""
    one = Installation(tmp_path)
    managed = Managed(tmp_path)
    (credentials := tmp_path / "credentials").mkdir(mode=0o700)
    (credentials / "syncd-master-key").write_text("A" * 43 + "=\n")
    (credentials / "syncd-master-key").chmod(0o400)
    managed.environ |= {"CREDENTIALS_DIRECTORY": str(credentials), "INCIDENTS_AUTH": "token"}
    managed.environ |= {"INCIDENTS_CONFIG": str(ROOT / "systemd" / "syncd.toml")}
    one.daemon = managed
    one.im = Im(managed.environ | {"INCIDENTS_SOCKET": str(managed.path)})
    try:
        one.start()
        yield one
    finally:
        one.stop()
        managed.close()


def test_the_steps_of_readme_connect_an_instance_and_sync_with_it(service: Installation) -> None:
    lines = [line for line in commands(README, "Connect your own ServiceNow") if line.startswith("im ")]
    (service.folder / "snow-password").write_text(ACCOUNT[1])
    given = {"./snow-password": str(service.folder / "snow-password"), "svc.sync": ACCOUNT[0]}
    given["https://your-instance.service-now.com"] = service.simulator_url
    ran = []
    for line in lines:
        words = [given.get(word, word) for word in shlex.split(line)[1:]]
        if words[0] == "watch" or "--watch" in words:
            continue
        if words[:2] == ["integration", "sync-status"]:
            until(lambda: service.im.many("integration", "links", "prod-snow")[0]["state"] == "active", "it is linked")
        if "INC-…" in words:
            words[words.index("INC-…")] = str(service.im.many("incident", "list")[0]["id"])
        assert service.im(*words)
        ran.append(" ".join(words[:2]))
    assert {"integration configure", "integration test", "declare --org", "incident explain"} <= set(ran)
    assert [row["short_description"] for row in service.rows()] == ["Checkout latency"]
    assert service.im.one("keys", "list")["source"] == "credential"


def test_the_master_key_is_changed_as_the_page_says_and_everything_still_opens(service: Installation) -> None:
    password_file = service.folder / "password"
    password_file.write_text(ACCOUNT[1])
    words = ["integration", "configure", "prod-snow", "--name", "Prod", "--base-url", service.simulator_url]
    service.im(*words, "--username", ACCOUNT[0], "--password-file", str(password_file))
    before = service.im.one("keys", "list")
    lines = commands(OPERATIONS, "Change the master key")
    assert service.im(*shlex.split(lines[0])[1:], code=1)  # the key of a service is not the daemon's to replace
    key_file = service.folder / "credentials" / "syncd-master-key"
    for number, line in enumerate(
        one.replace("/etc/syncd/master.key", str(key_file)).replace("/etc/syncd", str(key_file.parent))
        for one in lines[1:]
    ):
        if line.startswith("systemctl restart"):
            assert stopped(service.daemon) == 0
            started(service.daemon)
        else:
            environ = service.im.environ | {"PATH": f"{Path(IM).parent}:{os.environ['PATH']}"}
            subprocess.run(["bash", "-c", line], env=environ, check=True, timeout=30, capture_output=True)
        if number == 1:  # a crash before the new key is in place
            assert service.daemon.process is not None
            service.daemon.process.kill()
            service.daemon.process.wait(5)
            started(service.daemon)
            assert service.im.one("keys", "list")["master_id"] == before["master_id"]
    after = service.im.one("keys", "list")
    assert (after["master_id"] != before["master_id"], after["next_id"]) == (True, None)
    service.im("declare", "--title", "Checkout latency", "--sev", "2")
    until(lambda: [row["short_description"] for row in service.rows()] == ["Checkout latency"], "it is written")
