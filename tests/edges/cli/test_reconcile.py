import json
from pathlib import Path

import pytest

from tests.edges.cli.conftest import Run
from tests.edges.cli.fake_daemon import Canned, FakeDaemon, Heard, drift_of, run_of

LINE = ["integration", "reconcile", "prod-snow"]
HISTORY = "/api/v1/integrations/prod-snow/reconcile/history/run-17"


def ending(**told: object) -> "Daemon":
    """A daemon whose run ends like this."""
    return Daemon(run_of(**told))  # type: ignore[arg-type]


class Daemon:
    """Begins a run, shows it halfway ``polls`` times, and then as it ended."""

    def __init__(self, ended: object, polls: int = 1) -> None:
        self._ended = ended
        self._left = polls
        self.stopped = False

    def __call__(self, heard: Heard) -> Canned:
        """Answer one request."""
        if heard.path.endswith("/stop"):
            self.stopped = True
            return Canned(body=run_of(status="stopped", reason="stopped by ana", checked=21))
        if heard.method == "POST":
            return Canned(202, run_of(status="running", finished_at=None, checked=0, links=42))
        self._left -= 1
        if self._left >= 0:
            return Canned(body=run_of(status="running", finished_at=None, checked=21, links=42))
        return Canned(body=self._ended)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("flags", "told", "code"),
    [
        ([], {"mode": "report"}, 0),
        ([], {"mode": "report", "found": 1, "drifts": [drift_of()]}, 3),
        (["--dry-run"], {"mode": "dry-run"}, 0),
        (["--dry-run"], {"mode": "dry-run", "found": 1, "drifts": [drift_of()]}, 3),
        (["--dry-run"], {"mode": "dry-run", "status": "stopped"}, 1),
        (["--auto-heal"], {}, 0),
        (["--auto-heal"], {"found": 1, "healed": 1, "drifts": [drift_of(healed=True)]}, 0),
        (["--auto-heal"], {"found": 1, "drifts": [drift_of()]}, 1),
        (["--auto-heal"], {"found": 2, "healed": 1, "drifts": [drift_of(healed=True)], "left_out": 1}, 1),
        (["--auto-heal"], {"found": 2, "healed": 2, "drifts": [drift_of(healed=True)], "left_out": 1}, 0),
        (["--auto-heal"], {"status": "stopped", "reason": "the brake"}, 1),
        (["--auto-heal"], {"status": "interrupted"}, 1),
    ],
)
def test_the_exit_code_says_whether_there_is_drift_or_all_is_healed(
    im: Run, socket_path: Path, flags: list[str], told: dict[str, object], code: int
) -> None:
    with FakeDaemon(ending(**told), socket_path) as daemon:
        assert im(*LINE, *flags, "--socket", daemon.address).code == code


def test_each_drift_is_shown_with_both_values_both_halves_its_cause_and_what_healing_does(
    im: Run, socket_path: Path
) -> None:
    two = [drift_of(), drift_of(field="status", platform="open", external="closed", base="open", base_external="2")]
    told = {"mode": "dry-run", "found": 2, "causes": {"missed-webhook": 2}, "drifts": two}
    with FakeDaemon(ending(**told), socket_path) as daemon:
        out = im(*LINE, "--dry-run", "--socket", daemon.address).out
    assert out == (
        "INC-1  title  missed-webhook\n"
        "  platform    Checkout is down\n"
        "  ServiceNow  Checkout is slow\n"
        "  base        Checkout is down\n"
        "  healing     take over ServiceNow's value\n"
        "\n"
        "INC-1  status  missed-webhook\n"
        "  platform    open\n"
        "  ServiceNow  closed\n"
        "  base        open  (there: 2)\n"
        "  healing     take over ServiceNow's value\n"
        "\n"
        "run-17 (dry-run) finished: 42 links checked, 2 drifts (2 missed-webhook)\n"
    )


def test_a_run_without_drift_is_one_line(im: Run, socket_path: Path) -> None:
    with FakeDaemon(ending(checked=1), socket_path) as daemon:
        out = im(*LINE, "--auto-heal", "--socket", daemon.address).out
    assert out == "run-17 (heal) finished: 1 link checked, no drift\n"


def test_a_run_that_was_stopped_says_why_and_that_it_is_not_all(im: Run, socket_path: Path) -> None:
    with FakeDaemon(
        ending(status="stopped", reason="it would close 30 of 30 links", checked=30), socket_path
    ) as daemon:
        out = im(*LINE, "--auto-heal", "--socket", daemon.address).out
    assert "stopped: 30 links checked, no drift, as far as it came" in out
    assert "reason: it would close 30 of 30 links" in out


def test_json_is_the_run_as_the_daemon_tells_it(im: Run, socket_path: Path) -> None:
    with FakeDaemon(ending(found=1, drifts=[drift_of()]), socket_path) as daemon:
        shown = json.loads(im(*LINE, "--auto-heal", "--format", "json", "--socket", daemon.address).out)
    assert shown == run_of(found=1, drifts=[drift_of()])


def test_ctrl_c_stops_the_run_and_shows_how_far_it_came(im: Run, socket_path: Path) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    answers = Daemon(run_of(), polls=1000)
    with FakeDaemon(answers, socket_path) as daemon:
        outcome = im(*LINE, "--auto-heal", "--socket", daemon.address, sleep_s=interrupt)
    assert (outcome.code, answers.stopped) == (130, True)
    assert "stopped: 21 links checked, no drift, as far as it came\nreason: stopped by ana" in outcome.out


def test_on_a_terminal_the_rate_and_what_remains_are_shown(
    im: Run, socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with FakeDaemon(Daemon(run_of(), polls=3), socket_path) as daemon:
        shown = im(*LINE, "--dry-run", "--socket", daemon.address)
    assert "run-17: 21 of 42 links, 42 a second, 0 s remain" in shown.err
    assert "\r" in shown.err
    assert "remain" not in shown.out


def test_history_is_a_table_with_counts_by_cause_and_how_long_it_took(im: Run, socket_path: Path) -> None:
    runs = [run_of(found=3, causes={"missed-webhook": 2, "duplicate": 1}), run_of(status="stopped", reason="too much")]
    with FakeDaemon(lambda _: Canned(body=runs), socket_path) as daemon:  # type: ignore[arg-type]
        out = im("integration", "reconcile", "history", "prod-snow", "--socket", daemon.address).out
    head, first, second = out.splitlines()
    assert head.split() == ["RUN", "STARTED", "MODE", "BY", "STATUS", "TOOK", "LINKS", "FOUND"]
    assert "1.0 s" in first
    assert first.endswith("1 duplicate, 2 missed-webhook")
    assert second.endswith("too much")
    assert max(map(len, out.splitlines())) <= 100


def test_a_schedule_is_shown_with_its_next_run(im: Run, daemon: FakeDaemon) -> None:
    out = im("integration", "reconcile", "schedule", "prod-snow", "--socket", daemon.address).out
    assert out.splitlines()[0].split() == ["interval", "1h"]
    assert "in 9 min" in out


def test_the_help_shows_every_word_of_it(im: Run) -> None:
    shown = " ".join(im("integration", "reconcile", "--help").out.split())
    for word in ("--dry-run", "--auto-heal", "--force", "history", "schedule", "exit code is 3"):
        assert word in shown
