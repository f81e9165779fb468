"""Fidelity: ServiceNow clients that others wrote work on the simulator, unchanged, over a loopback port."""

import asyncio
from typing import Any

import aiosnow
import pysnow
import pytest
import requests
import trio
from aiosnow.models.table.declared import IncidentModel

from tests.simulator.ports import served


def pysnow_story(address: str) -> dict[str, Any]:
    """Create, query, update and delete with pysnow; what it saw."""
    with pysnow.Client(host=address, user="admin", password="admin", use_ssl=False) as client:
        incidents = client.resource(api_path="/table/incident")
        created = incidents.create(payload={"short_description": "From pysnow", "urgency": "1"}).one()
        query = pysnow.QueryBuilder().field("number").equals(created["number"]).AND().field("active").equals("true")
        found = incidents.get(query=query, fields=["sys_id", "short_description"]).one()
        paged = [row["number"] for row in incidents.get(query={}, limit=2, stream=True).all()]
        updated = incidents.update(query={"number": created["number"]}, payload={"impact": "1"}).one()
        deleted = incidents.delete(query={"number": created["number"]})
        none_left = incidents.get(query={"number": created["number"]}).one_or_none()
        with pytest.raises(requests.HTTPError, match="403"):
            incidents.create(payload={"state": "6"}).one()
    return {
        "created": created,
        "found": found,
        "paged": paged,
        "updated": updated,
        "deleted": deleted,
        "none_left": none_left,
    }


async def test_pysnow_creates_queries_updates_and_deletes() -> None:
    async with served(incidents=5) as (instance, address):
        seen = await trio.to_thread.run_sync(pysnow_story, address)
        assert seen["created"]["priority"] == "3"
        assert seen["found"] == {"sys_id": seen["created"]["sys_id"], "short_description": "From pysnow"}
        assert len(seen["paged"]) == 2
        assert (seen["updated"]["priority"], seen["updated"]["sys_mod_count"]) == ("1", "1")
        assert seen["deleted"] == {"status": "record deleted"}
        assert seen["none_left"] is None
        assert len(instance.incidents()) == 5


async def aiosnow_story(address: str) -> dict[str, Any]:
    """Create, query, stream, update and delete with aiosnow; what it saw."""
    client = aiosnow.Client(address, basic_auth=("admin", "admin"), use_ssl=False)
    async with IncidentModel(client, table_name="incident") as incidents:
        created = await incidents.create({"short_description": "From aiosnow", "urgency": "1"})
        found = await incidents.get_one(IncidentModel.number == created["number"])
        chosen = IncidentModel.state.equals(1) & IncidentModel.short_description.contains("aiosnow")
        several = await incidents.get(chosen, limit=5)
        streamed = [record async for _, record in incidents.stream(page_size=2, limit=100)]
        updated = await incidents.update(created["sys_id"], {"impact": "1", "work_notes": "seen"})
        refused = ""
        try:
            await incidents.update(created["sys_id"], {"state": "6"})
        except aiosnow.exceptions.RequestError as error:
            refused = str(error)
        deleted = await incidents.delete(IncidentModel.number == created["number"])
        return {
            "created": dict(created.data),
            "found": dict(found.data),
            "several": len(several),
            "streamed": len(streamed),
            "updated": dict(updated.data),
            "refused": refused,
            "deleted": deleted.status,
        }


async def test_aiosnow_creates_queries_streams_updates_and_deletes() -> None:
    async with served(incidents=5) as (instance, address):
        seen = await trio.to_thread.run_sync(lambda: asyncio.run(aiosnow_story(address)))
        assert (seen["created"]["short_description"], seen["created"]["state"].value) == ("From aiosnow", "New")
        assert seen["found"]["sys_id"] == seen["created"]["sys_id"]
        assert (seen["several"], seen["streamed"]) == (1, 6)
        assert (seen["updated"]["priority"].key, seen["updated"]["sys_mod_count"]) == (1, 1)
        assert "Data Policy Exception" in seen["refused"]
        assert seen["deleted"] == 204
        assert len(instance.incidents()) == 5
