"""Ten thousand webhooks at once, and as many forged ones: each is answered, what was accepted is applied, memory stays.

The real daemon, the load in a process of its own, and the simulator as the peer, all on loopback.
"""

import random
import sys
import time
from pathlib import Path
from statistics import quantiles

import httpx
import msgspec
import trio

from syncd.simulator.instance import Instance, InstanceOptions
from syncd.simulator.main import run_simulator
from tests.crash.daemon_process import DaemonProcess
from tests.crash.webhook_load import Load, Outcome

SECRET = "a-webhook-secret-of-the-test"
RECORDS = 300
WEBHOOKS = 10_000  # half of them in a first round, alone; half in a second one, among as many forged ones as in all
CONNECTIONS = 16
LOAD_S_MAX = 120.0
APPLIED_S_MAX = 60.0
DELAY_S_MAX = 1.0
GROWTH_KB_MAX = 64 * 1024


class Memory:
    """The most that a process had resident, in KiB, of the times that it was looked at."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self.first_kb = self.most_kb = self.now_kb()

    def now_kb(self) -> int:
        """``VmRSS``."""
        lines = self._status.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))

    async def watch(self, scope: trio.CancelScope) -> None:
        """Look every tenth of a second, until ``scope`` is cancelled."""
        with scope:
            while True:
                self.most_kb = max(self.most_kb, self.now_kb())
                await trio.sleep(0.1)


async def fire(load: Load) -> Outcome:
    """The load, from a process of its own."""
    command = [sys.executable, "-m", "tests.crash.webhook_load"]
    with trio.fail_after(LOAD_S_MAX):
        done = await trio.run_process(command, stdin=msgspec.json.encode(load), capture_stdout=True)
    return msgspec.json.decode(done.stdout, type=Outcome)


async def configured(daemon: DaemonProcess, client: httpx.AsyncClient, base_url: str) -> str:
    """An integration for the simulator, which tells us of nothing by itself; returns its id."""
    body = {
        "organization_id": "default",
        "integration_type": "servicenow",
        "name": "Overload",
        "base_url": base_url,
        "credentials": {"username": "svc.sync", "password": "sync-secret"},
        "webhook_secret": SECRET,
        "rate_limit": 100,
    }
    answer = await client.post(f"{daemon.url}/api/v1/integrations", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def edit_all(instance: Instance, records: list[str], text: str) -> None:
    for sys_id in records:
        instance.edit_as("beth.anglin", sys_id, {"description": text})


def p99_s(outcome: Outcome) -> float:
    """How long a genuine webhook waited for its answer, but for one in a hundred."""
    return quantiles(outcome.genuine_s, n=100)[98]


async def descriptions(client: httpx.AsyncClient, daemon: DaemonProcess) -> dict[str, str]:
    """What the platform holds, by sys_id."""
    answer = await client.get(f"{daemon.url}/api/v1/incidents", params={"limit": 1000})
    return {
        str(link["external_id"]): str(one["description"])
        for one in answer.json()
        for link in one["links"]
        if link["state"] == "active"
    }


async def test_ten_thousand_webhooks_and_as_many_forged_ones_are_answered_and_applied(tmp_path: Path) -> None:
    instance = Instance(InstanceOptions(incidents=0), time.time, random.Random(1))
    daemon = DaemonProcess(tmp_path)
    async with trio.open_nursery() as nursery, httpx.AsyncClient(trust_env=False, timeout=30) as client:
        port = await nursery.start(run_simulator, instance, "127.0.0.1", 0)
        await daemon.start(client)
        integration_id = await configured(daemon, client, f"http://127.0.0.1:{port}")
        for number in range(RECORDS):
            fields = {"short_description": f"record {number}", "impact": "2", "urgency": "2"}
            instance.create_as("beth.anglin", fields)
        records = [row["sys_id"] for row in instance.incidents()]
        path = f"{daemon.url}/api/v1/integrations/{integration_id}/reconcile"
        await client.post(path, params={"wait": "true"}, json={"auto_heal": True})
        with trio.fail_after(APPLIED_S_MAX):
            while len(await descriptions(client, daemon)) < RECORDS:  # noqa: ASYNC110 another process does not ring
                await trio.sleep(0.2)
        assert daemon.process is not None
        memory, watching = Memory(daemon.process.pid), trio.CancelScope()
        nursery.start_soon(memory.watch, watching)

        async def fire_at(word: str, genuine: int, forged: int) -> Outcome:
            edit_all(instance, records, f"edited before the {word} round")
            path = f"/api/v1/webhooks/{integration_id}"
            outcome = await fire(Load(daemon.port, path, SECRET, records, genuine, forged, CONNECTIONS, word))
            assert sum(outcome.genuine.values()) == genuine
            assert set(outcome.genuine) <= {"202", "429", "503"}, outcome.genuine
            assert sum(outcome.forged.values()) == forged
            assert set(outcome.forged) <= {"401", "429", "503"}, outcome.forged
            return outcome

        first = await fire_at("first", WEBHOOKS // 2, 0)
        second = await fire_at("second", WEBHOOKS // 2, WEBHOOKS)
        last = await fire_at("last", RECORDS, RECORDS)  # one for each record: none may be lost in the others' stream
        assert p99_s(second) - p99_s(first) < DELAY_S_MAX
        assert last.accepted, last.genuine
        wanted = dict.fromkeys(last.accepted, "edited before the last round").items()
        stale = set(wanted)
        with trio.move_on_after(APPLIED_S_MAX):
            while stale:
                await trio.sleep(0.2)
                stale = wanted - (await descriptions(client, daemon)).items()
        assert not stale, f"{len(stale)} of {len(wanted)} accepted and not applied\n{daemon.log()}"
        assert memory.most_kb - memory.first_kb < GROWTH_KB_MAX
        answer = await client.get(f"{daemon.url}/api/v1/integrations/{integration_id}/sync-status")
        status = answer.json()
        assert status["webhooks"]["accepted"] == sum(one.genuine["202"] for one in (first, second, last))
        assert status["queue"]["outbox"] == 0, status
        watching.cancel()
        assert await daemon.stop() == 0
        nursery.cancel_scope.cancel()
