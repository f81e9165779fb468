"""Conflicts and dead letters over HTTP: what is listed, what a verdict answers, and when it is refused."""

from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from syncd.core import events as e
from syncd.core.events import Change
from syncd.core.state import State
from tests.core.picture import HAPPENED, INC, INT, conflict, integration
from tests.edges.api.daemon import Daemon, running

CONFLICTS = "/api/v1/conflicts"
DLQ = "/api/v1/integrations/prod/dlq"


async def happen(daemon: Daemon, *events: e.Event) -> None:
    """Put events into the journal, each as a record of its own."""
    for event in events:
        change = Change("acme", (event,), None)
        await daemon.journal.transact(partial(given, change), by="t", trace="t")


def given(change: Change[None], state: State, at_s: float) -> Change[None]:
    """A decision that was made elsewhere."""
    return change


async def pictured(daemon: Daemon) -> None:
    await happen(daemon, e.IntegrationConfigured(integration()), *HAPPENED)


async def ids(daemon: Daemon, path: str, **query: str) -> list[str]:
    answer = await daemon.socket.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()]


async def test_conflicts_are_listed_newest_first_and_filtered() -> None:
    async with running() as daemon:
        await pictured(daemon)
        second = replace(
            conflict(), id="conflict-4", field="severity", status="resolved", decided="external: later-edit"
        )
        await happen(daemon, e.Merged(f"{INT}/{INC}", (), conflicts=(second,)))
        assert await ids(daemon, CONFLICTS) == ["conflict-4", "conflict-1"]
        assert await ids(daemon, CONFLICTS, status="pending", integration="prod", incident=INC) == ["conflict-1"]
        assert await ids(daemon, CONFLICTS, status="ignored") == []
        first = await daemon.socket.get(CONFLICTS, params={"limit": 1})
        assert (await daemon.socket.get(first.links["next"]["url"])).json()[0]["id"] == "conflict-1"
        for query, status in (({"status": "open"}, 422), ({"integration": "x"}, 404), ({"incident": "x"}, 404)):
            assert (await daemon.socket.get(CONFLICTS, params=query)).status_code == status


async def test_a_conflict_is_resolved_once() -> None:
    async with running() as daemon:
        await pictured(daemon)
        path = f"{CONFLICTS}/conflict-1"
        before = await daemon.socket.get(path)
        assert (before.headers["etag"], before.json()["status"]) == ('"1"', "pending")
        stale = await daemon.socket.post(f"{path}/resolve", json={"use": "platform"}, headers={"If-Match": '"7"'})
        assert (stale.status_code, stale.json()["current"]) == (412, before.json())
        answer = await daemon.socket.post(f"{path}/resolve", json={"use": "platform"}, headers={"If-Match": '"1"'})
        assert answer.status_code == 200
        assert answer.json() == (await daemon.socket.get(path)).json()
        assert (answer.json()["status"], answer.json()["resolved_by"]) == ("resolved", "user:root")
        again = await daemon.socket.post(f"{path}/ignore")
        assert (again.status_code, again.headers["content-type"]) == (409, "application/problem+json")


@pytest.mark.parametrize("body", [{}, {"use": "both"}, {"value": ""}, {"value": 5}, {"use": "platform", "value": "x"}])
async def test_a_verdict_that_cannot_be_is_refused(body: dict[str, object]) -> None:
    async with running() as daemon:
        await pictured(daemon)
        answer = await daemon.socket.post(f"{CONFLICTS}/conflict-1/resolve", json=body)
        assert answer.status_code == 422
        assert (await daemon.socket.post(f"{CONFLICTS}/conflict-9/resolve", json=body)).status_code in {404, 422}
        assert daemon.journal.state.conflicts["conflict-1"].status == "pending"


async def test_a_typed_value_changes_the_incident_and_ignoring_does_not() -> None:
    async with running() as daemon:
        await pictured(daemon)
        answer = await daemon.socket.post(f"{CONFLICTS}/conflict-1/resolve", json={"value": "Down everywhere"})
        assert answer.status_code == 200
        assert (await daemon.socket.get(f"/api/v1/incidents/{INC}")).json()["title"] == "Down everywhere"
    async with running() as daemon:
        await pictured(daemon)
        assert (await daemon.socket.post(f"{CONFLICTS}/conflict-1/ignore", json={})).json()["status"] == "ignored"
        assert (await daemon.socket.get(f"/api/v1/incidents/{INC}")).json()["title"] == "Down here"


async def test_dead_letters_are_listed_retried_and_discarded() -> None:
    async with running() as daemon:
        await pictured(daemon)
        assert await ids(daemon, DLQ) == ["entry-2", "entry-3"]
        retried = await daemon.socket.post(f"{DLQ}/entry-2/retry")
        assert (retried.status_code, retried.json()["id"]) == (200, "entry-2")
        everything = await daemon.socket.post(f"{DLQ}/retry")
        assert everything.json() == {"queued": 2, "entries": ["entry-2", "entry-3"]}
        gone = await daemon.socket.post(f"{DLQ}/entry-3/discard", json={})
        assert gone.json() == {"id": "entry-3", "discarded": True}
        assert await ids(daemon, DLQ) == ["entry-2"]
        for path in (f"{DLQ}/entry-3/retry", f"{DLQ}/entry-3/discard", "/api/v1/integrations/other/dlq/entry-2/retry"):
            assert (await daemon.socket.post(path)).status_code == 404


async def test_a_timeline_tells_both_sides() -> None:
    async with running() as daemon:
        await pictured(daemon)
        await daemon.socket.post(f"{CONFLICTS}/conflict-1/resolve", json={"use": "external"})
        events: list[dict[str, Any]] = (await daemon.socket.get(f"/api/v1/incidents/{INC}/timeline")).json()
        types = [event["type"] for event in events]
        assert types[0] == "im.incident.declared"
        assert types[-1] == "im.sync.conflict_resolved"
        assert {"im.sync.linked", "im.sync.observed", "im.sync.decided", "im.sync.conflict", "im.sync.dead_letter"} <= {
            *types
        }


async def test_a_timeline_is_read_from_either_end_in_pages() -> None:
    async with running() as daemon:
        await pictured(daemon)
        path = f"/api/v1/incidents/{INC}/timeline"
        oldest: list[dict[str, Any]] = (await daemon.socket.get(path, params={"order": "oldest"})).json()
        newest, url = [], f"{path}?order=newest&limit=2"
        while url:
            answer = await daemon.socket.get(url)
            newest += answer.json()
            url = answer.links.get("next", {}).get("url", "")
        assert newest == oldest[::-1]
        refused = await daemon.socket.get(path, params={"order": "sideways"})
        assert (refused.status_code, refused.json()["errors"][0]["path"]) == (422, "order")


async def test_an_integration_that_is_deleted_is_told_in_the_timelines_of_its_incidents() -> None:
    async with running() as daemon:
        await pictured(daemon)
        await daemon.socket.delete("/api/v1/integrations/prod")
        last = (await daemon.socket.get(f"/api/v1/incidents/{INC}/timeline")).json()[-1]
        assert (last["type"], last["by"], last["source"]) == (
            "im.integration.deleted",
            "user:root",
            "/integrations/int_A",
        )


async def test_each_field_is_explained() -> None:
    async with running() as daemon:
        await pictured(daemon)
        path = f"/api/v1/incidents/{INC}/explain"
        told = (await daemon.socket.get(path)).json()
        assert told["incident_id"] == INC
        fields = {one["field"]: one for one in told["fields"]}
        title = fields["title"]
        assert (title["platform"], title["external"], title["base"]) == ("Down here", "Down there", "Down")
        assert (title["rule"], title["standing"], title["conflict"]) == (
            "held-for-review",
            "held-for-review",
            "conflict-1",
        )
        assert (title["integration"], title["external_number"]) == ("prod", "INC0010001")
        assert (fields["status"]["standing"], fields["status"]["dead_letter"]) == ("dead-letter", "entry-2")
        assert fields["status"]["write"]["error"]["detail"] == "close_code is mandatory"
        assert {one["field"] for one in told["not_synced"]} >= {"service"}
        one = (await daemon.socket.get(path, params={"field": "title"})).json()
        assert (one["fields"], one["not_synced"]) == ([title], [])
        for query, status in (({"field": "nonsense"}, 422), ({"limit": "1"}, 422)):
            assert (await daemon.socket.get(path, params=query)).status_code == status
        assert (await daemon.socket.get("/api/v1/incidents/INC-X/explain")).status_code == 404


async def test_links_are_listed_under_their_integration() -> None:
    async with running() as daemon:
        await pictured(daemon)
        (link,) = (await daemon.socket.get("/api/v1/integrations/prod/links")).json()
        assert (link["incident_id"], link["state"], link["external_number"]) == (INC, "active", "INC0010001")
        assert await ids(daemon, "/api/v1/incidents", integration="prod", q="inc0010001") == [INC]
