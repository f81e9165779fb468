import json
from pathlib import Path

import pytest

from syncd.edges.cli.client import Json
from tests.edges.cli.conftest import Run
from tests.edges.cli.fake_daemon import INCIDENT, NOTE, Canned, FakeDaemon, problem

HOSTILE = "\x1b[2J\x1b]0;owned\x07 \u202egnp\r\nroot"


def test_show_is_a_card_with_links_and_times(im: Run, daemon: FakeDaemon) -> None:
    outcome = im("incident", "show", "INC-1", "--socket", daemon.address)
    assert outcome.out.splitlines() == [
        "incident      INC-4Q7ZK2M9XD",
        "title         Checkout is down",
        "severity      SEV-2",
        "status        open",
        "assigned to   -",
        "service       checkout",
        "organization  default",
        "declared      2026-11-24 09:00:00Z (14 min ago)",
        "updated       2026-11-24 09:14:03Z (3 s ago) by integration:prod-snow, version 3",
        "description   Since the deploy.",
        "              Carts are kept.",
        "link          INC0010023 in prod-snow (active)",
        "              https://example.service-now.com/nav_to.do?uri=incident.do?sys_id=" + "a" * 21,
        "              " + "a" * 11,
    ]


def test_list_is_one_line_each(im: Run, daemon: FakeDaemon) -> None:
    head, row = im("incident", "list", "--socket", daemon.address).out.splitlines()
    assert head.split() == ["ID", "SEVERITY", "STATUS", "EXTERNAL", "UPDATED", "TITLE"]
    assert row == "INC-4Q7ZK2M9XD  SEV-2     open    INC0010023  3 s ago  Checkout is down"


@pytest.mark.parametrize(
    "line",
    ["incident list", "incident show x", "incident notes x", "incident timeline x", "conflict show x", "token list"],
)
def test_hostile_words_are_escaped_in_tables_and_exact_in_json(im: Run, socket_path: Path, line: str) -> None:
    thing: dict[str, Json] = {**INCIDENT, **NOTE, "title": HOSTILE, "text": HOSTILE, "name": HOSTILE, "type": HOSTILE}
    body: Json = [thing] if line.split()[1] in {"list", "notes", "timeline"} else thing
    with FakeDaemon(lambda heard: Canned(body=body), socket_path) as daemon:
        shown = im(*line.split(), "--socket", daemon.address).out
        exact = im(*line.split(), "--format", "json", "--socket", daemon.address).out
    assert "\\x1b" in shown
    for letter in "\x1b\x07\u202e\r":
        assert letter not in shown + exact
    assert json.loads(exact) == body


def test_a_change_under_a_version_says_which(im: Run, daemon: FakeDaemon) -> None:
    im("incident", "update", "INC-1", "--title", "T", "--if-match", "3", "--socket", daemon.address)
    assert daemon.heard[0].headers["if-match"] == '"3"'


def test_what_was_done_is_said_in_a_line(im: Run, daemon: FakeDaemon) -> None:
    assert im("incident", "resolve", "INC-1", "--socket", daemon.address).out == (
        "INC-4Q7ZK2M9XD resolved (SEV-2, open, version 3)\n"
    )
    assert im("incident", "note", "INC-1", "Hi", "--socket", daemon.address).out == "note-9 added to INC-1\n"


def test_the_timeline_tells_what_an_event_carries(im: Run, daemon: FakeDaemon) -> None:
    rows = im("incident", "timeline", "INC-1", "--socket", daemon.address).out.splitlines()
    assert rows[1].startswith("2026-11-24 09:00:00Z (14 min ago)  im.incident.declared  title=Checkout is down  by=ana")
    assert rows[2].strip() == "changes.status=open"


def test_a_stale_version_is_refused(im: Run, socket_path: Path) -> None:
    with FakeDaemon(
        lambda heard: problem(412, "version 2 is stale, it is 3", hint="look first"), socket_path
    ) as daemon:
        outcome = im("incident", "close", "INC-1", "--if-match", "2", "--socket", daemon.address)
    assert (outcome.code, outcome.err) == (1, "im: version 2 is stale, it is 3 - look first\n")
