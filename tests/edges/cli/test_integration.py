import json
from pathlib import Path

from tests.edges.cli.conftest import Run
from tests.edges.cli.fake_daemon import Canned, FakeDaemon


def test_the_webhook_script_is_printed_as_it_came(im: Run, daemon: FakeDaemon) -> None:
    outcome = im("integration", "webhook-script", "prod-snow", "--socket", daemon.address)
    assert outcome.out == "(function () {\n\treturn 1;\n})();\n"
    assert daemon.heard[0].headers["accept"] == "text/javascript"
    as_json = im("integration", "webhook-script", "prod-snow", "--format", "json", "--socket", daemon.address)
    assert json.loads(as_json.out)["version"] == 1


def test_a_dead_letter_shows_the_words_of_servicenow_and_the_remedy(im: Run, daemon: FakeDaemon) -> None:
    outcome = im("integration", "dlq", "prod-snow", "--socket", daemon.address)
    words = " ".join(outcome.out.split())
    assert "entry-17 INC-4Q7ZK2M9XD status 1 14 min ago - HTTP 403: refused: Operation Failed" in words
    assert "then retry -> would send state=6" in words


def test_retrying_says_what_is_queued(im: Run, daemon: FakeDaemon) -> None:
    line = ["integration", "dlq-retry", "prod-snow", "--socket", daemon.address]
    assert im(*line, "--all").out == "queued again: 1\n"
    assert im(*line, "entry-17").out == "entry-17 is queued again\n"


def test_a_rotated_secret_is_shown_once_with_the_end_of_the_old_one(im: Run, daemon: FakeDaemon) -> None:
    lines = im("integration", "rotate-secret", "prod-snow", "--socket", daemon.address).out.splitlines()
    assert lines[0] == "webhook secret, not shown again: wh-new"
    assert lines[1] == "the old one is valid until 2026-11-25 09:14:06Z (in 23 h)"


def test_empty_lists_say_so_and_are_empty_in_json(im: Run, socket_path: Path) -> None:
    with FakeDaemon(lambda heard: Canned(body=[]), socket_path) as daemon:
        for line in ("integration list", "integration links x", "integration dlq x", "conflict list", "token list"):
            assert im(*line.split(), "--socket", daemon.address).out.startswith("no ")
            assert im(*line.split(), "--format", "json", "--socket", daemon.address).out == "[]\n"


def test_deleting_prints_json_too(im: Run, daemon: FakeDaemon) -> None:
    assert im("integration", "delete", "prod-snow", "--socket", daemon.address).out == "prod-snow deleted\n"
    outcome = im("integration", "delete", "prod-snow", "--format", "json", "--socket", daemon.address)
    assert json.loads(outcome.out) == {"deleted": True}


def test_a_name_with_blanks_reaches_its_integration(im: Run, daemon: FakeDaemon) -> None:
    im("integration", "get", "Production ServiceNow", "--socket", daemon.address)
    assert daemon.heard[0].path == "/api/v1/integrations/Production%20ServiceNow"


def test_linking_and_unlinking_say_what_was_done(im: Run, daemon: FakeDaemon) -> None:
    line = ["--socket", daemon.address]
    assert im("integration", "link", "prod-snow", "INC-1", "a" * 32, *line).out == "INC-1 linked to INC0010023\n"
    outcome = im("integration", "unlink", "prod-snow", "INC-1", *line)
    assert outcome.out == "INC-1 unlinked; both sides stay as they are, and apart until you link them again\n"
    as_json = im("integration", "unlink", "prod-snow", "INC-1", "--format", "json", *line)
    assert json.loads(as_json.out) == {"unlinked": True}


def test_discarding_says_how_long_the_difference_stays(im: Run, daemon: FakeDaemon) -> None:
    assert "until the next edit of those fields" in " ".join(im("integration", "dlq-discard", "--help").out.split())
    outcome = im("integration", "dlq-discard", "prod-snow", "entry-17", "--socket", daemon.address)
    assert outcome.out == "entry-17 discarded; its fields stay different until the next edit of them\n"


def test_a_filtered_list_that_is_empty_does_not_say_that_there_is_nothing(im: Run, socket_path: Path) -> None:
    with FakeDaemon(lambda heard: Canned(body=[]), socket_path) as daemon:
        line = ["integration", "list", "--socket", daemon.address]
        assert im(*line).out == "no integrations; make one: im integration configure\n"
        assert im(*line, "--type", "jira").out == "no integrations of that kind; see all: im integration list\n"
