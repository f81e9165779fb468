import json
from pathlib import Path

import pytest

from syncd.edges.cli.client import Json
from tests.edges.cli.conftest import Run
from tests.edges.cli.fake_daemon import EXPLAINED, EXPLANATION, INCIDENT, NOTE, Canned, FakeDaemon, problem

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


def test_the_timeline_says_who_did_what_with_the_newest_last(im: Run, socket_path: Path) -> None:
    happened: list[Json] = [
        {
            "type": f"im.incident.{kind}",
            "time": f"2026-11-24T09:0{minute}:00Z",
            "by": "user:ana",
            "data": {"title": "T", "severity": "SEV-2", "status": "open", "changes": {"title": "U"}},
        }
        for minute, kind in ((2, "updated"), (1, "declared"))
    ]
    more = {"Link": '</api/v1/x?cursor=c>; rel="next"'}
    with FakeDaemon(lambda heard: Canned(body=happened, headers=more), socket_path) as daemon:
        outcome = im("incident", "timeline", "INC-1", "--limit", "2", "--socket", daemon.address)
    assert outcome.out.splitlines() == [
        "TIME                  EVENT                 BY        WHAT",
        '2026-11-24 09:01:00Z  im.incident.declared  user:ana  "T", SEV-2, open',
        '2026-11-24 09:02:00Z  im.incident.updated   user:ana  title "U"',
    ]
    assert outcome.err == "im: showing the newest 2; give --limit N or --all for more\n"


def test_a_card_explains_each_field_in_words_of_at_most_100_columns(im: Run, daemon: FakeDaemon) -> None:
    shown = im("incident", "explain", "INC-1", "--socket", daemon.address).out
    assert max(map(len, shown.splitlines())) <= 100
    assert shown.splitlines()[0] == 'status: "resolved" here, "open" in INC0010023 (prod-snow)'
    words = " ".join(shown.split())
    assert "now dead-letter: ServiceNow refused the value" in words
    assert "platform changed 2026-11-24 09:14:00Z (6 s ago) by user:ann" in words
    assert 'and 2026-11-24 09:10:02Z (4 min ago) by beth, as "2"' in words
    assert 'base "open" here, "2" in ServiceNow' in words
    assert "rule one-side-changed, 2026-11-24 09:14:01Z (5 s ago): only one side had changed" in words
    assert "tried 2 times; next try 2026-11-24 10:14:01Z (in 59 min); ServiceNow said: HTTP 403, Operation" in words
    assert "im conflict show conflict-17" in words
    assert "im integration dlq-retry prod-snow entry-17" in words
    assert "assigned_to nothing here; kept on the platform" in words


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"external": None, "external_raw": None}, "not shown in INC0010023"),
        ({"external": None, "external_raw": "42"}, '"resolved" here, "42" in INC0010023'),
        ({"external_number": None}, "in a record to be made (prod-snow)"),
        ({"external_at": None}, "it is not known who changed it"),
        ({"base": None}, 'base "2" in ServiceNow; the platform\'s value stands and is not delivered yet'),
        ({"base_external": None}, 'base "open" here; ServiceNow\'s value stands and has not come in yet'),
        ({"base": None, "base_external": None}, "base none yet: the two sides have not been compared"),
        ({"external_from": None}, "changed no later than 2026-11-24 09:10:02Z (4 min ago) by beth"),
        ({"external_by": None}, "(4 min ago), by whom is not known"),
        ({"write": {"to": "external", "attempts": 1}}, "write not there yet, tried once"),
        (
            {"write": {"error": {"status": 503, "message": "HTTP 503", "detail": "<html>"}}},
            "ServiceNow said: HTTP 503 (<html>)",
        ),
        ({"write": {"error": {"message": "no connection"}}}, "write not there yet; no connection"),
        (
            {"write": {"error": {"kind": "not-kept", "status": 200, "message": "it kept something else"}}},
            "write not there yet; it kept something else",
        ),
        (
            {"write": {"to": "platform", "at": "2026-11-24T09:14:01Z", "attempts": 1}},
            "the platform took it 2026-11-24 09:14:01Z",
        ),
        (
            {"write": {"to": "external", "at": "2026-11-24T09:14:01Z", "became": "6"}},
            'ServiceNow took it 2026-11-24 09:14:01Z (5 s ago) and shows "6"',
        ),
        ({"write": {"to": "external"}}, "write not there yet"),
    ],
)
def test_a_card_says_what_is_not_known(im: Run, socket_path: Path, told: dict[str, Json], said: str) -> None:
    body: Json = {**EXPLANATION, "fields": [{**EXPLAINED, **told}]}
    with FakeDaemon(lambda heard: Canned(body=body), socket_path) as daemon:
        assert said in " ".join(im("incident", "explain", "INC-1", "--socket", daemon.address).out.split())


def test_an_incident_without_a_record_is_said_to_have_nothing_to_compare(im: Run, socket_path: Path) -> None:
    with FakeDaemon(lambda heard: Canned(body={"fields": [], "not_synced": []}), socket_path) as daemon:
        assert im("incident", "explain", "INC-1", "--socket", daemon.address).out.startswith("no integration has a")


def test_a_field_that_is_not_synced_is_not_said_to_lack_a_record(im: Run, socket_path: Path) -> None:
    body: Json = {**EXPLANATION, "fields": []}
    with FakeDaemon(lambda heard: Canned(body=body), socket_path) as daemon:
        shown = im("incident", "explain", "INC-1", "--field", "assigned_to", "--socket", daemon.address).out
    assert shown.startswith("assigned_to  nothing here; kept on the platform")


def test_a_stale_version_is_refused(im: Run, socket_path: Path) -> None:
    with FakeDaemon(
        lambda heard: problem(412, "version 2 is stale, it is 3", hint="look first"), socket_path
    ) as daemon:
        outcome = im("incident", "close", "INC-1", "--if-match", "2", "--socket", daemon.address)
    assert (outcome.code, outcome.err) == (1, "im: version 2 is stale, it is 3 - look first\n")
