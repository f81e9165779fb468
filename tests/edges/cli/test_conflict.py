from tests.edges.cli.conftest import Run
from tests.edges.cli.fake_daemon import FakeDaemon


def test_the_list_shows_both_values(im: Run, daemon: FakeDaemon) -> None:
    row = im("conflict", "list", "--socket", daemon.address).out.splitlines()[1]
    assert row == "conflict-17  INC-4Q7ZK2M9XD  title  pending  1 min ago  Checkout is down | Checkout slow"


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
