"""What the service manager is told, and which sockets are taken from it."""

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from syncd import service_manager
from syncd.errors import BadConfig
from syncd.service_manager import ServiceManager, inherited_sockets

PID = 4711


@pytest.fixture
def first_fd(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A number from which on descriptors are free, in the place of 3, which pytest uses."""
    monkeypatch.setattr(service_manager, "FIRST_FD", 500)
    yield 500
    for fd in range(500, 504):
        try:
            os.close(fd)
        except OSError:
            continue


def handed_over(count: int, pid: int = PID) -> dict[str, str]:
    return {"LISTEN_PID": str(pid), "LISTEN_FDS": str(count), "LISTEN_FDNAMES": "syncd.socket"}


@pytest.mark.parametrize("name", ["{}/notify", "@syncd-test-{}"], ids=["path", "abstract"])
def test_what_is_told_arrives_as_one_datagram(name: str, tmp_path: Path) -> None:
    address = name.format(tmp_path if "/" in name else os.getpid())
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as heard:
        heard.bind(address.replace("@", "\0", 1))
        heard.settimeout(5)
        ServiceManager({"NOTIFY_SOCKET": address}, PID).tell("READY=1", "STATUS=Serving")
        assert heard.recv(1000) == b"READY=1\nSTATUS=Serving"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nowhere/notify"}])
def test_nobody_who_listens_is_no_error(environ: dict[str, str]) -> None:
    ServiceManager(environ, PID).tell("READY=1")


@pytest.mark.parametrize(
    ("environ", "within_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(PID)}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_that_of_this_process(environ: dict[str, str], within_s: float | None) -> None:
    assert ServiceManager(environ, PID).watchdog_s == within_s


def test_a_port_and_a_unix_socket_are_taken_over(first_fd: int, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s"))
        unix.listen()
        for number, one in enumerate((tcp, unix)):
            os.dup2(one.fileno(), first_fd + number)
        taken = inherited_sockets(handed_over(2), PID)
        assert [one.family for one in taken] == [socket.AF_INET, socket.AF_UNIX]
        assert taken[0].getsockname() == tcp.getsockname()
        for one in taken:
            assert not one.get_inheritable()
            one.close()


@pytest.mark.parametrize("environ", [{}, handed_over(1, pid=1), {"LISTEN_PID": str(PID)}])
def test_sockets_of_another_process_are_left_alone(environ: dict[str, str]) -> None:
    assert inherited_sockets(environ, PID) == []


@pytest.mark.parametrize("kind", ["a file", "a datagram socket", "a connection", "an abstract socket"])
def test_what_cannot_be_served_is_refused_with_its_number(kind: str, first_fd: int, tmp_path: Path) -> None:
    if kind == "a file":
        fd = os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)
        os.dup2(fd, first_fd)
        os.close(fd)
    else:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM if kind == "a datagram socket" else socket.SOCK_STREAM)
        with made:
            if kind == "an abstract socket":
                made.bind(f"\0syncd-test-{os.getpid()}")
                made.listen()
            os.dup2(made.fileno(), first_fd)
    with pytest.raises(BadConfig, match=f"descriptor {first_fd}"):
        inherited_sockets(handed_over(1), PID)
