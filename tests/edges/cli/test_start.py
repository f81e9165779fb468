"""The real process: what it imports on its way, since that is what a command costs. `make bench` has the times."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.edges.cli.fake_daemon import FakeDaemon

HEAVY = (
    "anyio asyncio cryptography cyclopts.completion cyclopts.help h11 http.client httpcore httpx hypercorn quart rich "
    "rich_rst ssl syncd.seams trio"
)
AS_THE_SCRIPT_DOES = f"""
import sys
from syncd.edges.cli.__main__ import main
code = main()
print(sorted(set({HEAVY!r}.split()) & sys.modules.keys()), file=sys.stderr)
sys.exit(code)
"""


def start(*argv: str, socket: str) -> subprocess.CompletedProcess[bytes]:
    environ = {**os.environ, "INCIDENTS_SOCKET": socket}
    command = [sys.executable, "-c", AS_THE_SCRIPT_DOES, *argv]
    return subprocess.run(command, env=environ, capture_output=True, timeout=60, check=False)


@pytest.mark.parametrize("words", ["incident list", "incident show INC-1 --format json", "conflict list", "status"])
def test_a_command_imports_no_heavy_library(daemon: FakeDaemon, words: str) -> None:
    run = start(*words.split(), socket=daemon.address)
    assert (run.returncode, run.stderr) == (0, b"[]\n")
    assert run.stdout


@pytest.mark.parametrize("words", ["", "--help", "--version", "incident --help", "integration configure --help"])
def test_help_imports_no_heavy_library(tmp_path: Path, words: str) -> None:
    run = start(*words.split(), socket=str(tmp_path / "none"))
    assert (run.returncode, run.stderr) == (0, b"[]\n")
    assert run.stdout


def test_the_installed_script_starts_where_this_test_does() -> None:
    (entry,) = [line for line in script("im").read_text().splitlines() if "import main" in line]
    assert entry == "from syncd.edges.cli.__main__ import main"


def script(name: str) -> Path:
    return Path(sys.executable).parent / name
