"""The real House around the real simulator, in virtual time and without faults: what the actors' tests share.

A test is a story, ``async def test_…(world: World)``, that ``in_world`` runs to its end under the sealed scheduler.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from random import Random

import trio

from syncd.core.model import DeadLetter, Incident, Link
from syncd.core.state import link_id
from syncd.simulator.instance import Instance, InstanceOptions, RequestLine
from syncd.simulator.outbound import WebhookTarget
from syncd.simulator.wire import Outgoing
from tests.simulation.runner import simulate
from tests.simulation.seams import EPOCH_S
from tests.simulation.world import CLOSE, INSTANCE_HOST, URL, WEBHOOK_SECRET, World

Story = Callable[[World], Awaitable[None]]

AGENT = "beth.anglin"
SETTLE_S = 10.0
INTEGRATIONS = "/api/v1/integrations"


def in_world(seed: int = 1, **settings: object) -> Callable[[Story], Callable[[], None]]:
    """Make a test of a story. ``settings``: of the world's integration, beside its usual ones."""

    def decorate(story: Story) -> Callable[[], None]:
        def test() -> None:
            simulate(lambda rng: lambda: World(rng, settings).run(story), seed)

        test.__doc__ = story.__doc__
        return test

    return decorate


async def ask(world: World, method: str, path: str, body: object = None, *, status: int = 200) -> object:
    """One request to the daemon's API that must end with ``status``; its body, None when that is empty."""
    content = b"" if body is None else json.dumps(body).encode()
    answer = await world.ask(method, path, content)
    assert answer is not None, f"{method} {path} got no answer"
    assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
    decoded: object = json.loads(answer.content) if answer.content else None
    return decoded


async def asked(world: World, method: str, path: str, body: object = None, *, status: int = 200) -> dict[str, object]:
    """The same, for an answer that is an object."""
    answer = await ask(world, method, path, body, status=status)
    assert isinstance(answer, dict)
    return answer


async def configure(world: World, **settings: object) -> None:
    """Change settings of the world's integration."""
    await asked(world, "PATCH", f"{INTEGRATIONS}/{world.integration_id}", settings)


async def sync_status(world: World, integration_id: str = "") -> dict[str, object]:
    """What ``sync-status`` says."""
    return await asked(world, "GET", f"{INTEGRATIONS}/{integration_id or world.integration_id}/sync-status")


async def reconciled(world: World, **body: object) -> dict[str, object]:
    """A reconcile run through the API, to its end."""
    path = f"{INTEGRATIONS}/{world.integration_id}/reconcile"
    begun = await asked(world, "POST", path, body, status=202)
    assert begun["status"] == "running"
    mine = f"{path}/history/{begun['id']}"
    while (seen := await asked(world, "GET", mine))["status"] == "running":  # noqa: ASYNC110
        await trio.sleep(0.5)
    return seen


async def declare(world: World, title: str = "Checkout is slow", **fields: object) -> str:
    """Declare an incident; returns its id."""
    body = {"title": title, "severity": "SEV-3", **fields}
    made = await asked(world, "POST", "/api/v1/incidents", body, status=201)
    return str(made["id"])


async def declared(world: World, title: str = "Checkout is slow", **fields: object) -> str:
    """Declare an incident and wait until it has its record."""
    incident_id = await declare(world, title, **fields)
    await trio.sleep(SETTLE_S)
    assert link(world, incident_id).state == "active"
    return incident_id


async def edit(world: World, incident_id: str, **fields: object) -> None:
    """Change an incident on the platform."""
    await asked(world, "PATCH", f"/api/v1/incidents/{incident_id}", fields)


def incident(world: World, incident_id: str) -> Incident:
    """An incident as the platform holds it."""
    return world.state.incidents[incident_id]


def link(world: World, incident_id: str, integration_id: str = "") -> Link:
    """The link of an incident."""
    return world.state.links[link_id(integration_id or world.integration_id, incident_id)]


def record(world: World, incident_id: str) -> dict[str, str]:
    """The record of an incident, raw."""
    return dict(world.instance.record(link(world, incident_id).external_id))


def edit_record(world: World, incident_id: str, **columns: object) -> None:
    """Change the record of an incident in ServiceNow."""
    world.instance.edit_as(AGENT, link(world, incident_id).external_id, columns)


def create_record(world: World, title: str = "Printer on fire", **columns: object) -> str:
    """Create a record in ServiceNow; returns its sys_id."""
    fields = {"short_description": title, "impact": "2", "urgency": "2", **columns}
    return str(world.instance.create_as(AGENT, fields)["sys_id"])


def incident_of(world: World, sys_id: str, integration_id: str = "") -> str:
    """The incident that a record is linked to; empty when there is none."""
    name = world.state.link_of_record.get((integration_id or world.integration_id, sys_id), "")
    return world.state.links[name].incident_id if name else ""


def letters(world: World) -> list[DeadLetter]:
    """The dead letters."""
    return list(world.state.dead_letters.values())


def lines(instance: Instance, *methods: str, since_s: float = 0.0) -> list[RequestLine]:
    """Requests that an instance received, by method; ``since_s`` in virtual time."""
    return [one for one in instance.requests if one.method in methods and one.at_s >= EPOCH_S + since_s]


def in_seconds(line: RequestLine) -> float:
    """When a request came, in virtual time."""
    return line.at_s - EPOCH_S


def hint_of(world: World, sys_id: str, number: int, *, integration_id: str = "", **extra: object) -> Outgoing:
    """A webhook that says a record changed, as the business rule would send it."""
    url = f"{URL}/api/v1/webhooks/{integration_id or world.integration_id}"
    body = json.dumps({"sys_id": sys_id, "event_id": f"event-{number}", "operation": "update", **extra}).encode()
    signature = base64.b64encode(hmac.digest(WEBHOOK_SECRET.encode(), body, hashlib.sha256)).decode()
    headers = (("Content-Type", "application/json"), ("X-ServiceNow-Signature", signature))
    return Outgoing(0.0, url, headers, body, f"event-{number}", number)


async def call_webhook(world: World, outgoing: Outgoing) -> None:
    """Deliver one webhook; it must be accepted."""
    answer = await world.ask("POST", outgoing.url.removeprefix(URL), outgoing.body, dict(outgoing.headers))
    assert answer is not None
    assert answer.status_code == 202, answer.text


async def second_instance(world: World, **settings: object) -> tuple[Instance, str]:
    """Another instance at another address, and an integration of another organization for it; returns both."""
    instance = Instance(InstanceOptions(incidents=0), lambda: EPOCH_S + trio.current_time(), Random(7))
    host = "127.0.0.1:9998"
    world.instances[host] = instance
    body = {
        "organization_id": "other",
        "integration_type": "servicenow",
        "name": "Other",
        "base_url": f"http://{host}",
        "credentials": {"username": "svc.sync", "password": "sync-secret"},
        "webhook_secret": WEBHOOK_SECRET,
        "external_defaults": CLOSE,
        **settings,
    }
    made = await asked(world, "POST", INTEGRATIONS, body, status=201)
    return instance, str(made["id"])


async def second_integration(world: World, **settings: object) -> str:
    """Another integration of the same organization for the same instance, which calls both; returns its id."""
    body = {
        "organization_id": "default",
        "integration_type": "servicenow",
        "name": "Beside",
        "base_url": f"http://{INSTANCE_HOST}",
        "credentials": {"username": "svc.sync", "password": "sync-secret"},
        "external_defaults": CLOSE,
        **settings,
    }
    made = await asked(world, "POST", INTEGRATIONS, body, status=201)
    target = WebhookTarget(f"{URL}/api/v1/webhooks/{made['id']}", str(made["webhook_secret"]))
    world.instance.outbound.targets.append(target)
    return str(made["id"])


async def restart(world: World, down_s: float = 0.0, while_down: Callable[[], object] | None = None) -> None:
    """Kill the daemon, and begin another life on what the disk holds after ``down_s`` seconds."""
    await world.stop()
    if while_down is not None:
        while_down()
    await trio.sleep(down_s)
    await world.start()
