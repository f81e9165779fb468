"""``im watch``: every event once, over as many lost connections as there are."""

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from syncd.edges.cli.happenings import gist
from syncd.edges.cli.shapes import CloudEvent
from syncd.edges.cli.watch import RETRIES_S
from tests.edges.cli.conftest import Run
from tests.edges.cli.fake_daemon import Canned, FakeDaemon, Heard, problem

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
TITLES = ("Down", "a\u202eb", "Checkout ünder löad " * 8)


def event(number: int) -> dict[str, object]:
    return {
        "specversion": "1.0",
        "id": f"{number}-0",
        "type": "im.incident.declared",
        "time": "2026-11-24T09:14:03.5Z",
        "subject": "INC-1",
        "by": "user:ann",
        "data": {"title": TITLES[number % len(TITLES)], "severity": "SEV-2", "status": "open"},
    }


def chunk(text: str) -> bytes:
    raw = text.encode()
    return b"%x\r\n%b\r\n" % (len(raw), raw)


def block(number: int) -> bytes:
    return chunk(
        f"id: {number}-0\nevent: im.incident.declared\ndata: {json.dumps(event(number), ensure_ascii=False)}\n\n"
    )


EVENTS = 4
GONE = problem(410, "position 0 is no longer kept; the oldest is 9")


def stream_behind(since: str, upto: int = EVENTS) -> bytes:
    begun = int(since.partition("-")[0])
    beat = chunk(f": {begun}\nretry: 1000\nid: {since}\n\n")
    return HEAD + beat + b"".join(block(number) for number in range(begun + 1, upto + 1))


def cutting(*sizes: int) -> Callable[[Heard], Canned]:
    """A daemon that cuts each connection after so many bytes, then tells all, and is gone then."""
    left = list(sizes)

    def answer(heard: Heard) -> Canned:
        if not left:
            is_told = heard.query["since"] == f"{EVENTS}-0"
            return GONE if is_told else Canned(wire=stream_behind(heard.query["since"]))
        return Canned(wire=stream_behind(heard.query.get("since", "0"))[: left.pop(0)])

    return answer


WHOLE = len(stream_behind("0"))


def test_wherever_a_connection_is_cut_each_event_is_printed_once(im: Run, tmp_path: Path) -> None:
    for cut in (*range(len(HEAD), WHOLE, 29), WHOLE):
        with FakeDaemon(cutting(cut, cut), tmp_path / f"{cut}") as daemon:
            outcome = im("watch", "--since", "0", "--format", "json", "--socket", daemon.address)
        told = [json.loads(line) for line in outcome.out.splitlines()]
        assert told == [event(number) for number in range(1, EVENTS + 1)], cut
        assert outcome.code == 1  # for the 410 at the end
        assert "the oldest is 9" in outcome.err
        assert "\u202e" not in outcome.out


def test_a_connection_that_is_lost_before_it_says_where_it_begins_is_no_beginning(im: Run, socket_path: Path) -> None:
    with FakeDaemon(cutting(len(HEAD)), socket_path) as daemon:
        assert im("watch", "--socket", daemon.address).code == 4
    assert len(daemon.heard) == 1


def test_a_line_says_when_what_who_in_at_most_100_columns(im: Run, socket_path: Path) -> None:
    with FakeDaemon(cutting(), socket_path) as daemon:
        outcome = im("watch", "--since", "0", "--socket", daemon.address)
    first, _, third, _ = outcome.out.splitlines()
    assert "\\u202e" in first
    assert max(map(len, outcome.out.splitlines())) <= 100
    assert third == '2026-11-24 09:14:03Z  INC-1  im.incident.declared  user:ann  "Down", SEV-2, open'


def test_what_is_asked_for_is_sent_again_with_the_place_of_the_last_event(im: Run, socket_path: Path) -> None:
    with FakeDaemon(cutting(WHOLE), socket_path) as daemon:
        im("watch", "--incident", "INC-1", "--integration", "prod", "--type", "im.sync.", "--socket", daemon.address)
    wanted = {"incident": "INC-1", "integration": "prod", "type": "im.sync."}
    assert [heard.query for heard in daemon.heard] == [wanted, {**wanted, "since": f"{EVENTS}-0"}]
    assert daemon.heard[0].headers["accept"] == "text/event-stream"


def test_without_a_daemon_it_is_4_at_once(im: Run, socket_path: Path) -> None:
    slept: list[float] = []
    outcome = im("watch", "--socket", str(socket_path), sleep_s=slept.append)
    assert (outcome.code, outcome.out, slept) == (4, "", [])
    assert "no daemon listens" in outcome.err


def test_a_daemon_that_stays_away_is_4_after_a_minute_of_trying(im: Run, socket_path: Path) -> None:
    slept: list[float] = []
    hangs = threading.Event()

    def once(heard: Heard) -> Canned:
        first = not hangs.is_set()
        hangs.set()
        return Canned(wire=stream_behind("0") if first else b"")

    with FakeDaemon(once, socket_path) as daemon:
        outcome = im("watch", "--format", "json", "--socket", daemon.address, sleep_s=slept.append)
    assert (outcome.code, len(outcome.out.splitlines())) == (4, EVENTS)
    assert slept == list(RETRIES_S)
    assert 60 <= sum(slept) <= 90
    assert "the connection was lost; trying again" in outcome.err


@pytest.mark.parametrize("status", [401, 404, 422, 429])
def test_a_refusal_at_the_beginning_is_1_and_not_repeated(im: Run, socket_path: Path, status: int) -> None:
    with FakeDaemon(lambda heard: problem(status, "no"), socket_path) as daemon:
        assert im("watch", "--socket", daemon.address).code == 1
    assert len(daemon.heard) == 1


def test_a_daemon_that_is_full_or_stopping_for_the_moment_is_asked_again(im: Run, socket_path: Path) -> None:
    answers = iter([Canned(wire=stream_behind("0", 2)), problem(429, "full"), problem(503, "stopping")])

    def answer(heard: Heard) -> Canned:
        return next(answers, None) or cutting()(heard)

    with FakeDaemon(answer, socket_path) as daemon:
        outcome = im("watch", "--format", "json", "--socket", daemon.address)
    assert [json.loads(line)["id"] for line in outcome.out.splitlines()] == ["1-0", "2-0", "3-0", "4-0"]
    assert "connected again" in outcome.err


def test_what_is_no_stream_is_refused(im: Run, socket_path: Path) -> None:
    page = {"Content-Type": "text/html"}
    with FakeDaemon(lambda heard: Canned(body=b"<html>", headers=page), socket_path) as daemon:
        assert im("watch", "--socket", daemon.address).code == 1


def test_a_stream_that_a_proxy_has_rewritten_without_chunks_is_read_as_well(im: Run) -> None:
    plain = re.sub(rb"\r\n[0-9a-f]+\r\n", b"", stream_behind("0").replace(b"Transfer-Encoding: chunked\r\n", b""))
    body = b"".join(
        f"id: {number}-0\ndata: {json.dumps(event(number))}\n\n".encode() for number in range(1, EVENTS + 1)
    )
    head = plain.partition(b"\r\n\r\n")[0]
    answers = iter([Canned(wire=head + b"\r\n\r\n" + body)])
    with FakeDaemon(lambda heard: next(answers, GONE), None) as daemon:
        outcome = im("watch", "--format", "json", "--server", daemon.address)
    assert len(outcome.out.splitlines()) == EVENTS


@pytest.mark.parametrize("output_format", ["table", "json"])
def test_an_interrupt_ends_it_with_130_and_every_line_is_out_before(tmp_path: Path, output_format: str) -> None:
    over = threading.Event()

    def answer(heard: Heard) -> Canned:
        if heard.query.get("since") == f"{EVENTS}-0":
            over.wait(10)
        return Canned(wire=stream_behind(heard.query["since"]))

    with FakeDaemon(answer, tmp_path / "s") as daemon:
        words = ["watch", "--since", "0", "--format", output_format, "--socket", daemon.address]
        with subprocess.Popen(
            [sys.executable, "-m", "syncd.edges.cli", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(EVENTS)]
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate(timeout=10)
            over.set()
    assert all(line.endswith(b"\n") for line in lines)
    assert (process.returncode, rest) == (130, b"")
    assert b"Traceback" not in errors


@pytest.mark.parametrize(
    ("by", "said"),
    [("integration:prod", "integration:prod"), ("user:ann", "user:ann (prod)"), (None, "nobody (prod)")],
)
def test_a_line_says_who_and_where_once(im: Run, socket_path: Path, by: str | None, said: str) -> None:
    told = {**event(1), "type": "im.sync.link_opened", "integration": "prod", "by": by, "data": {}}
    wire = HEAD + chunk(f"id: {EVENTS}-0\ndata: {json.dumps(told)}\n\n")
    answers = iter([Canned(wire=wire)])
    with FakeDaemon(lambda heard: next(answers, GONE), socket_path) as daemon:
        shown = im("watch", "--since", "0", "--socket", daemon.address).out
    assert shown == f"2026-11-24 09:14:03Z  INC-1  im.sync.link_opened  {said}  a record is to be made\n"


def test_a_line_about_an_integration_says_its_handle_in_the_place_of_its_id(im: Run, socket_path: Path) -> None:
    told = {
        **event(1),
        "type": "im.integration.ownership_changed",
        "subject": "int_1",
        "integration": "prod",
        "data": {"field": "title", "rule": None},
    }
    wire = HEAD + chunk(f"id: {EVENTS}-0\ndata: {json.dumps(told)}\n\n")
    answers = iter([Canned(wire=wire)])
    with FakeDaemon(lambda heard: next(answers, GONE), socket_path) as daemon:
        shown = im("watch", "--since", "0", "--socket", daemon.address).out
    words = "2026-11-24 09:14:03Z  prod  im.integration.ownership_changed  user:ann  title: the default again\n"
    assert shown == words


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        ("incident.updated", {"changes": {"severity": "SEV-1", "status": "open"}}, 'severity "SEV-1", status "open"'),
        ("incident.noted", {"author": "ann", "text": "rolled back"}, "ann: rolled back"),
        ("sync.decided", {"field": "title", "reason": "owner", "value": None}, "title: owner"),
        (
            "sync.decided",
            {"field": "title", "reason": "later-edit", "value": "B"},
            'title: later-edit, the platform takes "B"',
        ),
        (
            "sync.conflict",
            {"id": "conflict-1", "field": "title", "platform": "A", "external": "B", "status": "pending"},
            'conflict-1, title: "A" here, "B" there, pending',
        ),
        (
            "sync.observed",
            {"external_number": "INC1", "values": {"state": "6"}, "updated_by": "beth"},
            'INC1 shows state "6", last written by beth',
        ),
        ("incident.updated", {"changes": {"description": "x" * 100_000}}, f'description "{"x" * 199}…"'),
        ("incident.noted", {"author": "ann", "text": "x" * 100_000}, f"ann: {'x' * 199}…"),
        ("sync.parked", {"reason": "x" * 1000}, f"parked: {'x' * 199}…"),
        ("sync.link_opened", {"integration_id": "int_1"}, "a record is to be made"),
        ("sync.send_started", {"operation": "update", "sent": {"title": "A"}}, 'update: title "A"'),
        ("sync.sent", {"external_number": "INC1", "fields": ["title", "status"]}, "INC1 has title, status"),
        (
            "sync.failed",
            {"message": "HTTP 503", "next_attempt_at": "2026-11-24T09:14:03Z"},
            "HTTP 503; next try 2026-11-24 09:14:03Z (now)",
        ),
        (
            "sync.failed",
            {"message": "no", "next_attempt_at": "2026-11-24T09:14:03Z", "assignment_group": "Network"},
            'no; next try 2026-11-24 09:14:03Z (now), together with the group "Network"',
        ),
        (
            "sync.dead_letter",
            {"id": "entry-1", "fields": ["status"], "error": {"message": "Data Policy", "detail": "close_code"}},
            "entry-1, status: Data Policy close_code",
        ),
        (
            "sync.conflict_resolved",
            {"conflict": "conflict-1", "winner": "platform"},
            "conflict-1: the platform's value stands",
        ),
        (
            "sync.conflict_resolved",
            {"conflict": "conflict-1", "winner": "external"},
            "conflict-1: ServiceNow's value stands",
        ),
        (
            "sync.conflict_resolved",
            {"conflict": "conflict-1", "winner": "platform", "value": "A"},
            'conflict-1: "A" stands on both sides',
        ),
        ("sync.conflict_ignored", {"conflict": "conflict-1"}, "conflict-1: both values stay as they are"),
        ("sync.parked", {"reason": "deleted there"}, "parked: deleted there"),
        (
            "sync.accepted",
            {"fields": ["title", "status"], "reason": "told-in-a-note"},
            "title, status: the sides stay different, told-in-a-note",
        ),
        ("sync.unlinked", {}, "the incident and the record are parted"),
        ("sync.dead_letter_retried", {"id": "entry-1"}, "entry-1 is tried again"),
        ("sync.note_sent", {"note_id": "note-1", "found": False}, "note-1 is there"),
        ("sync.note_sent", {}, " is there"),
        (
            "integration.ownership_changed",
            {"field": "title", "rule": {"owner": "external", "priority": 5, "exclusive": True}},
            "title: external, priority 5, exclusive",
        ),
        ("integration.ownership_changed", {"field": "title", "rule": None}, "title: the default again"),
        (
            "integration.changed",
            {
                "sync_direction": "inbound",
                "enabled": False,
                "conflict_strategy": "manual-review",
                "conflict_window": "5s",
            },
            "inbound, enabled: no, manual-review, window 5s",
        ),
        ("integration.run_ended", {"id": "run-1", "status": "finished", "reason": ""}, "run-1: finished"),
        ("sync.something_new", {"a": 1, "b": None, "c": {"d": "x"}}, "a=1  c.d=x"),
    ],
)
def test_each_kind_is_said_in_a_few_words(kind: str, content: dict[str, object], said: str) -> None:
    told = CloudEvent(type=f"im.{kind}", data=content)  # type: ignore[arg-type]
    assert gist(told, 1_795_511_643.5) == said
