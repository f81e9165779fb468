"""`im integration field-ownership`: the product page's lines as printed, and what is refused before it is sent."""

import pytest

from tests.edges.cli.conftest import Run
from tests.edges.cli.fake_daemon import FakeDaemon

PAGE = [
    ("severity", "platform", 10),
    ("title", "platform", 10),
    ("assigned_to", "external", 5),
    ("work_notes", "external", 5),
]


@pytest.mark.parametrize(("field", "owner", "priority"), PAGE)
def test_the_lines_of_the_product_page_work_as_printed(
    im: Run, daemon: FakeDaemon, field: str, owner: str, priority: int
) -> None:
    line = f"integration field-ownership set prod-snow {field} --owner {owner} --priority {priority}"
    outcome = im(*line.split(), "--socket", daemon.address)
    assert (outcome.code, outcome.out) == (0, f"{field} is owned by {owner}, priority {priority}\n")
    (heard,) = daemon.heard
    assert (heard.method, heard.path) == ("PUT", f"/api/v1/integrations/prod-snow/field-ownership/{field}")
    assert heard.body == {"owner": owner, "priority": priority, "exclusive": False}


def test_exclusive_is_said_and_a_priority_need_not_be_given(im: Run, daemon: FakeDaemon) -> None:
    line = ["integration", "field-ownership", "set", "prod-snow", "title", "--owner", "platform", "--exclusive"]
    assert im(*line, "--socket", daemon.address).out == "title is owned by platform, priority 1, exclusive\n"


def test_the_list_says_what_is_set_and_what_has_no_effect(im: Run, daemon: FakeDaemon) -> None:
    lines = im("integration", "field-ownership", "list", "prod-snow", "--socket", daemon.address).out.splitlines()
    assert lines[0].split() == ["FIELD", "OWNER", "PRIORITY", "EXCLUSIVE", "RULE", "EFFECT"]
    assert lines[1].split() == ["title", "platform", "10", "yes", "set", "-"]
    assert lines[2].split() == ["work_notes", "external", "1", "no", "default", "none:", "notes"]


def test_a_default_is_restored(im: Run, daemon: FakeDaemon) -> None:
    outcome = im("integration", "field-ownership", "delete", "prod-snow", "title", "--socket", daemon.address)
    assert outcome.out == "default restored: title is owned by platform, priority 1\n"
    assert daemon.heard[0].method == "DELETE"


@pytest.mark.parametrize("rest", ["", "--owner servicenow", "--owner platform --priority high"])
def test_a_rule_without_a_side_or_a_number_is_wrong_usage(im: Run, daemon: FakeDaemon, rest: str) -> None:
    line = ["integration", "field-ownership", "set", "prod-snow", "title", *rest.split()]
    outcome = im(*line, "--socket", daemon.address)
    assert (outcome.code, daemon.heard) == (2, [])
