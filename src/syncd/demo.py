"""``syncd demo``: the whole system on this machine, and a short story told with times.

Starts the simulator and the daemon as the processes that a user would start, configures an integration through ``im``,
and then plays both sides: `im` for the SREs, the simulator's control API for the service desk. Every duration is from
the moment a change was made to the moment the other side shows it. Ends the processes it started, and only those.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

import httpx
import trio

from syncd.seams import SystemClock

HANDLE: Final = "prod-snow"
ACCOUNT: Final = ("svc.sync", "sync-secret")
WEBHOOK_SECRET: Final = "demo-webhook-secret"  # noqa: S105 of a demonstration on loopback
PORT: Final = 8080
LOGGING: Final = ("INCIDENTS_LOG_LEVEL", "INCIDENTS_SYNC_TRACE")
STEP_S_MAX: Final = 5.0
START_S_MAX: Final = 30.0
LOOK_EVERY_S: Final = 0.02
STOP_S_MAX: Final = 12.0


class StepFailed(Exception):
    """A step of the story did not come true in time."""


class Narrator:
    """Lines for a person: colours on a terminal, plain text in a pipe. ``is_done``: the story came to a good end."""

    def __init__(self) -> None:
        self.is_done = False
        self._colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def say(self, text: str = "") -> None:
        """One line."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def step(self, side: str, deed: str, other: str, shown: str, took_s: float) -> None:
        """Which side changed, what, and how long the other side took to show it."""
        colour = "36" if side == "platform" else "35"
        self.say(f"{self._in(colour, f'{side:<10}')} {deed}")
        good = "32" if took_s <= STEP_S_MAX else "31"
        self.say(f"{'':<10} -> {other}: {shown} {self._in(good, f'after {took_s:.2f} s')}")

    def _in(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours else text


class Stage:
    """Both sides, as their own people reach them."""

    def __init__(self, folder: Path, port: int, simulator_port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.simulator_url = f"http://127.0.0.1:{simulator_port}"
        self.socket = folder / "syncd.sock"
        self.log = folder / "serve.log"
        # Without what is set for another daemon: `im` would configure that one. What ours is to log may be said.
        own = {
            name: value for name, value in os.environ.items() if not name.startswith("INCIDENTS_") or name in LOGGING
        }
        self.environ = own | {
            "INCIDENTS_AUTH": "none",
            "INCIDENTS_LISTEN": f"127.0.0.1:{port}",
            "INCIDENTS_SOCKET": str(self.socket),
            "INCIDENTS_STATE_DIR": str(folder / "state"),
            "INCIDENTS_MASTER_KEY_FILE": str(folder / "master.key"),
            "INCIDENTS_PUBLIC_URL": self.url,
        }
        self.web = httpx.AsyncClient(trust_env=False, timeout=STEP_S_MAX)

    async def im(self, *words: str) -> dict[str, object]:
        """Run an ``im`` command and return the object that it prints."""
        command = [str(Path(sys.executable).parent / "im"), *words, "--format", "json"]
        done = await trio.run_process(command, env=self.environ, capture_stdout=True, capture_stderr=True, check=False)
        if done.returncode:
            raise StepFailed(f"im {' '.join(words)}: {done.stderr.decode().strip()}")
        answer: dict[str, object] = json.loads(done.stdout)
        return answer

    async def control(self, method: str, path: str, body: Mapping[str, object] | None = None) -> object:
        """One request to the simulator's control API."""
        answer = await self.web.request(method, f"{self.simulator_url}/control{path}", json=body)
        answer.raise_for_status()
        return answer.json()

    async def record_for(self, incident_id: str) -> dict[str, str] | None:
        """The ServiceNow record that carries an incident's correlation id."""
        rows = await self.control("GET", "/incidents")
        assert isinstance(rows, list)  # noqa: S101 our own simulator
        return next((row for row in rows if str(row["correlation_id"]).endswith(f":{incident_id}")), None)

    async def incident(self, incident_id: str) -> dict[str, object]:
        """The incident as the HTTP API shows it."""
        answer = await self.web.get(f"{self.url}/api/v1/incidents/{incident_id}")
        answer.raise_for_status()
        shown: dict[str, object] = answer.json()
        return shown


async def run_demo(once: bool, seed: int) -> int:
    """Start everything, tell the story, and stay up unless ``once``. 0, or 1 when a step failed or took too long.

    SIGINT and SIGTERM end it at any moment, with the processes it started: 0 after the story, 1 before its end.
    """
    tell = Narrator()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as stops:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_at_signal, stops, nursery.cancel_scope, tell)
            await _perform(tell, once, seed)
            nursery.cancel_scope.cancel()
    return 0 if tell.is_done else 1


async def _cancel_at_signal(stops: AsyncIterator[int], scope: trio.CancelScope, tell: Narrator) -> None:
    async for _ in stops:
        tell.say("\nStopping.")
        scope.cancel()


async def _perform(tell: Narrator, once: bool, seed: int) -> None:
    with tempfile.TemporaryDirectory(prefix="syncd-demo-") as folder:
        stage = Stage(Path(folder), _free_port(PORT), _free_port(0))
        if not stage.url.endswith(f":{PORT}"):
            tell.say(f"Port {PORT} is taken, so the API is at {stage.url}.")
        try:
            async with _running(stage, seed, Path(folder)):
                slowest_s = await _story(stage, tell)
                tell.say(f"\nDone. The slowest step took {slowest_s:.2f} s; the promise is {STEP_S_MAX:g} s.")
                tell.is_done = slowest_s <= STEP_S_MAX
                if not once:
                    _invite(stage, tell)
                    await trio.sleep_forever()
        except StepFailed as failure:
            tell.say(f"\nFailed: {failure}")
        except httpx.HTTPError as failure:
            tell.say(f"\nFailed: {type(failure).__name__}: {failure}")


def _free_port(wanted: int) -> int:
    """``wanted`` if nobody listens there, else any free one."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            number: int = probe.getsockname()[1]
            return number
    raise StepFailed("no free loopback port")


@asynccontextmanager
async def _running(stage: Stage, seed: int, folder: Path) -> AsyncIterator[None]:
    """The simulator and the daemon, as processes, from ready to stopped."""
    port = stage.simulator_url.rpartition(":")[2]
    simulator = ["simulator", "--port", port, "--seed", str(seed), "--user", ":".join(ACCOUNT)]
    processes: list[trio.Process] = []
    try:
        for name, words in (("simulator", simulator), ("serve", ["serve"])):
            with (folder / f"{name}.log").open("wb") as log:
                command = [sys.executable, "-m", "syncd", *words]
                process = await trio.lowlevel.open_process(
                    command, env=stage.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            processes.append(process)
        await _answers(stage, f"{stage.simulator_url}/control/faults", processes[0], folder / "simulator.log")
        await _answers(stage, f"{stage.url}/ready", processes[1], stage.log)
        yield
    finally:
        with trio.move_on_after(STOP_S_MAX, shield=True):
            await stage.web.aclose()
            for process in reversed(processes):
                process.terminate()
                await process.wait()
        for process in processes:
            if process.returncode is None:
                process.kill()


async def _answers(stage: Stage, url: str, process: trio.Process, log: Path) -> None:
    with trio.move_on_after(START_S_MAX):
        while process.poll() is None:
            try:
                if (await stage.web.get(url)).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            await trio.sleep(LOOK_EVERY_S)
    why = "has ended" if process.poll() is not None else f"did not answer within {START_S_MAX:g} s"
    raise StepFailed(f"what is to serve {url} {why}. Its log ends: {_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-500:]


async def _story(stage: Stage, tell: Narrator) -> float:
    """Configure, then four changes in turn; returns the longest time, in seconds, that the other side took."""
    clock = SystemClock()
    tell.say("Setting up: im integration configure prod-snow --name 'Demo ServiceNow' --org demo ...")
    made = await stage.im(
        *("integration", "configure", HANDLE, "--name", "Demo ServiceNow", "--type", "servicenow", "--org", "demo"),
        *("--base-url", stage.simulator_url, "--direction", "bidirectional"),
        *("--username", ACCOUNT[0], "--password", ACCOUNT[1], "--webhook-secret", WEBHOOK_SECRET),
        *("--external-defaults", json.dumps({"close_code": "Solution provided", "close_notes": "Resolved by SRE"})),
    )
    hook = f"{stage.url}/api/v1/webhooks/{made['id']}"
    await stage.control("POST", "/webhook", {"url": hook, "secret": WEBHOOK_SECRET})
    tell.say()

    async def until(look: Callable[[], Awaitable[object]], since_s: float, what: str) -> float:
        """Look until it is so; returns the seconds since ``since_s``."""
        with trio.move_on_after(STEP_S_MAX * 2):
            while not await look():  # noqa: ASYNC110 the other side is another process: it can only be looked at
                await trio.sleep(LOOK_EVERY_S)
            return max(0.0, clock.now_s() - since_s)
        raise StepFailed(f"{what} within {STEP_S_MAX * 2:g} s")

    slowest_s = 0.0
    declared_s = clock.now_s()
    incident = await stage.im("declare", "--org", "demo", "--title", "Checkout latency", "--sev", "SEV-2")
    incident_id = str(incident["id"])
    declared_s = max(declared_s, _stamp_s(incident["created_at"]))
    took_s = await until(lambda: stage.record_for(incident_id), declared_s, "no record appeared in ServiceNow")
    record = await stage.record_for(incident_id) or {}
    number = record.get("number", "")
    deed = f"im declare --title 'Checkout latency' --sev SEV-2 -> {incident_id}"
    tell.step("platform", deed, "ServiceNow", f"{number} is there", took_s)
    slowest_s = max(slowest_s, took_s)

    async def shows(**fields: str) -> bool:
        shown = await stage.incident(incident_id)
        return all(shown[name] == value for name, value in fields.items())

    async def holds(**columns: str) -> bool:
        row = await stage.record_for(incident_id) or {}
        return all(row.get(name) == value for name, value in columns.items())

    title = "Checkout latency: payment gateway times out"
    edited_s = clock.now_s()
    edit = {"as_user": "beth.anglin", "fields": {"state": "2", "short_description": title}}
    await stage.control("POST", f"/incidents/{number}/edit", edit)
    took_s = await until(lambda: shows(title=title, status="open"), edited_s, "the platform did not follow")
    deed = f"Beth Anglin sets {number} In Progress and rewrites its short description"
    tell.step("ServiceNow", deed, "platform", f"title is '{title}', status stays open", took_s)
    slowest_s = max(slowest_s, took_s)

    incident = await stage.im("incident", "update", incident_id, "--severity", "SEV-1")
    changed_s = _stamp_s(incident["updated_at"])
    took_s = await until(lambda: holds(priority="1", state="2"), changed_s, "ServiceNow did not follow")
    deed = f"im incident update {incident_id} --severity SEV-1"
    tell.step("platform", deed, "ServiceNow", f"{number} has priority 1 and is still In Progress", took_s)
    slowest_s = max(slowest_s, took_s)

    incident = await stage.im("incident", "resolve", incident_id, "--notes", "gateway rolled back")
    resolved_s = _stamp_s(incident["updated_at"])
    took_s = await until(lambda: holds(state="6"), resolved_s, "ServiceNow does not show Resolved")
    deed = f"im incident resolve {incident_id} --notes 'gateway rolled back'"
    tell.step("platform", deed, "ServiceNow", f"{number} is Resolved, with close code and notes", took_s)
    return max(slowest_s, took_s)


def _stamp_s(text: object) -> float:
    """Unix seconds of an RFC 3339 stamp."""
    return datetime.fromisoformat(str(text)).timestamp()


def _invite(stage: Stage, tell: Narrator) -> None:
    """Say how to go on."""
    tell.say(f"\nIt stays up until Ctrl-C.\n  API         {stage.url}/api/v1\n  ServiceNow  {stage.simulator_url}/")
    tell.say(f"  log         {stage.log}")
    tell.say("\nTry, in another terminal:")
    tell.say(f"  export INCIDENTS_SOCKET={stage.socket} INCIDENTS_STATE_DIR={stage.environ['INCIDENTS_STATE_DIR']}")
    prefix = "" if shutil.which("im") else f"{Path(sys.executable).parent}/"
    for command in (
        "im incident list",
        "im declare --org demo --title 'Disk full on db-3' --sev SEV-3",
        f"im integration links {HANDLE}",
        f"im integration sync-status {HANDLE}",
        "im journal tail",
    ):
        tell.say(f"  {prefix}{command}")
    tell.say(f"  curl {stage.url}/api/v1/incidents")
