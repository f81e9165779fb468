"""The whole command line: what each command sends, what becomes of errors, and what a start costs."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from syncd.edges.cli.client import Json
from syncd.edges.cli.main import build
from syncd.edges.cli.render import cells
from syncd.edges.cli.session import World
from tests.edges.cli.conftest import Run
from tests.edges.cli.fake_daemon import Canned, FakeDaemon, Heard, by_contract, problem

V1 = "/api/v1"
SNOW = f"{V1}/integrations/prod-snow"
LINES: list[tuple[str, list[tuple[str, str, dict[str, str], Json]]]] = [
    (
        "declare --title T --sev SEV-2 --org O",
        [("POST", f"{V1}/incidents", {}, {"title": "T", "severity": "SEV-2", "organization_id": "O"})],
    ),
    (
        "declare --title T --severity 1 --service S --description D --org O --assigned-to ana",
        [
            (
                "POST",
                f"{V1}/incidents",
                {},
                {
                    "title": "T",
                    "severity": "1",
                    "service": "S",
                    "description": "D",
                    "organization_id": "O",
                    "assigned_to": "ana",
                },
            )
        ],
    ),
    ("incident list", [("GET", f"{V1}/incidents", {"limit": "100"}, None)]),
    (
        "incident list --org O --status open --sev 1 -q down --integration prod-snow"
        " --updated-since 2026-11-24T00:00:00Z --limit 5",
        [
            (
                "GET",
                f"{V1}/incidents",
                {
                    "organization_id": "O",
                    "status": "open",
                    "severity": "SEV-1",
                    "q": "down",
                    "integration": "prod-snow",
                    "updated_since": "2026-11-24T00:00:00Z",
                    "limit": "5",
                },
                None,
            )
        ],
    ),
    ("incident list --all", [("GET", f"{V1}/incidents", {"limit": "1000"}, None)]),
    ("incident show INC-1", [("GET", f"{V1}/incidents/INC-1", {}, None)]),
    (
        "incident update INC-1 --title -T --description D --severity 3 --status mitigated --assigned-to ana --service S"
        " --resolution-code C --resolution-notes N",
        [
            (
                "PATCH",
                f"{V1}/incidents/INC-1",
                {},
                {
                    "description": "D",
                    "title": "-T",
                    "severity": "3",
                    "status": "mitigated",
                    "assigned_to": "ana",
                    "service": "S",
                    "resolution_code": "C",
                    "resolution_notes": "N",
                },
            )
        ],
    ),
    ("incident update INC-1 --assigned-to=", [("PATCH", f"{V1}/incidents/INC-1", {}, {"assigned_to": None})]),
    ("incident note INC-1 Hello", [("POST", f"{V1}/incidents/INC-1/notes", {}, {"text": "Hello"})]),
    (
        "incident note INC-1 -restarted --author bob",
        [("POST", f"{V1}/incidents/INC-1/notes", {}, {"text": "-restarted", "author": "bob"})],
    ),
    ("incident notes INC-1", [("GET", f"{V1}/incidents/INC-1/notes", {"limit": "100"}, None)]),
    ("incident resolve INC-1", [("PATCH", f"{V1}/incidents/INC-1", {}, {"status": "resolved"})]),
    (
        "incident resolve INC-1 --code C --notes N",
        [
            (
                "PATCH",
                f"{V1}/incidents/INC-1",
                {},
                {"status": "resolved", "resolution_code": "C", "resolution_notes": "N"},
            )
        ],
    ),
    ("incident close INC-1", [("PATCH", f"{V1}/incidents/INC-1", {}, {"status": "closed"})]),
    (
        "incident timeline INC-1",
        [("GET", f"{V1}/incidents/INC-1/timeline", {"order": "newest", "limit": "100"}, None)],
    ),
    ("incident explain INC-1", [("GET", f"{V1}/incidents/INC-1/explain", {}, None)]),
    ("incident explain INC-1 --field title", [("GET", f"{V1}/incidents/INC-1/explain", {"field": "title"}, None)]),
    (
        "integration list --org O --type servicenow",
        [("GET", f"{V1}/integrations", {"org": "O", "type": "servicenow", "limit": "100"}, None)],
    ),
    ("integration get prod-snow", [("GET", SNOW, {}, None)]),
    ("integration delete prod-snow", [("DELETE", SNOW, {}, None)]),
    (
        "integration configure prod-snow --conflict-strategy manual-review",
        [("GET", SNOW, {}, None), ("PATCH", f"{V1}/integrations/int_1", {}, {"conflict_strategy": "manual-review"})],
    ),
    ("integration test prod-snow", [("POST", f"{SNOW}/test", {}, {"write_check": False})]),
    ("integration test prod-snow --write-check", [("POST", f"{SNOW}/test", {}, {"write_check": True})]),
    ("integration sync-status prod-snow", [("GET", f"{SNOW}/sync-status", {}, None)]),
    ("integration links prod-snow", [("GET", f"{SNOW}/links", {"limit": "100"}, None)]),
    ("integration webhook-script prod-snow", [("GET", f"{SNOW}/webhook-script", {}, None)]),
    ("integration rotate-secret prod-snow", [("POST", f"{SNOW}/webhook-secret/rotate", {}, {})]),
    (
        "integration rotate-secret prod-snow --grace 1h",
        [("POST", f"{SNOW}/webhook-secret/rotate", {}, {"grace": "1h"})],
    ),
    (
        "integration import prod-snow --query active=true",
        [("POST", f"{SNOW}/import", {}, {"query": "active=true", "dry_run": False})],
    ),
    (
        "integration reconcile prod-snow --auto-heal",
        [
            ("POST", f"{SNOW}/reconcile", {}, {"dry_run": False, "auto_heal": True, "force": False}),
            ("GET", f"{SNOW}/reconcile/history/run-17", {}, None),
        ],
    ),
    (
        "integration reconcile history prod-snow",
        [("GET", f"{SNOW}/reconcile/history", {"limit": "20"}, None)],
    ),
    (
        "integration reconcile history prod-snow run-17",
        [("GET", f"{SNOW}/reconcile/history/run-17", {}, None)],
    ),
    ("integration reconcile schedule prod-snow", [("GET", f"{SNOW}/reconcile/schedule", {}, None)]),
    (
        "integration reconcile schedule prod-snow --interval 1h --auto-heal",
        [("POST", f"{SNOW}/reconcile/schedule", {}, {"interval": "1h", "auto_heal": True})],
    ),
    (
        "integration reconcile schedule prod-snow --no-enabled",
        [("POST", f"{SNOW}/reconcile/schedule", {}, {"enabled": False})],
    ),
    (
        "integration link prod-snow INC-1 " + "a" * 32,
        [("POST", f"{SNOW}/links", {}, {"incident_id": "INC-1", "external_id": "a" * 32})],
    ),
    ("integration unlink prod-snow INC-1", [("DELETE", f"{SNOW}/links/INC-1", {}, None)]),
    ("integration dlq prod-snow", [("GET", f"{SNOW}/dlq", {"limit": "100"}, None)]),
    ("integration dlq-retry prod-snow entry-17", [("POST", f"{SNOW}/dlq/entry-17/retry", {}, {})]),
    ("integration dlq-retry prod-snow --all", [("POST", f"{SNOW}/dlq/retry", {}, {})]),
    ("integration dlq-discard prod-snow entry-17", [("POST", f"{SNOW}/dlq/entry-17/discard", {}, {})]),
    ("integration field-ownership list prod-snow", [("GET", f"{SNOW}/field-ownership", {}, None)]),
    (
        "integration field-ownership set prod-snow title --owner platform --priority 10",
        [
            (
                "PUT",
                f"{SNOW}/field-ownership/title",
                {},
                {"owner": "platform", "priority": 10, "exclusive": False},
            )
        ],
    ),
    (
        "integration field-ownership delete prod-snow title",
        [("DELETE", f"{SNOW}/field-ownership/title", {}, None)],
    ),
    ("integration field-mapping list prod-snow", [("GET", f"{SNOW}/field-mapping", {}, None)]),
    (
        "integration field-mapping set prod-snow service --external-field u_service --transform upper",
        [
            (
                "PUT",
                f"{SNOW}/field-mapping/service",
                {},
                {"external_field": "u_service", "direction": "bidirectional", "transform": "upper"},
            )
        ],
    ),
    (
        "integration field-mapping delete prod-snow service",
        [("DELETE", f"{SNOW}/field-mapping/service", {}, None)],
    ),
    ("conflict list", [("GET", f"{V1}/conflicts", {"status": "pending", "limit": "100"}, None)]),
    (
        "conflict list --integration prod-snow --incident INC-1 --status all",
        [("GET", f"{V1}/conflicts", {"integration": "prod-snow", "incident": "INC-1", "limit": "100"}, None)],
    ),
    ("conflict show conflict-17", [("GET", f"{V1}/conflicts/conflict-17", {}, None)]),
    (
        "conflict resolve conflict-17 --use-platform",
        [("POST", f"{V1}/conflicts/conflict-17/resolve", {}, {"use": "platform"})],
    ),
    (
        "conflict resolve conflict-17 --use-external",
        [("POST", f"{V1}/conflicts/conflict-17/resolve", {}, {"use": "external"})],
    ),
    (
        "conflict resolve conflict-17 --value V",
        [("POST", f"{V1}/conflicts/conflict-17/resolve", {}, {"value": "V"})],
    ),
    ("conflict ignore conflict-17", [("POST", f"{V1}/conflicts/conflict-17/ignore", {}, {})]),
    ("token create --scope read", [("POST", f"{V1}/tokens", {}, {"name": "im", "scope": "read"})]),
    (
        "token create --scope admin --name bot --expires-at 2027-01-01T00:00:00Z",
        [("POST", f"{V1}/tokens", {}, {"name": "bot", "scope": "admin", "expires_at": "2027-01-01T00:00:00Z"})],
    ),
    ("token list", [("GET", f"{V1}/tokens", {"limit": "100"}, None)]),
    ("token revoke tok_1", [("DELETE", f"{V1}/tokens/tok_1", {}, None)]),
    ("keys list", [("GET", f"{V1}/keys", {}, None)]),
    ("keys rotate", [("POST", f"{V1}/keys/rotate", {}, {})]),
    ("status", [("GET", "/health", {}, None), ("GET", "/ready", {}, None), ("GET", f"{V1}/status", {}, None)]),
]
GOES_ON = {"watch"}  # tests/edges/cli/test_watch.py
NEED_NO_DAEMON = {
    "completion",
    "support-bundle",
    *(f"journal {word}" for word in ("info", "verify", "tail", "show", "replay", "repair")),
}


def commands(app: App, words: tuple[str, ...] = ()) -> Iterator[tuple[str, App]]:
    """Every command that does something, under the words that reach it."""
    if app.default_command is not None and words:
        yield " ".join(words), app
    for name in app:
        if not name.startswith("-") and app[name].show:
            yield from commands(app[name], (*words, name))


def empty_world() -> World:
    return World(environ={}, user_id=1000, now_s=0, new_key=str, read_stdin=bytes, ask_password=None, sleep_s=print)


@pytest.mark.parametrize(("line", "requests"), LINES, ids=[line for line, _ in LINES])
@pytest.mark.parametrize("output_format", ["table", "json"])
def test_a_command_sends_exactly_this(
    im: Run,
    daemon: FakeDaemon,
    line: str,
    requests: list[tuple[str, str, dict[str, str], Json]],
    output_format: str,
) -> None:
    outcome = im(*line.split(), "--format", output_format, "--socket", daemon.address)
    assert (outcome.code, outcome.err) == (0, "")
    assert [(heard.method, heard.path, heard.query, heard.body) for heard in daemon.heard] == requests
    assert max(cells(shown) for shown in outcome.out.splitlines()) <= 100 or output_format == "json"
    assert outcome.out.strip()


def test_every_command_is_in_the_table_above_and_shows_an_example() -> None:
    found = dict(commands(build(empty_world())))
    tried = {name for name in found for line, _ in LINES if f"{line} ".startswith(f"{name} ")}
    assert found.keys() - tried == NEED_NO_DAEMON | GOES_ON
    for name, app in found.items():
        assert f"Example: im {name}" in (app.default_command.__doc__ or "") or name == "completion"


def test_an_incident_is_declared_under_a_key_so_that_it_cannot_happen_twice(im: Run, daemon: FakeDaemon) -> None:
    im("declare", "--title", "T", "--sev", "1", "--socket", daemon.address)
    im("declare", "--title", "T", "--sev", "1", "--idempotency-key", "mine", "--socket", daemon.address)
    keys = [heard.headers["idempotency-key"] for heard in daemon.heard if heard.method == "POST"]
    assert keys == ["key-1", "mine"]


@pytest.mark.parametrize(("there", "said"), [([], True), ([{"id": "int_1"}], False)])
def test_declare_says_when_no_integration_syncs_the_organization_that_nobody_named(
    im: Run, socket_path: Path, there: list[Json], said: bool
) -> None:
    with FakeDaemon(
        lambda heard: Canned(body=there) if heard.method == "GET" else by_contract(heard), socket_path
    ) as daemon:
        bare = im("declare", "--title", "T", "--sev", "1", "--socket", daemon.address)
        named = im("declare", "--title", "T", "--sev", "1", "--org", "acme", "--socket", daemon.address)
        exact = im("declare", "--title", "T", "--sev", "1", "--format", "json", "--socket", daemon.address)
    assert ("no integration syncs the organization" in bare.err) is said
    assert (named.err, exact.err, bare.code) == ("", "", 0)


def test_declare_says_the_id_and_the_next_step(im: Run, daemon: FakeDaemon) -> None:
    outcome = im("declare", "--title", "T", "--sev", "2", "--socket", daemon.address)
    assert outcome.out == "INC-4Q7ZK2M9XD declared (SEV-2, open)\nnext: im incident show INC-4Q7ZK2M9XD\n"


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "incident nonsense",
        "incident show",
        "incident show INC-1 INC-2",
        "incident list --bogus",
        "incident list --format yaml",
        "incident list --status nonsense",
        "incident list --limit many",
        "incident list --limit 0",
        "incident update INC-1",
        "declare --title T",
        "declare --sev 1",
        "conflict resolve conflict-17",
        "conflict resolve conflict-17 --use-platform --use-external",
        "conflict resolve conflict-17 --use-platform --value V",
        "integration dlq-retry prod-snow",
        "integration dlq-retry prod-snow entry-17 --all",
        "integration configure",
        "integration configure prod-snow",
        "integration configure prod-snow --direction sideways",
        "token create",
        "token create --scope root",
        "journal show first",
        "journal tail -n 0",
    ],
)
def test_wrong_usage_is_2_one_line_and_sends_nothing(im: Run, daemon: FakeDaemon, line: str) -> None:
    outcome = im(*line.split(), "--socket", daemon.address)
    assert (outcome.code, outcome.out, daemon.heard) == (2, "", [])
    assert outcome.err.startswith("im: ")
    assert outcome.err.count("\n") == 1
    assert " - " in outcome.err  # what to do next


def test_an_unknown_command_is_answered_with_what_is_near_it(im: Run) -> None:
    outcome = im("integration", "dlq-rety", "prod-snow")
    assert (outcome.code, outcome.err) == (
        2,
        'im: Unknown command "dlq-rety". Did you mean "dlq-retry"? - see im integration --help\n',
    )
    assert im("nonsense").err == 'im: Unknown command "nonsense" - see im --help\n'


def test_an_empty_reference_is_wrong_usage_and_not_the_list(im: Run, daemon: FakeDaemon) -> None:
    assert im("integration", "delete", "", "--socket", daemon.address).code == 2
    assert daemon.heard == []


def test_a_refusal_is_1_with_the_hint_word_for_word(im: Run, socket_path: Path) -> None:
    hint = (
        "there are: dev-snow, production-servicenow; or run: im integration configure production-servicenow --handle x"
    )
    with FakeDaemon(lambda heard: problem(404, "no integration x", hint=hint), socket_path):
        outcome = im("integration", "get", "x", "--socket", str(socket_path))
    assert (outcome.code, outcome.out, outcome.err) == (1, "", f"im: no integration x - {hint}\n")


def test_no_daemon_is_4_and_says_how_to_reach_one(im: Run, tmp_path: Path) -> None:
    outcome = im("incident", "list", "--socket", str(tmp_path / "none"))
    assert outcome.code == 4
    assert outcome.err.startswith(f"im: no daemon listens at {tmp_path / 'none'} - start it with `syncd serve`")
    assert outcome.err.count("\n") == 1


def test_global_options_stand_before_or_behind_the_command(im: Run, daemon: FakeDaemon) -> None:
    before = im("--format", "json", "--socket", daemon.address, "incident", "show", "INC-1")
    behind = im("incident", "show", "INC-1", f"--socket={daemon.address}", "--format=json")
    assert before == behind
    assert before.out.startswith("{")


def test_hostile_words_in_an_error_stay_on_one_harmless_line(im: Run, socket_path: Path) -> None:
    def answers(heard: Heard) -> object:
        return problem(422, "bad \x1b[2J\u202e\nim: fine", errors=[{"path": "title", "message": "a\r\nb"}])

    with FakeDaemon(answers, socket_path):  # type: ignore[arg-type]
        outcome = im("incident", "show", "INC-1", "--socket", str(socket_path))
    assert outcome.err == "im: bad \\x1b[2J\\u202e im: fine (title: a b)\n"


@pytest.mark.parametrize("words", [("--help",), ("incident", "--help"), ("integration", "reconcile", "--help"), ()])
def test_help_is_0_and_needs_no_daemon(im: Run, words: tuple[str, ...]) -> None:
    outcome = im(*words)
    assert outcome.code == 0
    assert outcome.out.startswith("Usage: im")
    assert "--format" in outcome.out


def spawn(*argv: str, code: str, environ: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", code, *argv], env={**os.environ, **environ}, capture_output=True, timeout=60, check=False
    )


def test_the_real_process_ends_quietly_when_its_reader_has_left(daemon: FakeDaemon) -> None:
    code = (
        "import os, sys\nfrom syncd.edges.cli.main import main\n"
        "read, write = os.pipe()\nos.close(read)\nos.dup2(write, 1)\nsys.exit(main())"
    )
    run = spawn("incident", "list", code=code, environ={"INCIDENTS_SOCKET": daemon.address})
    assert (run.returncode, run.stderr) == (0, b"")


def test_a_terminal_that_is_not_utf8_still_gets_the_line(socket_path: Path) -> None:
    with FakeDaemon(lambda heard: problem(404, "no \u2713 here"), socket_path):
        code = "import sys\nfrom syncd.edges.cli.main import main\nsys.exit(main())"
        environ = {"INCIDENTS_SOCKET": str(socket_path), "PYTHONIOENCODING": "latin-1"}
        run = spawn("incident", "show", "x", code=code, environ=environ)
    assert (run.returncode, run.stderr) == (1, b"im: no \\u2713 here\n")


def test_the_fake_daemon_minds_the_protocol(socket_path: Path) -> None:
    assert by_contract(Heard("GET", "/nowhere", {}, {}, None)).status == 404
