import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from syncd.edges.cli.transport import Endpoint, Unreachable, WrongUsage, exchange, server_endpoint, socket_endpoint
from tests.edges.cli.certificate import certificate_for_loopback
from tests.edges.cli.fake_daemon import Canned, FakeDaemon

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


def ask(endpoint: Endpoint, body: bytes | None = None, answer_s_max: float = 5.0) -> tuple[int, bytes]:
    answer = exchange(endpoint, "POST", "/x", {"A": "b"}, body, answer_s_max=answer_s_max)
    return answer.status, answer.body


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiextra", (200, b"hi")),
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", (200, b"to the end")),
        (b"HTTP/1.0 404\r\nContent-Length: 0\r\n\r\n", (404, b"")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"")),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n!", (200, b"!")),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: t\r\n\r\n",
            (200, b"abc0123456789"),
        ),
    ],
)
def test_every_framing_of_an_answer_is_understood(socket_path: Path, wire: bytes, expected: tuple[int, bytes]) -> None:
    with FakeDaemon(lambda heard: Canned(wire=wire), socket_path) as daemon:
        assert ask(socket_endpoint(daemon.address)) == expected


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 20x OK\r\n\r\n",
        b"x" * 200_000,
    ],
)
def test_an_answer_that_is_cut_or_no_http_is_no_answer(socket_path: Path, wire: bytes) -> None:
    with FakeDaemon(lambda heard: Canned(wire=wire), socket_path) as daemon, pytest.raises(Unreachable) as caught:
        ask(socket_endpoint(daemon.address))
    assert caught.value.sent


@contextmanager
def door(path: Path, said: bytes) -> Iterator[Endpoint]:
    """Says something to whoever connects, and never reads a byte."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    done = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(said)
            done.wait(10)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield socket_endpoint(str(path))
    finally:
        done.set()
        thread.join()
        listener.close()


def test_a_refusal_before_the_body_was_read_is_still_read(socket_path: Path) -> None:
    with door(socket_path, b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}") as endpoint:
        assert ask(endpoint, b"x" * 5_000_000) == (413, b"{}")


def test_a_silent_daemon_is_given_up_in_time(socket_path: Path) -> None:
    with (
        door(socket_path, b"HTTP/1.1 200 OK\r\nX: ") as endpoint,
        pytest.raises(Unreachable, match=r"did not answer within 0\.05 s"),
    ):
        ask(endpoint, answer_s_max=0.05)


def test_a_socket_file_without_a_daemon_is_unreachable(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "s"))
    (tmp_path / "file").touch()
    for name in ("s", "file", "none", "file/below"):
        with pytest.raises(Unreachable, match="no daemon listens") as caught:
            ask(socket_endpoint(str(tmp_path / name)))
        assert not caught.value.sent


def test_a_socket_path_that_cannot_be_one_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="107 bytes"):
        ask(socket_endpoint(str(tmp_path / ("x" * 120))))


def test_a_port_nobody_listens_on_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Unreachable, match=f"cannot reach http://127.0.0.1:{port}"):
        ask(server_endpoint(f"http://127.0.0.1:{port}"))


@contextmanager
def tls_door(certificate: Path | None) -> Iterator[Endpoint]:
    """Takes one connection on a TCP port and answers 204; without a certificate in clear."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if certificate is not None:
        context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        plain, _ = listener.accept()
        with suppress(OSError), plain:
            plain.settimeout(10)
            if certificate is None:
                plain.sendall(NO_CONTENT)
                return
            with context.wrap_socket(plain, server_side=True) as connection:
                connection.recv(65536)
                connection.sendall(NO_CONTENT)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server_endpoint(f"https://127.0.0.1:{listener.getsockname()[1]}")
    finally:
        thread.join()
        listener.close()


def test_https_is_spoken_to_a_server_that_the_system_trusts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = certificate_for_loopback(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with tls_door(certificate) as endpoint:
        assert ask(endpoint, b"{}") == (204, b"")


@pytest.mark.parametrize("has_certificate", [True, False])
def test_https_is_not_spoken_to_anybody_else(tmp_path: Path, has_certificate: bool) -> None:
    certificate = certificate_for_loopback(tmp_path) if has_certificate else None
    with tls_door(certificate) as endpoint, pytest.raises(Unreachable, match="no TLS with https://"):
        ask(endpoint)


@pytest.mark.parametrize(
    ("url", "host", "port", "tls", "prefix"),
    [
        ("http://localhost", "localhost", 80, False, ""),
        ("https://im.example.com/", "im.example.com", 443, True, ""),
        ("http://[::1]:8080/syncd/", "::1", 8080, False, "/syncd"),
    ],
)
def test_a_server_url_is_read(url: str, host: str, port: int, tls: bool, prefix: str) -> None:
    endpoint = server_endpoint(url)
    assert (endpoint.host, endpoint.port, endpoint.tls, endpoint.prefix) == (host, port, tls, prefix)


@pytest.mark.parametrize(
    "url",
    ["localhost:8080", "ftp://x", "http://", "http://u:p@x", "http://x?q", "http://x:99999", "http://ü", "http://x/ y"],
)
def test_a_server_url_that_is_none_is_wrong_usage(url: str) -> None:
    with pytest.raises(WrongUsage, match="--server"):
        server_endpoint(url)


@pytest.mark.parametrize(
    "url", ["https://u:pass-word@h", "https://h/?token=pass-word", "u:pass-word@h:1", "https://u:pass-word@h:99999"]
)
def test_what_may_be_a_secret_in_a_url_is_not_repeated(url: str) -> None:
    with pytest.raises(WrongUsage, match="--server") as caught:
        server_endpoint(url)
    assert "pass-word" not in str(caught.value) + caught.value.hint
