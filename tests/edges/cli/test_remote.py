"""`im --server`: every family of commands against a real daemon over TCP, in clear and through a proxy with TLS."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.crash.daemon_process import DaemonProcess, free_port
from tests.crash.installation import Im, started, stopped
from tests.edges.cli.certificate import certificate_for_loopback
from tests.edges.cli.conftest import Outcome, Run

PREFIX = "/syncd"
BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
Remote = Callable[..., Outcome]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """One that asks for tokens."""
    one = DaemonProcess(tmp_path_factory.mktemp("daemon"))
    one.environ["INCIDENTS_AUTH"] = "token"
    started(one)
    yield one
    assert stopped(one) == 0


@pytest.fixture(scope="module")
def tokens(daemon: DaemonProcess) -> dict[str, str]:
    """A token of each scope, made on the daemon's machine."""
    local = Im(daemon.environ)
    return {
        scope: str(local.one("token", "create", "--scope", scope)["token"]) for scope in ("read", "operate", "admin")
    }


@contextmanager
def proxy(certificate: Path, port: int) -> Iterator[str]:
    """A reverse proxy with TLS in front of a port of this machine, under a path; yields its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0))

    def pass_on(plain: socket.socket) -> None:
        with plain, context.wrap_socket(plain, server_side=True) as client:
            request = client.recv(65536)
            head, _, rest = request.partition(b" HTTP/1.1")
            method, _, path = head.partition(b" ")
            assert path.startswith(PREFIX.encode())
            try:
                behind = socket.create_connection(("127.0.0.1", port))
            except ConnectionRefusedError:
                client.sendall(BAD_GATEWAY)
                return
            with behind:
                behind.sendall(method + b" " + path.removeprefix(PREFIX.encode()) + b" HTTP/1.1" + rest)
                while block := behind.recv(65536):
                    client.sendall(block)

    def serve() -> None:
        with suppress(OSError):
            while True:
                plain, _ = listener.accept()
                plain.settimeout(10)
                with suppress(ssl.SSLError):
                    pass_on(plain)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}{PREFIX}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()


def tried(im: Run, server: str, token: str) -> tuple[Remote, Callable[..., Any]]:
    """``im`` there, as text that must succeed and as decoded JSON."""

    def run(*words: str, code: int = 0) -> Outcome:
        outcome = im(*words, "--server", server, "--token", token)
        assert outcome.code == code, (words, outcome)
        assert token not in outcome.err
        return outcome

    return run, lambda *words: json.loads(run(*words, "--format", "json").out)


def use_every_family(run: Remote, read: Callable[..., Any], handle: str) -> None:
    """An on-call person's day, from one terminal."""
    assert "ready" in run("status").out
    incident = read("declare", "--title", "Checkout is down", "--sev", "2", "--idempotency-key", handle)["id"]
    assert read("incident", "update", incident, "--severity", "1", "--if-match", "1")["severity"] == "SEV-1"
    run("incident", "note", incident, "failed over")
    assert [note["author"] for note in read("incident", "notes", incident)] == ["token:im"]
    assert read("incident", "resolve", incident, "--notes", "rolled back")["status"] == "resolved"
    assert read("incident", "close", incident)["status"] == "closed"
    assert incident in [one["id"] for one in read("incident", "list", "--status", "closed", "--all")]
    assert incident in run("incident", "show", incident).out
    assert {event["address"] for event in read("incident", "timeline", incident)} == {"127.0.0.1"}
    elsewhere = ("--name", handle, "--org", "elsewhere", "--base-url", f"http://127.0.0.1:{free_port()}")
    run("integration", "configure", handle, *elsewhere, "--username", "u", "--password", "p")
    assert handle in run("integration", "list", "--org", "elsewhere").out
    assert read("integration", "get", handle)["handle"] == handle
    assert read("integration", "sync-status", handle)["links"]["total"] == 0
    assert read("integration", "links", handle) == read("integration", "dlq", handle) == []
    assert read("integration", "dlq-retry", handle, "--all")["queued"] == 0
    assert "webhook" in run("integration", "webhook-script", handle).out
    assert read("integration", "rotate-secret", handle)["webhook_secret"]
    run("integration", "reconcile", handle, "--auto-heal", code=1)  # nobody listens there
    tested = run("integration", "test", handle, code=1).out.split()
    assert (tested[:2], tested[tested.index("credentials") + 1]) == (["reach", "failed"], "skipped")
    run("integration", "unlink", handle, incident, code=1)
    run("integration", "delete", handle)
    run("integration", "get", handle, code=1)
    assert read("conflict", "list", "--status", "all") == []
    run("conflict", "show", "conflict-1", code=1)
    made = read("token", "create", "--scope", "read", "--name", "x")
    assert made["id"] in run("token", "list").out
    run("token", "revoke", made["id"])


def test_every_family_of_commands_works_over_tcp(im: Run, daemon: DaemonProcess, tokens: dict[str, str]) -> None:
    use_every_family(*tried(im, daemon.url, tokens["admin"]), "plain")


def test_every_family_of_commands_works_behind_a_proxy_with_tls_and_a_path(
    im: Run, daemon: DaemonProcess, tokens: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = certificate_for_loopback(tmp_path)
    with proxy(certificate, daemon.port) as url:
        untrusted = im("incident", "list", "--server", url, "--token", tokens["admin"])
        assert (untrusted.code, "no TLS with https://" in untrusted.err) == (4, True)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        use_every_family(*tried(im, url, tokens["admin"]), "behind")
    with proxy(certificate, free_port()) as url:
        outcome = im("incident", "list", "--server", url, "--token", tokens["admin"])
        assert (outcome.code, "a proxy stands there, and no syncd behind it" in outcome.err) == (4, True)


@pytest.mark.parametrize(
    ("scope", "words", "said"),
    [
        ("", ("incident", "list"), "give one with --token or $INCIDENTS_TOKEN"),
        ("wrong", ("incident", "list"), "give another --token or $INCIDENTS_TOKEN"),
        ("read", ("declare", "--title", "x", "--sev", "1"), "im token create --scope operate"),
        ("operate", ("token", "create", "--scope", "read"), "im token create --scope admin"),
    ],
)
def test_a_token_that_does_not_do_is_1_and_the_way_out_is_named(
    im: Run, daemon: DaemonProcess, tokens: dict[str, str], scope: str, words: tuple[str, ...], said: str
) -> None:
    token = tokens.get(scope, f"sync_read_{scope * 10}")
    outcome = im(*words, "--server", daemon.url, *(("--token", token) if scope else ()))
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (1, "", 1)
    assert said in outcome.err
    assert token not in outcome.err


def test_a_flag_goes_before_its_variable(im: Run, daemon: DaemonProcess, tokens: dict[str, str]) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    named = {"INCIDENTS_SERVER": daemon.url, "INCIDENTS_TOKEN": tokens["read"], "INCIDENTS_SOCKET": "/nowhere"}
    assert im("incident", "list", environ=named).code == 0
    assert im("incident", "list", "--server", nobody, environ=named).code == 4
    assert im("incident", "list", "--token", "wrong", environ=named).code == 1
    misled = named | {"INCIDENTS_SERVER": nobody, "INCIDENTS_TOKEN": "wrong"}
    assert im("incident", "list", "--server", daemon.url, "--token", tokens["read"], environ=misled).code == 0


def test_a_daemon_that_is_not_there_is_4(im: Run) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    for words in (("incident", "list"), ("declare", "--title", "x", "--sev", "1"), ("status",), ("token", "list")):
        outcome = im(*words, "--server", url, "--token", "x")
        assert (outcome.code, outcome.out) == (4, "")
        assert url in outcome.err
