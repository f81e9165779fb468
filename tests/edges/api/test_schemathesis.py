"""The API keeps its own description: schemathesis calls every path of the running doors, well and badly, and looks.

Its settings and the reason for each exception are in ``schemathesis.toml``; ``schemathesis_hooks.py`` knows what no
description can tell. It runs as a process of its own, since it brings hooks and threads of its own.
"""

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import msgspec
import pytest
import trio

from syncd.core.events import Merged, Observed
from tests.core.picture import LINK, conflict, seen
from tests.edges.api.daemon import Daemon, running
from tests.edges.api.live import listening
from tests.edges.api.test_conflicts import happen, pictured

HERE = Path(__file__).parent
ST = str(Path(sys.executable).parent / "st")
SECRET = "a-webhook-secret"


@asynccontextmanager
async def furnished(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Daemon, dict[str, Any]]]:
    """A daemon with something of everything, and its description."""
    # The run tries out wrong tokens, far more than a person who mistypes one.
    monkeypatch.setattr("syncd.edges.api.access.WRONG_TOKENS_MAX", 10**6)
    async with running() as daemon:
        await pictured(daemon)
        begun = await daemon.socket.post("/api/v1/integrations/prod/reconcile", json={})
        assert begun.json()["id"] == "run-4"
        spare = conflict(id="conflict-4", field="severity", platform="SEV-3", external="SEV-2")
        shown = seen(short_description="Down there", impact="1", priority="2")
        await happen(daemon, Observed(LINK, shown), Merged(LINK, (), conflicts=(spare,)))
        await daemon.configure(name="Signed", handle="signed", organization_id="acme", webhook_secret=SECRET)
        await daemon.configure(name="Spare", handle="spare", organization_id="acme")
        daemon.desk.stopping.set()  # so that the stream of events ends, which it is read to
        yield daemon, (await daemon.socket.get("/api/v1/openapi.json")).json()


async def run(daemon: Daemon, document: dict[str, Any], folder: Path, *words: str) -> CompletedProcess[bytes]:
    """Run schemathesis against the daemon; its exit code is 1 when it found something."""
    file = folder / "openapi.json"
    file.write_bytes(msgspec.json.encode(lightened(document)))
    environ = os.environ | {
        "SYNCD_HOOKS": str(HERE / "schemathesis_hooks.py"),
        "SYNCD_TOKEN": await daemon.token("admin"),
        "SYNCD_WEBHOOK_SECRET": SECRET,
        "SYNCD_NOW": str(int(daemon.clock.now_s())),
    }
    async with listening(daemon) as url:
        command = [ST, "--config-file", str(HERE / "schemathesis.toml"), "run", str(file), "--url", url, *words]
        return await trio.run_process(
            command, env=environ, cwd=folder, capture_stdout=True, capture_stderr=True, check=False
        )


async def test_schemathesis_finds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with furnished(monkeypatch) as (daemon, document):
        done = await run(daemon, document, tmp_path)
    told = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 0, told
    assert "WARNINGS" not in told, told  # such as a path that never answered with a 2xx
    operations = sum(len(methods) for methods in document["paths"].values())
    assert f"Tested: {operations}" in told, told
    for phase in ("Coverage", "Fuzzing", "Stateful"):
        assert f"✅ {phase}" in told, told


def say_there_is_a_sev_9(form: dict[str, Any]) -> None:
    form["properties"]["severity"] = {"enum": ["SEV-1", "SEV-2", "SEV-9"]}


def say_the_service_is_required(form: dict[str, Any]) -> None:
    form["required"].append("service")


@pytest.mark.parametrize(
    ("lie", "found"),
    [
        (say_there_is_a_sev_9, "Schema-valid request rejected"),
        (say_the_service_is_required, "Schema-violating request accepted"),
    ],
)
async def test_schemathesis_would_notice_a_description_that_is_not_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: Callable[[dict[str, Any]], None], found: str
) -> None:
    """Otherwise the test above proves nothing."""
    async with furnished(monkeypatch) as (daemon, document):
        lie(document["paths"]["/api/v1/incidents"]["post"]["requestBody"]["content"]["application/json"]["schema"])
        only = ("--include-operation-id", "declare_an_incident", "--phases", "coverage", "--continue-on-failure")
        done = await run(daemon, document, tmp_path, *only)
    assert done.returncode == 1, done.stdout.decode()
    assert found in done.stdout.decode(), done.stdout.decode()


def lightened(form: object) -> object:
    """The description without its longest limits and its examples.

    Texts of 100,000 letters take seconds to make; ``tests/contract`` tries those limits. Where there is an example of a
    body, the coverage phase tries little else; that they are right is shown in ``test_openapi.py``.
    """
    if isinstance(form, list):
        return [lightened(part) for part in form]
    if not isinstance(form, dict):
        return form
    without = {"example"} & form.keys()
    if isinstance(longest := form.get("maxLength"), int) and longest > 5000:
        without.add("maxLength")
    return {name: lightened(part) for name, part in form.items() if name not in without}
