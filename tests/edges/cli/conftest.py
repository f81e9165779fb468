"""Running `im` in this process, against a fake daemon."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec import Struct

from syncd.edges.cli.main import run
from syncd.edges.cli.session import World
from tests.edges.cli.fake_daemon import FakeDaemon, by_contract

NOW_S = 1_795_511_646.5  # 2026-11-24T09:14:06.5Z


class Outcome(Struct, frozen=True):
    """What a run left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def im(capsys: pytest.CaptureFixture[str]) -> Run:
    """``im(*argv, environ=…, stdin=…, ask_password=…) -> Outcome``, in a world without anything by default."""

    def call(
        *argv: str,
        environ: dict[str, str] | None = None,
        stdin: bytes = b"",
        ask_password: Callable[[str], str] | None = None,
        sleep_s: Callable[[float], None] = lambda _: None,
    ) -> Outcome:
        world = World(
            environ=environ or {},
            user_id=1000,
            now_s=NOW_S,
            new_key=lambda: "key-1",
            read_stdin=lambda: stdin,
            ask_password=ask_password,
            sleep_s=sleep_s,
        )
        capsys.readouterr()
        code = run(argv, world)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    """Short enough for a Unix socket."""
    return tmp_path / "s"


@pytest.fixture
def daemon(socket_path: Path) -> Iterator[FakeDaemon]:
    """One that answers by the contract."""
    with FakeDaemon(by_contract, socket_path) as running:
        yield running
