"""Fidelity: ServiceNow clients that others wrote work on the simulator, unchanged, over a loopback port."""

import asyncio
from pathlib import Path
from typing import Any

import aiosnow
import pysnc
import pysnow
import pytest
import requests
import trio
from aiosnow.models.table.declared import IncidentModel
from aiosnow.models.table.declared.journal import JournalModel
from pysnc.auth import ServiceNowClientCredentialsFlow, ServiceNowPasswordGrantFlow
from pysnc.exceptions import AuthenticationException, RoleException

from tests.simulator.ports import behind_tls, served, write_certificate

OAUTH = ("sync-client", "sync-client-secret")


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A certificate for loopback that requests trusts."""
    path = tmp_path / "loopback.pem"
    write_certificate(path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
    return path


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


def pysnow_notes_story(address: str) -> dict[str, Any]:
    """Add notes with pysnow, read them in both forms, and go through all rows page by page."""
    with pysnow.Client(host=address, user="admin", password="admin", use_ssl=False) as client:
        incidents = client.resource(api_path="/table/incident")
        sys_id = incidents.create(payload={"short_description": "Noted", "work_notes": "first"}).one()["sys_id"]
        for text in ("second\n\nline", "second\n\nline"):
            incidents.update(query={"sys_id": sys_id}, payload={"work_notes": text})
        journal = client.resource(api_path="/table/sys_journal_field")
        query = pysnow.QueryBuilder().field("element_id").equals(sys_id).AND().field("element").equals("work_notes")
        rows = journal.get(query=query.AND().field("sys_created_on").order_ascending()).all()
        incidents.parameters.display_value = True
        shown = incidents.get(query={"sys_id": sys_id}).one()["work_notes"]
        incidents.parameters.display_value = False
        everything = pysnow.QueryBuilder().field("number").order_descending()
        pages = []
        for offset in range(0, 100, 4):
            page = incidents.get(query=everything, limit=4, offset=offset, fields=["number"]).all()
            pages.append([row["number"] for row in page])
            if len(page) < 4:
                break
        return {"notes": sorted(row["value"] for row in rows), "shown": shown, "pages": pages}


async def test_pysnow_adds_notes_and_pages_by_offset() -> None:
    async with served(incidents=9) as (instance, address):
        seen = await trio.to_thread.run_sync(pysnow_notes_story, address)
        assert seen["notes"] == ["first", "second\n\nline", "second\n\nline"]
        assert seen["shown"].count("System Administrator (Work notes)\nsecond\n\nline\n\n") == 2
        numbers = sorted((row["number"] for row in instance.incidents()), reverse=True)
        assert [len(page) for page in seen["pages"]] == [4, 4, 2]
        assert [number for page in seen["pages"] for number in page] == numbers


def pysnow_oauth_story(address: str) -> dict[str, Any]:
    """Get a token with pysnow, work with it, let it expire and be refreshed, and be refused one."""
    renewed: list[dict[str, Any]] = []
    client = pysnow.OAuthClient(client_id=OAUTH[0], client_secret=OAUTH[1], token_updater=renewed.append, host=address)
    token = client.generate_token("fred.luddy", "fred-secret")
    client.set_token(token)
    created = client.resource(api_path="/table/incident").create(payload={"short_description": "By token"}).one()
    client.set_token({**token, "expires_at": 1})
    found = client.resource(api_path="/table/incident").get(query={"number": created["number"]}).one()
    with pytest.raises(pysnow.exceptions.TokenCreateError, match="Error creating user token"):
        client.generate_token("fred.luddy", "wrong")
    return {"token": token, "created": created, "found": found, "renewed": renewed}


async def test_pysnow_signs_in_by_oauth_and_refreshes_its_token(certificate: Path) -> None:
    async with served() as (_, plain), behind_tls(plain, certificate) as address:
        seen = await trio.to_thread.run_sync(pysnow_oauth_story, address)
        assert seen["created"]["sys_created_by"] == "fred.luddy"
        assert seen["found"]["sys_id"] == seen["created"]["sys_id"]
        assert [one["refresh_token"] for one in seen["renewed"]] == [seen["token"]["refresh_token"]]


async def aiosnow_notes_story(address: str) -> dict[str, Any]:
    """Add notes with aiosnow, read them as rows, and go through all rows in pages."""
    client = aiosnow.Client(address, basic_auth=("admin", "admin"), use_ssl=False)
    async with IncidentModel(client, table_name="incident") as incidents:
        created = await incidents.create({"short_description": "Noted"})
        for text in ("first", "second\n\nline"):
            await incidents.update(created["sys_id"], {"work_notes": text})
        sizes = [len(response.data) for response, _ in [one async for one in incidents.stream(page_size=4)]]
        everything = aiosnow.select(IncidentModel.number.starts_with("INC")).order_desc(IncidentModel.number)
        numbers = [record["number"] async for _, record in incidents.stream(everything, page_size=3, limit=100)]
        limited = [record["number"] async for _, record in incidents.stream(everything, page_size=3, limit=6)]
    async with JournalModel(client, table_name="sys_journal_field") as journal:
        rows = await journal.get(JournalModel.element_id == created["sys_id"])
    return {"sizes": sizes, "numbers": numbers, "limited": limited, "notes": sorted(row["value"] for row in rows.data)}


async def test_aiosnow_adds_notes_and_streams_in_pages() -> None:
    async with served(incidents=9) as (instance, address):
        seen = await trio.to_thread.run_sync(lambda: asyncio.run(aiosnow_notes_story(address)))
        assert seen["notes"] == ["first", "second\n\nline"]
        numbers = sorted((row["number"] for row in instance.incidents()), reverse=True)
        assert (seen["numbers"], seen["limited"]) == (numbers, numbers[:6])
        assert len(seen["sizes"]) == 10


def pysnc_client(address: str, auth: object = ("admin", "admin")) -> pysnc.ServiceNowClient:
    """A client that says at once what went wrong."""
    return pysnc.ServiceNowClient(f"https://{address}", auth, auto_retry=False)


def pysnc_story(address: str) -> dict[str, Any]:
    """Create, read, query, update and delete with pysnc, the vendor's own; what it saw."""
    record = pysnc_client(address).GlideRecord("incident")
    record.initialize()
    record.set_value("short_description", "From pysnc")
    record.set_value("urgency", "1")
    sys_id = str(record.insert())
    created = record.serialize()
    shown = record.get_display_value("priority")
    again = pysnc_client(address).GlideRecord("incident")
    assert again.get(sys_id)
    again.set_value("impact", "1")
    again.set_value("assigned_to", "46d44a23a9fe19810012d100cca80666")
    again.update()
    updated = {"priority": again.get_value("priority"), "assigned_to": again.get_display_value("assigned_to")}
    again.set_value("state", "6")
    refused = ""
    try:
        again.update()
    except RoleException as error:
        refused = str(error)
    query = pysnc_client(address).GlideRecord("incident")
    query.add_query("short_description", "CONTAINS", "pysnc").add_or_condition("number", "INC0000000")
    query.add_query("state", "IN", "1,2,3")
    query.add_not_null_query("assigned_to")
    query.fields = ["sys_id", "number", "assigned_to.user_name"]
    query.query()
    found = [(one.get_value("sys_id"), one.get_value("assigned_to.user_name")) for one in query]
    gone = pysnc_client(address).GlideRecord("incident")
    assert gone.get("number", created["number"])
    deleted = gone.delete()
    return {
        "created": created,
        "shown": shown,
        "updated": updated,
        "refused": refused,
        "found": found,
        "deleted": deleted,
        "left": pysnc_client(address).GlideRecord("incident").get(sys_id),
    }


async def test_pysnc_creates_reads_queries_updates_and_deletes(certificate: Path) -> None:
    async with served(incidents=5) as (instance, plain), behind_tls(plain, certificate) as address:
        seen = await trio.to_thread.run_sync(pysnc_story, address)
        assert (seen["created"]["priority"], seen["shown"]) == ("3", "3 - Moderate")
        assert seen["updated"] == {"priority": "1", "assigned_to": "Beth Anglin"}
        assert "Data Policy Exception" in seen["refused"]
        assert seen["found"] == [(seen["created"]["sys_id"], "beth.anglin")]
        assert (seen["deleted"], seen["left"]) == (True, False)
        assert len(instance.incidents()) == 5


def pysnc_pages_story(address: str) -> dict[str, Any]:
    """Page, sort, limit and count with pysnc; add notes and read them in both forms."""
    client = pysnc_client(address)
    record = client.GlideRecord("incident", batch_size=4)
    record.order_by_desc("number")
    record.query()
    total, numbers = len(record), [one.get_value("number") for one in record]
    few = client.GlideRecord("incident", batch_size=3)
    few.order_by("number")
    few.limit = 4
    few.query()
    limited = [one.get_value("number") for one in few]
    noted = client.GlideRecord("incident")
    assert noted.get("number", numbers[0])
    for text in ("first", "second\n\nline"):
        noted.set_value("work_notes", text)
        noted.update()
    assert noted.get(noted.get_value("sys_id"))
    journal = client.GlideRecord("sys_journal_field")
    journal.add_query("element_id", noted.get_value("sys_id"))
    journal.add_query("element", "work_notes")
    journal.query()
    return {
        "total": total,
        "numbers": numbers,
        "limited": limited,
        "shown": noted.get_display_value("work_notes"),
        "notes": sorted(one.get_value("value") for one in journal),
    }


async def test_pysnc_pages_and_adds_notes(certificate: Path) -> None:
    async with served(incidents=11) as (instance, plain), behind_tls(plain, certificate) as address:
        seen = await trio.to_thread.run_sync(pysnc_pages_story, address)
        numbers = sorted((row["number"] for row in instance.incidents()), reverse=True)
        assert (seen["total"], seen["numbers"]) == (11, numbers)
        assert seen["limited"] == numbers[::-1][:4]
        assert {"first", "second\n\nline"} <= {*seen["notes"]}
        assert "System Administrator (Work notes)\nsecond\n\nline\n\n" in seen["shown"]


def pysnc_batch_story(address: str) -> dict[str, Any]:
    """Change and delete many rows with pysnc in batches; read in a batch, and with a query as long as a book."""
    client = pysnc_client(address)
    some = client.GlideRecord("incident")
    some.add_query("state", "1")
    some.query()
    for one in some:
        one.set_value("description", "changed in a batch")
    changed = some.update_multiple()
    seen: list[requests.Response] = []
    client.batch_api.get(client.GlideRecord("incident"), "0" * 32, seen.append)
    chosen = client.GlideRecord("incident")
    chosen.add_query("state", "1")
    client.batch_api.list(chosen, seen.append)
    client.batch_api.execute()
    long = client.GlideRecord("incident")
    long.add_query("sys_id", "IN", ",".join(f"{number:032x}" for number in range(400)) + "," + some.get_value("sys_id"))
    long.query()
    deleted = chosen.delete_multiple()
    return {
        "changed": changed,
        "statuses": [one.status_code for one in seen],
        "rows": len(seen[1].json()["result"]),
        "long": len(long),
        "deleted": deleted,
    }


async def test_pysnc_reads_changes_and_deletes_in_batches(certificate: Path) -> None:
    async with served(incidents=12) as (instance, plain), behind_tls(plain, certificate) as address:
        new = [row["sys_id"] for row in instance.incidents() if row["state"] == "1"]
        seen = await trio.to_thread.run_sync(pysnc_batch_story, address)
        assert (seen["changed"], seen["statuses"], seen["rows"], seen["long"]) == (True, [404, 200], len(new), 1)
        assert seen["deleted"]
        assert len(instance.incidents()) == 12 - len(new)
        assert not {*new} & {row["sys_id"] for row in instance.incidents()}


def pysnc_oauth_story(address: str) -> dict[str, Any]:
    """Sign in with both grants that pysnc has, and be refused; who created what."""
    authors = []
    for flow in (
        ServiceNowClientCredentialsFlow(*OAUTH),
        ServiceNowPasswordGrantFlow("fred.luddy", "fred-secret", *OAUTH),
    ):
        record = pysnc_client(address, flow).GlideRecord("incident")
        record.initialize()
        record.set_value("short_description", "By token")
        record.insert()
        authors.append(record.get_value("sys_created_by"))
    with pytest.raises(AuthenticationException, match="access_denied"):
        pysnc_client(address, ServiceNowClientCredentialsFlow(OAUTH[0], "wrong"))
    with pytest.raises(AuthenticationException, match="not authenticated"):
        pysnc_client(address, ("admin", "wrong")).GlideRecord("incident").get("0" * 32)
    return {"authors": authors}


async def test_pysnc_signs_in_by_oauth(certificate: Path) -> None:
    async with served() as (_, plain), behind_tls(plain, certificate) as address:
        seen = await trio.to_thread.run_sync(pysnc_oauth_story, address)
        assert seen["authors"] == ["svc.sync", "fred.luddy"]
