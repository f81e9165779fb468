from pathlib import Path

import pytest

from syncd.edges.cli.client import Client
from syncd.edges.cli.session import STDIN_BYTES_MAX, Options, Session, World
from tests.edges.cli.conftest import Run
from tests.edges.cli.fake_daemon import Canned, FakeDaemon

SECRET = "sync_operate_RTqJc0RTqJc0RTqJc0RTqJc0RTqJc0RTqJc0RTqJc0X_abcdef"


def test_the_environment_names_the_socket(im: Run, daemon: FakeDaemon) -> None:
    assert im("incident", "list", environ={"INCIDENTS_SOCKET": daemon.address}).code == 0


def test_a_user_finds_the_socket_in_the_runtime_folder(im: Run, tmp_path: Path) -> None:
    with FakeDaemon(lambda heard: Canned(body=[]), tmp_path / "syncd.sock"):
        outcome = im("incident", "list", environ={"XDG_RUNTIME_DIR": str(tmp_path)})
    assert (outcome.code, outcome.out) == (0, "no incidents\n")


def test_server_and_token_come_from_the_environment(im: Run) -> None:
    with FakeDaemon(lambda heard: Canned(body=[]), None) as daemon:
        environ = {"INCIDENTS_SERVER": daemon.address, "INCIDENTS_TOKEN": "im_1", "INCIDENTS_SOCKET": "/nowhere"}
        assert im("incident", "list", environ=environ).code == 0
    assert daemon.heard[0].headers["authorization"] == "Bearer im_1"


def test_a_flag_goes_before_the_environment(im: Run, daemon: FakeDaemon) -> None:
    environ = {"INCIDENTS_SERVER": "http://127.0.0.1:9", "INCIDENTS_TOKEN": "im_1"}
    assert im("incident", "list", "--socket", daemon.address, environ=environ).code == 0
    assert im("incident", "list", "--server", "http://127.0.0.1:9", "--socket", daemon.address).code == 2


@pytest.mark.parametrize(
    ("server", "token", "warned"),
    [
        ("http://192.0.2.1:8080", "x", True),
        ("http://sync.example.org", "x", True),
        ("http://sync.example.org", None, False),
        ("https://sync.example.org", "x", False),
        ("http://localhost:8080", "x", False),
        ("http://127.0.0.2:8080", "x", False),
        ("http://[::1]:8080", "x", False),
    ],
)
def test_a_token_that_would_go_over_the_network_in_clear_is_warned_of(
    server: str, token: str | None, warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World({}, 1000, 0.0, lambda: "", lambda: b"", None, lambda _: None)
    assert isinstance(Session(Options(server=server, token=token), world).client, Client)
    assert ("unencrypted; give an https URL" in capsys.readouterr().err) is warned


@pytest.mark.parametrize(
    "argv",
    [
        ["incident", "list", "--tokn", SECRET],
        ["incident", "list", f"--tokn={SECRET}"],
        [SECRET],
        ["incident", SECRET],
        ["incident", "list", "--status", SECRET],
        ["token", "create", "--scope", SECRET],
        ["incident", "list", "--server", f"http://127.0.0.1:9/?{SECRET}"],
        ["incident", "list", "--server", "http://127.0.0.1:9", "--token", SECRET],
    ],
)
def test_no_error_repeats_a_token(im: Run, argv: list[str]) -> None:
    outcome = im(*argv)
    assert outcome.code in {2, 4}
    assert outcome.err.startswith("im: ")
    assert "RTqJc0" not in outcome.out + outcome.err


@pytest.mark.parametrize("command", [["note", "INC-1", "-"], ["update", "INC-1", "--description", "-"]])
def test_a_dash_reads_standard_input(im: Run, daemon: FakeDaemon, command: list[str]) -> None:
    assert im("incident", *command, "--socket", daemon.address, stdin="Zeile 1\nZeile ü\n".encode()).code == 0
    assert isinstance(daemon.heard[0].body, dict)
    assert "Zeile 1\nZeile ü" in daemon.heard[0].body.values()


@pytest.mark.parametrize("stdin", [b"\xff", b"x" * (STDIN_BYTES_MAX + 1)])
def test_standard_input_that_cannot_be_text_is_wrong_usage(im: Run, daemon: FakeDaemon, stdin: bytes) -> None:
    assert im("incident", "note", "INC-1", "-", "--socket", daemon.address, stdin=stdin).code == 2
    assert daemon.heard == []


@pytest.mark.parametrize(
    "line",
    [
        "integration field-ownership set prod-snow title --owner platform --priority",
        "integration configure prod-snow --max-concurrency",
        "integration reconcile history prod-snow --limit",
        "integration list --limit",
        "incident update INC-1 --title x --if-match",
        "incident timeline INC-1 --limit",
        "conflict list --limit",
        "conflict ignore conflict-17 --if-match",
        "token list --limit",
        "journal tail -n",
        "journal replay --until",
        "journal show",
    ],
)
@pytest.mark.parametrize("number", ["1.5", "1e3", "many"])
def test_what_is_no_whole_number_is_refused_and_never_rounded(
    im: Run, daemon: FakeDaemon, line: str, number: str
) -> None:
    outcome = im(*line.split(), number, "--socket", daemon.address)
    assert outcome.code == 2
    assert f"'{number}' is not a whole number - see im " in outcome.err
    assert daemon.heard == []
