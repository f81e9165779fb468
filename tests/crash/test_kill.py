"""SIGKILL at any moment loses nothing that was acknowledged, and makes no record twice."""

import random
import time
from pathlib import Path

import httpx
import pytest
import trio

from syncd.simulator.instance import Instance, InstanceOptions
from syncd.simulator.main import run_simulator
from tests.crash.daemon_process import DaemonProcess

KILLS = 20
PEOPLE = 3
SETTLE_S_MAX = 60.0


class Oracle:
    """What was acknowledged: titles set on the platform, descriptions set in ServiceNow (one owner a field each)."""

    def __init__(self) -> None:
        self.titles: dict[str, str] = {}
        self.unsure: dict[str, set[str]] = {}
        self.descriptions: dict[str, str] = {}
        self.created: list[str] = []
        self.acknowledged = 0


async def an_sre(daemon: DaemonProcess, oracle: Oracle, rng: random.Random, stop: trio.Event) -> None:
    """Declares incidents and edits titles, and remembers what got a 2xx."""
    async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
        number = 0
        mine: list[str] = []  # two people at one incident: which edit was last is not for us to say
        while not stop.is_set():
            await trio.sleep(rng.uniform(0.02, 0.1))
            number += 1
            title = f"title {rng.randrange(10**9)} {number}"
            try:
                if not mine or (len(mine) < 5 and rng.random() < 0.3):
                    body = {"title": title, "severity": "SEV-3"}
                    answer = await client.post(f"{daemon.url}/api/v1/incidents", json=body)
                    if answer.status_code == 201:
                        mine.append(answer.json()["id"])
                        oracle.titles[mine[-1]] = title
                        oracle.acknowledged += 1
                    continue
                incident_id = rng.choice(mine)
                oracle.unsure.setdefault(incident_id, set()).add(title)
                answer = await client.patch(f"{daemon.url}/api/v1/incidents/{incident_id}", json={"title": title})
                if answer.status_code == 200:
                    oracle.titles[incident_id] = title
                    oracle.unsure[incident_id] = set()
                    oracle.acknowledged += 1
            except httpx.TransportError:
                pass


async def an_agent(instance: Instance, oracle: Oracle, rng: random.Random, stop: trio.Event) -> None:
    """Creates records and edits descriptions in ServiceNow, whether or not the daemon lives."""
    while not stop.is_set():
        await trio.sleep(rng.uniform(0.05, 0.2))
        if len(oracle.created) < 6 and rng.random() < 0.2:
            row = instance.create_as("beth.anglin", {"short_description": f"created {len(oracle.created)}"})
            oracle.created.append(row["sys_id"])
        elif rows := instance.incidents():
            sys_id = rng.choice(rows)["sys_id"]
            text = f"described {rng.randrange(10**9)}"
            instance.edit_as("beth.anglin", sys_id, {"description": text})
            oracle.descriptions[sys_id] = text
            oracle.acknowledged += 1


async def configure(daemon: DaemonProcess, client: httpx.AsyncClient, base_url: str) -> str:
    """An integration for the simulator; returns its id."""
    body = {
        "organization_id": "default",
        "integration_type": "servicenow",
        "name": "Crash",
        "base_url": base_url,
        "credentials": {"username": "svc.sync", "password": "sync-secret"},
        "webhook_secret": "a-webhook-secret-of-the-test",
        "rate_limit": 200,
        "transaction_quota": "2s",  # an unclear create is looked for over twice this
    }
    answer = await client.post(f"{daemon.url}/api/v1/integrations", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def differences(instance: Instance, incidents: list[dict[str, object]], oracle: Oracle) -> list[str]:
    """What is not as it must be, in words; empty when all is well."""
    rows = {row["sys_id"]: row for row in instance.incidents()}
    by_record: dict[str, dict[str, object]] = {}
    found: list[str] = []
    for incident in incidents:
        links = incident["links"]
        assert isinstance(links, list)
        if len(links) != 1 or not links[0]["external_id"]:
            found.append(f"{incident['id']} has links {links}")
            continue
        sys_id = str(links[0]["external_id"])
        if sys_id in by_record:
            found.append(f"{sys_id} is linked twice")
        by_record[sys_id] = incident
        row = rows.get(sys_id, {})
        if row.get("short_description") != incident["title"] or row.get("description") != incident["description"]:
            found.append(f"{incident['id']} and {row.get('number')} differ")
    found += [f"{row['number']} has no incident" for sys_id, row in rows.items() if sys_id not in by_record]
    ids = {str(incident["id"]): incident for incident in incidents}
    for incident_id, title in oracle.titles.items():
        allowed = {title} | oracle.unsure.get(incident_id, set())
        if incident_id not in ids or ids[incident_id]["title"] not in allowed:
            found.append(f"{incident_id} lost {title!r}")
    for sys_id, text in oracle.descriptions.items():
        if rows[sys_id]["description"] != text:
            found.append(f"{sys_id} lost {text!r}")
    correlations = [row["correlation_id"] for row in rows.values() if row["correlation_id"]]
    if len(correlations) != len(set(correlations)):
        found.append("a record was made twice")
    return found


# httpx leaves the body's generator unfinished when the peer dies while it is being sent, which Trio notices.
@pytest.mark.filterwarnings("ignore:Exception ignored in.*ByteStream:pytest.PytestUnraisableExceptionWarning")
async def test_twenty_kills_lose_nothing_acknowledged_and_double_nothing(tmp_path: Path) -> None:
    rng = random.Random(20)
    instance = Instance(InstanceOptions(incidents=0), time.time, random.Random(1))
    oracle, stop = Oracle(), trio.Event()
    daemon = DaemonProcess(tmp_path)
    async with trio.open_nursery() as nursery, httpx.AsyncClient(trust_env=False, timeout=10) as client:
        port = await nursery.start(run_simulator, instance, "127.0.0.1", 0)
        await daemon.start(client)
        integration_id = await configure(daemon, client, f"http://127.0.0.1:{port}")
        instance.set_webhook(f"{daemon.url}/api/v1/webhooks/{integration_id}", "a-webhook-secret-of-the-test")
        for number in range(PEOPLE):
            nursery.start_soon(an_sre, daemon, oracle, random.Random(100 + number), stop)
        nursery.start_soon(an_agent, instance, oracle, random.Random(200), stop)
        for _ in range(KILLS):
            before = oracle.acknowledged
            await trio.sleep(rng.uniform(0.1, 0.8))
            with trio.fail_after(20):
                # A kill of an idle daemon proves nothing.
                while oracle.acknowledged < before + 3:  # noqa: ASYNC110 the people do not ring
                    await trio.sleep(0.01)
            await daemon.kill()
            await daemon.start(client)
        stop.set()
        found = ["nothing was looked at"]
        with trio.move_on_after(SETTLE_S_MAX):
            while found:
                await trio.sleep(0.5)
                answer = await client.get(f"{daemon.url}/api/v1/incidents", params={"limit": 1000})
                found = differences(instance, answer.json(), oracle)
        assert not found, "\n".join([*found, daemon.log()])
        assert len(oracle.titles) > 5
        assert len(oracle.descriptions) > 5
        assert await daemon.stop() == 0
        nursery.cancel_scope.cancel()
