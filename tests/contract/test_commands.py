"""Every word of the command line with its exit code, through `im` and the daemon's real socket.

0 done; 1 refused, or a check found something; 2 wrong usage; 4 no daemon. What is promised for a later version is
refused by name with 1.
"""

import json
import shlex
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trio

from syncd.edges.cli.main import run
from syncd.edges.cli.session import World
from tests.core.picture import INC, SYS_ID
from tests.edges.api.daemon import SNOW, Daemon, running
from tests.edges.api.live import listening
from tests.edges.api.test_conflicts import pictured
from tests.edges.cli.conftest import NOW_S, Outcome

Im: TypeAlias = Callable[..., Coroutine[Any, Any, Outcome]]

# In this order on one daemon, all of them for a person and then for a program; those that can be done once, at the end.
LINES = [
    "status",
    "declare --title T --sev SEV-2 --service S --description D --org acme",
    "incident list",
    "incident list --org acme --status open --sev 3 -q down --integration prod --limit 5",
    f"incident show {INC}",
    f"incident update {INC} --title 'Down here' --description D --severity 1 --status mitigated --assigned-to ana",
    f"incident note {INC} 'failed over'",
    f"incident notes {INC}",
    f"incident resolve {INC} --code Solved --notes 'rolled back'",
    f"incident close {INC}",
    f"incident timeline {INC}",
    f"incident explain {INC}",
    f"incident explain {INC} --field title",
    f"integration configure other --name Other --type servicenow --org acme --base-url {SNOW} --direction bidirectional"
    " --username api --password pass-word-1 --webhook-secret s --conflict-strategy manual-review --no-enabled",
    "integration configure other --enabled",
    "integration list",
    "integration get prod",
    "integration get int_A",
    "integration sync-status prod",
    "integration test prod",
    "integration test prod --write-check",
    "integration links prod",
    "integration webhook-script prod",
    "integration rotate-secret other",
    "integration field-mapping set prod service --external-field u_service",
    "integration field-mapping list prod",
    "integration field-mapping delete prod service",
    "integration reconcile prod --auto-heal",
    "integration reconcile prod --auto-heal --force",
    "integration reconcile history prod",
    "integration reconcile history prod run-5",
    "integration reconcile schedule prod --interval 1h --auto-heal",
    "integration reconcile schedule prod",
    "integration reconcile schedule prod --no-enabled",
    "integration import prod --query 'active=true^priority<3' --dry-run",
    "integration field-ownership set prod severity --owner platform --priority 10",
    "integration field-ownership set prod work_notes --owner external --priority 5 --exclusive",
    "integration field-ownership list prod",
    "integration field-ownership delete prod severity",
    "integration dlq prod",
    "integration dlq-retry prod --all",
    "conflict list",
    f"conflict list --integration prod --status all --incident {INC}",
    "conflict show conflict-1",
    "token create --scope read --name bot",
    "token list",
    "keys list",
]
ONCE = [
    "conflict resolve conflict-1 --use-platform",
    "integration dlq-retry prod entry-2",
    "integration dlq-discard prod entry-3",
    f"integration unlink prod {INC}",
    f"integration link prod {INC} {SYS_ID}",
    "integration delete other",
]
REFUSED = [
    "incident show INC-NONE",
    "incident update INC-NONE --title x",
    f"incident update {INC} --title x --if-match 9",
    f"incident update {INC} --severity 7",
    "incident note INC-NONE x",
    "incident resolve INC-NONE",
    "incident close INC-NONE",
    "incident timeline INC-NONE",
    "incident explain INC-NONE",
    f"incident explain {INC} --field x",
    "watch --since x",
    "watch --since 99999",
    "watch --incident INC-NONE",
    "watch --type x",
    "declare --title T --sev 7",
    "integration get none",
    "integration sync-status none",
    "integration test none",
    "integration links none",
    f"integration link prod INC-NONE {SYS_ID}",
    "integration unlink prod INC-NONE",
    "integration webhook-script none",
    "integration rotate-secret none",
    "integration reconcile none --auto-heal",
    "integration reconcile history prod run-99",
    "integration reconcile schedule other",
    "integration import none --query active=true",
    "integration import prod --query opened_atONToday",
    "integration dlq none",
    "integration dlq-retry prod entry-99",
    "integration dlq-discard prod entry-99",
    "integration delete none",
    "integration field-ownership set prod colour --owner platform",
    "integration field-ownership delete none title",
    "conflict show conflict-99",
    "conflict resolve conflict-99 --use-external",
    "conflict ignore conflict-99",
    "token revoke none",
]
WRONG = [
    "nonsense",
    "incident nonsense",
    "incident show",
    "incident list --nonsense",
    "incident update",
    "declare --title T",
    "integration get",
    "integration import prod",
    "integration reconcile prod --nonsense",
    "integration reconcile prod --force",
    "integration dlq-retry prod",
    "conflict resolve conflict-1",
    "conflict resolve conflict-1 --use-platform --use-external",
    "token create --scope everything",
    "incident list --format xml",
]


@pytest.fixture
def im(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Im:
    """``await im(line)``: run a command line in a world whose daemon is at ``tmp_path / "s"``."""

    async def call(line: str) -> Outcome:
        world = World(
            environ={"INCIDENTS_SOCKET": str(tmp_path / "s"), "INCIDENTS_STATE_DIR": str(tmp_path / "state")},
            user_id=1000,
            now_s=NOW_S,
            new_key=lambda: line,
            read_stdin=bytes,
            ask_password=None,
            sleep_s=lambda _: None,
        )
        capsys.readouterr()
        code = await trio.to_thread.run_sync(run, shlex.split(line), world)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@asynccontextmanager
async def reachable(tmp_path: Path) -> AsyncIterator[Daemon]:
    """The pictured daemon behind the socket that ``im`` looks for."""
    async with running() as daemon:
        await pictured(daemon)
        async with listening(daemon, tmp_path / "s"):
            yield daemon


async def test_every_command_ends_with_0_and_prints_something_for_people_and_json_for_programs(
    im: Im, tmp_path: Path
) -> None:
    async with reachable(tmp_path):
        for line in LINES:
            shown = await im(line)
            warned = [words for words in shown.err.splitlines() if " is seen by others in ps" not in words]
            assert (shown.code, warned) == (0, []), (line, shown)
            assert shown.out, line
        for line in (*LINES, *ONCE):
            asked = await im(f"{line} --format json")
            assert asked.code == 0, (line, asked)
            json.loads(asked.out)
        made = json.loads((await im("token create --scope read --format json")).out)
        assert (await im(f"token revoke {made['id']}")).code == 0


async def test_drift_that_is_only_reported_is_3(im: Im, tmp_path: Path) -> None:
    async with reachable(tmp_path):
        for line in ("integration reconcile prod", "integration reconcile prod --dry-run"):
            shown = await im(line)
            assert (shown.code, shown.err) == (3, ""), (line, shown)
            assert "missed-webhook" in shown.out


async def test_a_created_or_changed_thing_is_printed_as_the_api_shows_it(im: Im, tmp_path: Path) -> None:
    async with reachable(tmp_path) as daemon:
        incident = json.loads((await im("declare --title T --sev 1 --format json")).out)
        assert incident == (await daemon.socket.get(f"/api/v1/incidents/{incident['id']}")).json()
        for line in (f"incident update {incident['id']} --title U", f"incident close {incident['id']}"):
            changed = json.loads((await im(f"{line} --format json")).out)
            assert changed == (await daemon.socket.get(f"/api/v1/incidents/{incident['id']}")).json()


@pytest.mark.parametrize(("lines", "code"), [(REFUSED, 1), (WRONG, 2)], ids=["refused", "usage"])
async def test_what_cannot_be_is_one_line_and_changes_nothing(
    im: Im, tmp_path: Path, lines: list[str], code: int
) -> None:
    async with reachable(tmp_path) as daemon:
        before = daemon.journal.state.position
        for line in lines:
            outcome = await im(line)
            assert (outcome.code, outcome.out) == (code, ""), (line, outcome)
            assert outcome.err.startswith("im: ")
            assert outcome.err.count("\n") == 1, line
        assert daemon.journal.state.position == before


async def test_without_a_daemon_everything_that_needs_one_is_4(im: Im) -> None:
    for line in LINES:
        outcome = await im(line)
        assert (outcome.code, outcome.out) == (4, ""), (line, outcome)
        assert outcome.err.count("\n") == 1


async def test_a_support_bundle_is_made_with_a_daemon_and_without(im: Im, tmp_path: Path) -> None:
    for number, line in enumerate(("support-bundle", "support-bundle --include-text --format json")):
        async with reachable(tmp_path):
            beside = await im(f"{line} --output {tmp_path / f'beside-{number}'}")
        alone = await im(f"{line} --output {tmp_path / f'alone-{number}'}")
        assert (beside.code, alone.code, beside.err, alone.err) == (0, 0, "", "")
        assert json.loads((tmp_path / f"beside-{number}").read_text())["daemon"] is not None
        assert json.loads((tmp_path / f"alone-{number}").read_text())["daemon"] is None


async def test_the_journal_is_read_from_its_files_and_a_folder_without_one_is_1(im: Im) -> None:
    for line in (
        "journal info",
        "journal verify",
        "journal tail",
        "journal show 1",
        "journal replay",
        "journal repair",
    ):
        outcome = await im(line)
        assert (outcome.code, outcome.out) == (1, ""), (line, outcome)
