import json
from pathlib import Path

import pytest
from msgspec.structs import fields

from syncd.core.model import Settings
from syncd.edges.cli.client import Json
from tests.edges.cli.conftest import Outcome, Run
from tests.edges.cli.fake_daemon import ANSWERS, INTEGRATION, Canned, FakeDaemon, Heard, by_contract, problem

DEFAULTS = {one.name: one.default for one in fields(Settings)}
NEW = ["--base-url", "https://example.service-now.com", "--username", "api_user", "--password", "pw"]


def nothing_there(heard: Heard) -> Canned:
    """A daemon without integrations."""
    if heard.method == "GET":
        return (
            Canned(body=[])
            if heard.path.endswith("/integrations")
            else problem(404, "no such integration", hint="none")
        )
    return by_contract(heard)


def configure(im: Run, daemon: FakeDaemon, *argv: str, stdin: bytes = b"") -> Outcome:
    return im("integration", "configure", *argv, "--socket", daemon.address, stdin=stdin)


def sent(daemon: FakeDaemon) -> dict[str, Json]:
    body = daemon.heard[-1].body
    assert isinstance(body, dict)
    return body


def test_the_command_of_the_product_page_creates(im: Run, socket_path: Path) -> None:
    with FakeDaemon(nothing_there, socket_path) as daemon:
        line = ["--name", "Production ServiceNow", "--type", "servicenow", "--org", "acme-corp", *NEW]
        outcome = configure(im, daemon, *line, "--direction", "bidirectional")
    assert [(heard.method, heard.path, heard.query) for heard in daemon.heard] == [
        ("GET", "/api/v1/integrations", {"org": "acme-corp", "limit": "1000"}),
        ("POST", "/api/v1/integrations", {}),
    ]
    assert sent(daemon) == {
        "organization_id": "acme-corp",
        "integration_type": "servicenow",
        "name": "Production ServiceNow",
        "base_url": "https://example.service-now.com",
        "credentials": {"username": "api_user", "password": "pw"},
        "sync_direction": "bidirectional",
    }
    assert outcome.out == (
        "prod-snow created (int_1, bidirectional, enabled)\n"
        "webhook secret, not shown again: wh-secret\n"
        "next: im integration webhook-script prod-snow\n"
    )


@pytest.mark.parametrize("flag", ["--password", "--client-secret", "--api-key", "--webhook-secret"])
def test_a_secret_on_the_command_line_is_taken_with_a_warning_that_does_not_repeat_it(
    im: Run, daemon: FakeDaemon, flag: str
) -> None:
    outcome = configure(im, daemon, "prod-snow", flag, "tell-tale-4711")
    assert outcome.code == 0
    assert f"{flag} is seen by others in ps" in outcome.err
    assert f"prefer {flag}-file" in outcome.err
    assert "tell-tale" not in outcome.err + outcome.out


def test_every_setting_has_a_flag(im: Run, socket_path: Path) -> None:
    with FakeDaemon(nothing_there, socket_path) as daemon:
        line = "prod-snow --name N --base-url http://127.0.0.1:1 --webhook-secret -s --conflict-strategy manual-review"
        line += " --conflict-window always --no-create-external --create-platform --import-query active=true"
        line += ' --external-defaults {"caller_id":"im"} --rate-limit 2.5 --max-concurrency 2 --transaction-quota 90s'
        line += " --closed-policy note --poll-interval 2s"
        line += " --no-enabled --api-key e"
        assert configure(im, daemon, *line.split(), "--format", "json").code == 0
    assert sent(daemon) == {
        "integration_type": "servicenow",
        "handle": "prod-snow",
        "name": "N",
        "base_url": "http://127.0.0.1:1",
        "webhook_secret": "-s",
        "conflict_strategy": "manual-review",
        "conflict_window": "always",
        "create_external": False,
        "create_platform": True,
        "import_query": "active=true",
        "external_defaults": {"caller_id": "im"},
        "rate_limit": 2.5,
        "max_concurrency": 2,
        "transaction_quota": "90s",
        "poll_interval": "2s",
        "closed_policy": "note",
        "enabled": False,
        "credentials": {"api_key": "e"},
    }


def test_the_same_command_again_changes_and_does_not_move_anything(im: Run, daemon: FakeDaemon) -> None:
    line = ["--name", "Production ServiceNow", "--type", "servicenow", "--org", "acme-corp", "--rate-limit", "5"]
    outcome = configure(im, daemon, *line)
    assert (daemon.heard[-1].method, daemon.heard[-1].path) == ("PATCH", "/api/v1/integrations/int_1")
    assert sent(daemon) == {"name": "Production ServiceNow", "rate_limit": 5}
    assert outcome.out == (
        "prod-snow updated (int_1, bidirectional, enabled)\nnext: im integration sync-status prod-snow\n"
    )


def test_a_handle_is_renamed(im: Run, daemon: FakeDaemon) -> None:
    assert configure(im, daemon, "prod-snow", "--handle", "snow").code == 0
    assert sent(daemon) == {"handle": "snow"}


@pytest.mark.parametrize("line", ["prod-snw --enabled", "prod-snw --handle x --base-url https://x.service-now.com"])
def test_a_slip_in_the_handle_makes_no_integration(im: Run, socket_path: Path, line: str) -> None:
    with FakeDaemon(nothing_there, socket_path) as daemon:
        outcome = configure(im, daemon, *line.split())
    assert (outcome.code, outcome.err) == (1, "im: no such integration - none\n")
    assert [heard.method for heard in daemon.heard] == ["GET"]


def test_a_name_that_two_organizations_use_is_not_guessed(im: Run, socket_path: Path) -> None:
    twins: list[Json] = [INTEGRATION, {**INTEGRATION, "id": "int_2", "handle": "other", "organization_id": "b"}]
    with FakeDaemon(lambda heard: Canned(body=twins), socket_path) as daemon:
        outcome = configure(im, daemon, "--name", "Production ServiceNow", "--enabled")
    assert (outcome.code, len(daemon.heard)) == (2, 1)
    assert "prod-snow, other" in outcome.err


def test_a_password_comes_from_a_file(im: Run, daemon: FakeDaemon, tmp_path: Path) -> None:
    (tmp_path / "pw").write_bytes("pässword \n".encode())
    assert configure(im, daemon, "prod-snow", "--username", "u", "--password-file", str(tmp_path / "pw")).code == 0
    assert sent(daemon) == {"credentials": {"username": "u", "password": "pässword "}}


def test_a_client_and_a_user_are_for_the_password_grant(im: Run, daemon: FakeDaemon) -> None:
    line = "--client-id c --client-secret s --username u --password p"
    assert configure(im, daemon, "prod-snow", *line.split()).code == 0
    assert sent(daemon) == {"credentials": {"username": "u", "password": "p", "client_id": "c", "client_secret": "s"}}


def test_a_password_comes_from_standard_input(im: Run, daemon: FakeDaemon) -> None:
    assert configure(im, daemon, "prod-snow", "--username", "u", "--password-stdin", stdin=b"-pw\r\n").code == 0
    assert sent(daemon) == {"credentials": {"username": "u", "password": "-pw"}}


@pytest.mark.parametrize(
    ("flag", "body"),
    [
        ("--api-key-file", {"credentials": {"api_key": "s3cret"}}),
        ("--webhook-secret-file", {"webhook_secret": "s3cret"}),
        ("--password-file", {"credentials": {"username": "u", "password": "s3cret"}}),
        ("--client-secret-file", {"credentials": {"client_id": "c", "client_secret": "s3cret"}}),
    ],
)
@pytest.mark.parametrize("source", ["file", "-"])
def test_each_secret_comes_from_a_file_or_from_standard_input(
    im: Run, daemon: FakeDaemon, tmp_path: Path, flag: str, body: dict[str, Json], source: str
) -> None:
    (tmp_path / "file").write_bytes(b"s3cret\n")
    where = "-" if source == "-" else str(tmp_path / "file")
    user = {"--password-file": ["--username", "u"], "--client-secret-file": ["--client-id", "c"]}.get(flag, [])
    assert configure(im, daemon, "prod-snow", *user, flag, where, stdin=b"s3cret\r\n").code == 0
    assert sent(daemon) == body


def test_a_password_is_asked_for_at_a_terminal(im: Run, daemon: FakeDaemon) -> None:
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return "typed"

    line = ["integration", "configure", "prod-snow", "--username", "u", "--socket", daemon.address]
    assert im(*line, ask_password=ask).code == 0
    assert asked == ["Password of u: "]
    assert sent(daemon) == {"credentials": {"username": "u", "password": "typed"}}
    assert im(*line, ask_password=lambda question: "").code == 2


@pytest.mark.parametrize(
    "line",
    [
        "--username u",
        "--password p --password-stdin",
        "--password-stdin",
        "--password-file /nonexistent/pw",
        "--api-key a --api-key-file b",
        "--api-key-file /nonexistent/key",
        "--webhook-secret a --webhook-secret-file b",
        "--webhook-secret-file -",
        "--api-key-file - --webhook-secret-file -",
        "--username u --password-stdin --webhook-secret-file -",
        "--external-defaults [1]",
        "--external-defaults {broken",
    ],
)
def test_what_cannot_be_used_is_wrong_usage_before_anything_is_sent(im: Run, daemon: FakeDaemon, line: str) -> None:
    outcome = configure(im, daemon, "prod-snow", *line.split())
    assert (outcome.code, daemon.heard) == (2, [])
    assert outcome.err.count("\n") == 1


def test_json_is_what_the_daemon_said(im: Run, socket_path: Path) -> None:
    with FakeDaemon(nothing_there, socket_path) as daemon:
        outcome = configure(im, daemon, "prod-snow", "--name", "N", *NEW, "--format", "json")
    assert json.loads(outcome.out) == ANSWERS["POST", "/api/v1/integrations"].body


def test_another_address_without_credentials_says_that_they_are_cleared_and_how_to_give_them(
    im: Run, socket_path: Path
) -> None:
    moved = {**INTEGRATION, "base_url": "https://moved.service-now.com"}
    with FakeDaemon(
        lambda heard: Canned(body=moved) if heard.method == "PATCH" else by_contract(heard), socket_path
    ) as daemon:
        bare = configure(im, daemon, "prod-snow", "--base-url", "https://moved.service-now.com").out
        whole = configure(im, daemon, "prod-snow", *NEW).out
    assert "the stored credentials were for https://example.service-now.com and have been cleared" in bare
    assert "next: im integration configure prod-snow --username … --password-file …" in bare
    assert "cleared" not in whole


def test_the_help_tells_the_defaults(im: Run) -> None:
    new = " ".join(im("integration", "configure", "--help").out.split())
    assert f"A duration such as {DEFAULTS['conflict_window']}, the default" in new
    assert f"A duration such as {DEFAULTS['transaction_quota']}, the default" in new
    assert f"Requests a second; a new one gets {DEFAULTS['rate_limit']:g}" in new
    assert f"Requests at once; a new one gets {DEFAULTS['max_concurrency']}" in new
    assert "24h if not given" in " ".join(im("integration", "rotate-secret", "--help").out.split())
