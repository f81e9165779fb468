"""`im integration test` against a daemon that only speaks."""

import json
from pathlib import Path

import pytest

from tests.edges.cli.conftest import Run
from tests.edges.cli.fake_daemon import Canned, FakeDaemon

STEPS = [
    {"name": "reach", "verdict": "ok", "detail": "there", "remedy": ""},
    {"name": "clock", "verdict": "warning", "detail": "3 s off\x1b[2J", "remedy": "set it by NTP"},
]
BAD = {"name": "read", "verdict": "failed", "detail": "not shown: sys_id", "remedy": "let the account read it"}


def in_parts(*parts: bytes) -> Canned:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in parts)
    return Canned(wire=head + chunks + b"0\r\n\r\n")


def lines(*steps: dict[str, str]) -> bytes:
    return b"".join(json.dumps(step).encode() + b"\n" for step in steps)


def test_each_step_is_a_line_with_its_verdict_and_the_remedy(im: Run, socket_path: Path) -> None:
    raw = lines(*STEPS)
    with FakeDaemon(lambda _: in_parts(raw[:30], raw[30:]), socket_path) as daemon:
        outcome = im("--socket", str(socket_path), "integration", "test", "prod-snow")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [
        "reach             ok       there",
        "clock             warning  3 s off\\x1b[2J -> set it by NTP",
    ]
    assert (daemon.heard[0].method, daemon.heard[0].path) == ("POST", "/api/v1/integrations/prod-snow/test")
    assert daemon.heard[0].body == {"write_check": False}


def test_a_step_that_failed_is_exit_code_1(im: Run, socket_path: Path) -> None:
    with FakeDaemon(lambda _: in_parts(lines(*STEPS, BAD)), socket_path) as daemon:
        outcome = im("--socket", str(socket_path), "integration", "test", "prod-snow", "--write-check")
    assert outcome.code == 1
    assert daemon.heard[0].body == {"write_check": True}


@pytest.mark.parametrize(("verdict", "code"), [("ok", 0), ("failed", 1)])
def test_as_json_it_is_the_whole_report(im: Run, socket_path: Path, verdict: str, code: int) -> None:
    report = {"integration_id": "int_1", "handle": "prod-snow", "verdict": verdict, "steps": STEPS}
    with FakeDaemon(lambda _: Canned(body=report), socket_path):  # type: ignore[arg-type]
        outcome = im("--socket", str(socket_path), "integration", "test", "prod-snow", "--format", "json")
    assert outcome.code == code
    assert json.loads(outcome.out) == report


def test_a_refusal_is_one_line_and_no_step(im: Run, socket_path: Path) -> None:
    problem = {"title": "Not found", "detail": "no such integration", "hint": "list them"}
    canned = Canned(404, problem, {"Content-Type": "application/problem+json"})  # type: ignore[arg-type]
    with FakeDaemon(lambda _: canned, socket_path):
        outcome = im("--socket", str(socket_path), "integration", "test", "nobody")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "im: no such integration - list them\n"


def test_an_answer_that_breaks_off_is_no_success(im: Run, socket_path: Path) -> None:
    canned = in_parts(lines(*STEPS))
    assert canned.wire is not None
    broken = Canned(wire=canned.wire.removesuffix(b"0\r\n\r\n"))
    with FakeDaemon(lambda _: broken, socket_path):
        outcome = im("--socket", str(socket_path), "integration", "test", "prod-snow")
    assert outcome.code == 4
    assert "reach" in outcome.out  # what was found by then


def test_a_reader_who_has_seen_enough_is_no_trouble_of_the_connection(
    im: Run, socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seen_enough(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", seen_enough)
    with FakeDaemon(lambda _: in_parts(lines(*STEPS)), socket_path), pytest.raises(BrokenPipeError):
        im("--socket", str(socket_path), "integration", "test", "prod-snow")
