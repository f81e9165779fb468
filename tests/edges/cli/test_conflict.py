from pathlib import Path

from syncd.edges.cli.client import Json
from tests.edges.cli.conftest import Run
from tests.edges.cli.fake_daemon import CONFLICT, Canned, FakeDaemon


def test_the_list_shows_both_values(im: Run, daemon: FakeDaemon) -> None:
    row = im("conflict", "list", "--socket", daemon.address).out.splitlines()[1]
    assert row == "conflict-17  INC-4Q7ZK2M9XD  title  pending  1 min ago  Checkout is down | Checkout slow"


def test_the_list_of_settled_ones_says_what_decided(im: Run, socket_path: Path) -> None:
    settled: Json = [{**CONFLICT, "status": "resolved", "decided": "platform: order-unknown"}]
    with FakeDaemon(lambda heard: Canned(body=settled), socket_path) as daemon:
        head, *row = im("conflict", "list", "--status", "all", "--socket", daemon.address).out.splitlines()
    assert head.endswith("PLATFORM | EXTERNAL -> DECIDED")
    assert "resolved" in row[0]
    assert " ".join(" ".join(row).split()).endswith("Checkout is down | Checkout slow -> platform: order-unknown")


def test_a_long_value_is_cut_in_the_list_and_whole_where_one_is_shown(im: Run, socket_path: Path) -> None:
    long: Json = {**CONFLICT, "platform": "x" * 5000, "would_write": {"use_platform": {"record": {"a": "x" * 5000}}}}
    answers: list[Json] = [[long], long]
    with FakeDaemon(lambda heard: Canned(body=answers.pop(0)), socket_path) as daemon:
        listed = im("conflict", "list", "--socket", daemon.address).out
        shown = im("conflict", "show", "conflict-17", "--socket", daemon.address).out
    assert "x" * 79 + "…" in "".join(listed.split())
    assert "x" * 5000 in "".join(shown.split())
    assert f"a={'x' * 199}…" in "".join(shown.split())


def test_an_empty_value_is_said_to_be_empty(im: Run, socket_path: Path) -> None:
    with FakeDaemon(lambda heard: Canned(body={**CONFLICT, "base": "", "external": ""}), socket_path) as daemon:
        lines = im("conflict", "show", "conflict-17", "--socket", daemon.address).out.splitlines()
    facts = {line.split()[0]: line.split(None, 1)[1] for line in lines}
    assert (facts["base"], facts["external"], facts["decided"]) == ("(empty)", "(empty)", "-")


def test_resolving_says_what_stands(im: Run, daemon: FakeDaemon) -> None:
    line = ["conflict", "resolve", "conflict-17", "--use-platform", "--if-match", "1", "--socket", daemon.address]
    assert im(*line).out == "conflict-17 resolved: title of INC-4Q7ZK2M9XD is the platform's now\n"
    assert daemon.heard[0].headers["if-match"] == '"1"'
    assert im("conflict", "ignore", "conflict-17", "--socket", daemon.address).out == (
        "conflict-17 ignored, both values stay as they are\n"
    )


def test_a_value_may_be_empty_or_begin_with_a_dash(im: Run, daemon: FakeDaemon) -> None:
    for value in ("", "- none -"):
        im("conflict", "resolve", "conflict-17", "--value", value, "--socket", daemon.address)
    assert [heard.body for heard in daemon.heard] == [{"value": ""}, {"value": "- none -"}]


def test_a_conflict_is_shown_with_its_rule_and_what_each_choice_would_write(im: Run, daemon: FakeDaemon) -> None:
    lines = im("conflict", "show", "conflict-17", "--socket", daemon.address).out.splitlines()
    facts = {line.split()[0]: line.split(None, 1)[1] for line in lines}
    assert (facts["integration_id"], facts["integration"]) == ("int_1", "prod-snow")
    assert facts["base"] == "Checkout"
    assert (facts["platform"], facts["platform_by"]) == ("Checkout is down", "ana")
    assert (facts["external"], facts["external_by"]) == ("Checkout slow", "beth.anglin")
    assert facts["external_from"] == "2026-11-24 09:12:57Z (1 min ago)"
    assert facts["external_at"] == "2026-11-24 09:12:59Z (1 min ago)"
    assert facts["rule"] == "manual-review, window 5s, owner platform (priority 1): a person decides"
    assert facts["--use-platform"] == "writes the record: short_description=Checkout is down"
    assert facts["--use-external"] == "writes the incident: title=Checkout slow"
