import json
from pathlib import Path

import pytest

from syncd.edges.cli.client import Client, Json, RequestRefused, path_of
from syncd.edges.cli.transport import Unreachable, WrongUsage, server_endpoint, socket_endpoint
from syncd.errors import SyncdError
from tests.edges.cli.conftest import Run
from tests.edges.cli.fake_daemon import Canned, FakeDaemon, Heard, problem


def numbers(total: int, page_max: int = 1000) -> "type[PagedNumbers]":
    return type("Pages", (PagedNumbers,), {"total": total, "page_max": page_max})


class PagedNumbers:
    """A list of ``total`` numbers, at most ``page_max`` a page, with another host in its links."""

    total = 0
    page_max = 1000

    def __call__(self, heard: Heard) -> Canned:
        begin = int(heard.query.get("cursor", "0"))
        end = min(begin + min(int(heard.query["limit"]), self.page_max), self.total)
        following = f'<http://elsewhere/x?limit=1&cursor={end}>; rel="next"'
        return Canned(body=list(range(begin, end)), headers={"Link": following} if end < self.total else {})


@pytest.mark.parametrize(
    ("total", "limit", "expected", "more", "requests"),
    [
        (0, 100, 0, False, 1),
        (100, 100, 100, False, 1),
        (101, 100, 100, True, 1),
        (2500, 1500, 1500, True, 2),
        (2500, None, 2500, False, 3),
        (2000, 2000, 2000, False, 2),
    ],
)
def test_pages_are_followed_up_to_the_limit(
    socket_path: Path, total: int, limit: int | None, expected: int, more: bool, requests: int
) -> None:
    with FakeDaemon(numbers(total)(), socket_path) as daemon:
        listing = Client(socket_endpoint(daemon.address)).pages("/x", {"q": "a b&c"}, limit=limit)
    assert json.loads(listing.body) == list(range(expected))
    assert (listing.more, len(daemon.heard)) == (more, requests)
    assert all(heard.query["q"] == "a b&c" for heard in daemon.heard)


def test_a_daemon_with_smaller_pages_is_followed_as_well(socket_path: Path) -> None:
    with FakeDaemon(numbers(50, page_max=20)(), socket_path) as daemon:
        listing = Client(socket_endpoint(daemon.address)).pages("/x", {}, limit=45)
    assert (len(listing.items), listing.more) == (45, True)
    assert [heard.query["limit"] for heard in daemon.heard] == ["45", "25", "5"]


def test_a_cut_list_says_so_beside_the_output(im: Run, socket_path: Path) -> None:
    with FakeDaemon(numbers(3)(), socket_path) as daemon:
        outcome = im("token", "list", "--limit", "2", "--format", "json", "--socket", daemon.address)
    assert json.loads(outcome.out) == [0, 1]
    assert outcome.err == "im: showing the first 2; give --limit N or --all for more\n"


def test_what_the_detail_lists_is_not_said_twice() -> None:
    faults: list[Json] = [{"path": "title", "message": "is missing"}, {"path": "x", "message": "is not known here"}]
    with FakeDaemon(lambda heard: problem(422, "refused: title: is missing", errors=faults), None) as daemon:
        client = Client(server_endpoint(daemon.address))
        with pytest.raises(RequestRefused) as caught:
            client.get("/x")
    assert str(caught.value) == "refused: title: is missing (x: is not known here)"


def test_a_problem_becomes_one_line_with_its_parts() -> None:
    faults: list[Json] = [
        {"path": "severity", "message": "SEV-9 is no severity"},
        {"path": "title", "message": "is required"},
    ]
    with FakeDaemon(lambda heard: problem(422, "2 faults", errors=faults, hint="use SEV-1 to SEV-4"), None) as daemon:
        client = Client(server_endpoint(daemon.address))
        with pytest.raises(RequestRefused) as caught:
            client.call("POST", "/x", body={})
    assert str(caught.value) == "2 faults (severity: SEV-9 is no severity; title: is required)"
    assert (caught.value.hint, caught.value.status, caught.value.exit_code) == ("use SEV-1 to SEV-4", 422, 1)


@pytest.mark.parametrize(
    ("answer", "message", "hint"),
    [
        (Canned(404, b"<html>", {"Content-Type": "text/html"}), "answered HTTP 404 Said So", ""),
        (Canned(500, b"{broken", {"Content-Type": "application/problem+json"}), "answered HTTP 500 Said So", ""),
        (Canned(301, headers={"Location": "https://new/"}), "answered HTTP 301 Said So, to https://new/", ""),
        (
            Canned(503, {"detail": "full"}, {"Content-Type": "application/problem+json", "Retry-After": "5"}),
            "full",
            "again in 5 s",
        ),
        (problem(401, "no token", hint="a header"), "no token", "give one with --token or $INCIDENTS_TOKEN"),
    ],
)
def test_every_other_refusal_says_who_said_what(answer: Canned, message: str, hint: str) -> None:
    with FakeDaemon(lambda heard: answer, None) as daemon, pytest.raises(RequestRefused) as caught:
        Client(server_endpoint(daemon.address)).get("/x")
    assert message in str(caught.value)
    assert hint in caught.value.hint


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxy_with_no_daemon_behind_it_is_no_daemon(status: int) -> None:
    with FakeDaemon(lambda heard: Canned(status, b"<html>", {"Content-Type": "text/html"}), None) as daemon:
        client = Client(server_endpoint(daemon.address))
        with pytest.raises(Unreachable, match=f"answered HTTP {status} Said So: a proxy stands there") as read:
            client.get("/x")
        with pytest.raises(Unreachable) as written:
            client.call("POST", "/x", body={}, headers={"Idempotency-Key": "k7"})
    assert (read.value.exit_code, "proxy sends requests" in read.value.hint) == (4, True)
    assert "it may have been done; repeat the command with --idempotency-key k7" in written.value.hint


def test_a_web_page_is_no_answer_of_syncd(im: Run) -> None:
    with FakeDaemon(lambda heard: Canned(200, b"<html>", {"Content-Type": "text/html; charset=utf-8"}), None) as daemon:
        outcome = im("incident", "list", "--server", daemon.address)
    assert (outcome.code, outcome.out) == (4, "")
    assert outcome.err == (
        f"im: what listens at {daemon.address} is not syncd: it answered a web page - "
        "check the host, the port and the path of --server\n"
    )


def test_the_token_goes_over_tcp_and_never_over_the_socket(socket_path: Path) -> None:
    with FakeDaemon(lambda heard: Canned(), None) as daemon:
        Client(server_endpoint(daemon.address), token="im_1").get("/x")
    assert daemon.heard[0].headers["authorization"] == "Bearer im_1"
    assert daemon.heard[0].headers["host"] == daemon.address.removeprefix("http://")
    with FakeDaemon(lambda heard: Canned(), socket_path) as local:
        Client(socket_endpoint(local.address), token="im_1").get("/x")
    assert "authorization" not in local.heard[0].headers
    assert local.heard[0].headers["host"] == "localhost"


def test_a_header_that_would_break_the_request_is_refused() -> None:
    client = Client(server_endpoint("http://127.0.0.1:9"), token="a-secret\r\nX: y")
    with pytest.raises(WrongUsage, match="Authorization: the token cannot be sent") as caught:
        client.get("/x")
    assert "a-secret" not in str(caught.value)
    with pytest.raises(WrongUsage, match=r"Idempotency-Key: 'a\\nb' cannot be sent"):
        client.call("POST", "/x", headers={"Idempotency-Key": "a\nb"})


def test_words_that_are_not_utf8_are_refused(im: Run, daemon: FakeDaemon) -> None:
    outcome = im("declare", "--title", "caf\udce9", "--sev", "1", "--socket", daemon.address)
    assert (outcome.code, daemon.heard) == (2, [])
    assert "not valid UTF-8" in outcome.err


def test_names_are_quoted_into_one_segment() -> None:
    assert path_of("integrations", "Prod /?#%ü", "links") == "/api/v1/integrations/Prod%20%2F%3F%23%25%C3%BC/links"
    with pytest.raises(WrongUsage):
        path_of("integrations", " ")


def test_a_lost_answer_to_a_write_says_how_to_go_on() -> None:
    with FakeDaemon(lambda heard: Canned(wire=b""), None) as daemon:
        client = Client(server_endpoint(daemon.address))
        with pytest.raises(Unreachable) as keyed:
            client.call("POST", "/x", body={}, headers={"Idempotency-Key": "k7"})
        with pytest.raises(Unreachable) as plain:
            client.call("PATCH", "/x", body={})
        with pytest.raises(Unreachable) as read:
            client.get("/x")
    assert "--idempotency-key k7 and it cannot happen twice" in keyed.value.hint
    assert "look at the present state" in plain.value.hint
    assert "try again" in read.value.hint
    assert len(daemon.heard) == 3  # nothing was sent twice


@pytest.mark.parametrize("body", [b"<html>", b"\xff", b'{"id": 7}', b"[" * 100_000, b""])
def test_an_answer_of_another_shape_is_an_error_and_no_traceback(im: Run, socket_path: Path, body: bytes) -> None:
    with FakeDaemon(lambda heard: Canned(200, body), socket_path) as daemon:
        outcome = im("incident", "show", "INC-1", "--socket", daemon.address)
    assert outcome.code == 1
    assert outcome.err.startswith("im: the daemon's answer is not what this im understands")
    assert outcome.err.count("\n") == 1


def test_errors_of_the_client_are_errors_of_syncd() -> None:
    assert issubclass(RequestRefused, SyncdError)
    assert (Unreachable("").exit_code, WrongUsage("").exit_code) == (4, 2)
