"""Linking and unlinking pairs over HTTP."""

import httpx
import pytest

from syncd.core.events import LinkRemoved
from syncd.errors import Busy, SyncdError, Unknown
from tests.edges.api.daemon import Daemon, running

SYS_ID = "5" * 32
LINKS = "/api/v1/integrations/prod/links"


async def pair(daemon: Daemon) -> tuple[str, dict[str, str]]:
    """An incident, and the body that links it; the integration makes no record of its own for it."""
    await daemon.configure(handle="prod", create_external=False)
    incident = await daemon.declare()
    return incident["id"], {"incident_id": incident["id"], "external_id": SYS_ID}


async def listed(daemon: Daemon) -> list[dict[str, object]]:
    links: list[dict[str, object]] = (await daemon.socket.get(LINKS)).json()
    return links


async def test_an_existing_pair_is_linked_and_shown() -> None:
    async with running() as daemon:
        incident_id, body = await pair(daemon)
        answer = await daemon.socket.post(LINKS, json=body)
        assert answer.status_code == 201
        shown = answer.json()
        assert (shown["incident_id"], shown["external_id"], shown["state"]) == (incident_id, SYS_ID, "active")
        assert await listed(daemon) == [shown]
        (record,) = (await daemon.journal.since(0, 100))[-1:]
        assert (record.by, record.trace) == ("user:root", answer.headers["x-trace-id"])


def daemon_id(daemon: Daemon) -> str:
    """The id of the one integration."""
    return next(iter(daemon.journal.state.integrations))


async def test_an_unlinked_pair_is_gone_until_it_is_linked_again() -> None:
    async with running() as daemon:
        incident_id, body = await pair(daemon)
        await daemon.socket.post(LINKS, json=body)
        answer = await daemon.socket.delete(f"{LINKS}/{incident_id}")
        assert (answer.status_code, answer.content) == (204, b"")
        assert await listed(daemon) == []
        (record,) = (await daemon.journal.since(0, 100))[-1:]
        assert record.events == (LinkRemoved(f"{daemon_id(daemon)}/{incident_id}"),)
        assert record.by == "user:root"
        assert (await daemon.socket.delete(f"{LINKS}/{incident_id}")).status_code == 404
        assert (await daemon.socket.get(f"/api/v1/incidents/{incident_id}")).json()["links"] == []
        assert (await daemon.socket.post(LINKS, json=body)).status_code == 201
        assert daemon.journal.state.kept_apart == {}


async def test_what_is_linked_is_not_linked_again() -> None:
    async with running() as daemon:
        incident_id, body = await pair(daemon)
        other = await daemon.declare(title="Another")
        await daemon.socket.post(LINKS, json=body)
        for again in (body, body | {"external_id": "6" * 32}, body | {"incident_id": other["id"]}):
            answer = await daemon.socket.post(LINKS, json=again)
            assert answer.status_code == 409
            assert f"im integration unlink prod {incident_id}" in answer.json()["hint"]
        assert len(await listed(daemon)) == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"incident_id": "INC-NONE", "external_id": SYS_ID}, 404),
        ({"incident_id": "INC-NONE", "external_id": "INC0010001"}, 422),
        ({"incident_id": "INC-NONE", "external_id": SYS_ID, "colour": "red"}, 422),
    ],
)
async def test_a_pair_that_cannot_be_is_refused(body: dict[str, str], status: int) -> None:
    async with running() as daemon:
        await pair(daemon)
        assert (await daemon.socket.post(LINKS, json=body)).status_code == status
        assert (await daemon.socket.post("/api/v1/integrations/none/links", json=body)).status_code in {404, 422}


@pytest.mark.parametrize(
    ("failure", "status"), [(Unknown("ServiceNow does not show this record"), 404), (Busy("not now"), 503)]
)
async def test_what_servicenow_says_to_it_is_the_answer(failure: SyncdError, status: int) -> None:
    async with running() as daemon:
        _, body = await pair(daemon)
        daemon.integrations.failure = failure
        answer = await daemon.socket.post(LINKS, json=body)
        assert (answer.status_code, answer.json()["detail"]) == (status, str(failure))


async def test_linking_needs_operate_and_reading_does_not() -> None:
    async with running() as daemon:
        incident_id, body = await pair(daemon)

        async def by(scope: str) -> list[httpx.Response]:
            client = daemon.client(token=await daemon.token(scope))
            return [await client.post(LINKS, json=body), await client.delete(f"{LINKS}/{incident_id}")]

        assert [answer.status_code for answer in await by("read")] == [403, 403]
        assert [answer.status_code for answer in await by("operate")] == [201, 204]
