from pathlib import Path

import pytest

from syncd.edges.cli import reconcile
from syncd.edges.cli.client import Json
from tests.edges.cli.conftest import Run
from tests.edges.cli.fake_daemon import DRIFT, Canned, FakeDaemon, Heard, run_of

HEALED: Json = {**DRIFT, "healed": True}


@pytest.mark.parametrize(
    ("flags", "run", "code"),
    [
        ("--dry-run", run_of("dry-run"), 0),
        ("--dry-run", run_of("dry-run", DRIFT), 3),
        ("", run_of("report"), 0),
        ("", run_of("report", DRIFT), 3),
        ("--auto-heal", run_of("heal"), 0),
        ("--auto-heal", run_of("heal", HEALED), 0),
        ("--auto-heal", run_of("heal", HEALED, DRIFT), 1),
        ("--auto-heal", run_of("heal", status="stopped"), 1),
        ("--dry-run", run_of("dry-run", status="interrupted"), 1),
    ],
)
@pytest.mark.parametrize("output_format", ["table", "json"])
def test_the_exit_code_says_what_was_found(
    im: Run, socket_path: Path, flags: str, run: Json, code: int, output_format: str
) -> None:
    with FakeDaemon(lambda heard: Canned(body=run), socket_path) as daemon:
        line = ["integration", "reconcile", "prod-snow", *flags.split(), "--format", output_format]
        assert im(*line, "--socket", daemon.address).code == code


def test_the_report_shows_each_drift(im: Run, socket_path: Path) -> None:
    run = run_of("heal", HEALED, DRIFT)
    with FakeDaemon(lambda heard: Canned(body=run), socket_path) as daemon:
        outcome = im("integration", "reconcile", "prod-snow", "--auto-heal", "--socket", daemon.address)
    head, *rows = outcome.out.splitlines()
    assert head == "run-17 finished (heal): 42 links checked, 2 drifts, 1 healed"
    assert "INC-4Q7ZK2M9XD  title  external-changed" in rows[1]


def test_a_run_that_goes_on_is_followed(im: Run, socket_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "POLL_S", 0.001)
    asked: list[str] = []

    def answers(heard: Heard) -> Canned:
        asked.append(f"{heard.method} {heard.path}")
        return Canned(
            202 if len(asked) == 1 else 200, run_of("report", status="running" if len(asked) < 3 else "finished")
        )

    with FakeDaemon(answers, socket_path) as daemon:
        assert im("integration", "reconcile", "prod-snow", "--socket", daemon.address).code == 0
    history = "GET /api/v1/integrations/prod-snow/reconcile/history/run-17"
    assert asked == ["POST /api/v1/integrations/prod-snow/reconcile", history, history]
