"""The names in JSON that scripts read, and the forms of their values: additions are welcome, renames are not."""

import re
from typing import Any

import pytest

from tests.core.picture import INC, SYS_ID
from tests.edges.api.daemon import SNOW, Daemon, running
from tests.edges.api.test_conflicts import pictured

V1 = "/api/v1"
INCIDENTS, INTEGRATIONS = f"{V1}/incidents", f"{V1}/integrations"
PROD = f"{INTEGRATIONS}/prod"
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")

NAMES = {
    f"{INCIDENTS}/{INC}": (
        "id organization_id title description severity status assigned_to service resolution_code resolution_notes"
        " version created_at updated_at updated_by links"
    ),
    f"{INCIDENTS}/{INC}/notes": "id text author created_at origin",
    f"{INCIDENTS}/{INC}/timeline": "specversion id source type time subject data",
    PROD: (
        "id handle name organization_id integration_type base_url sync_direction enabled conflict_strategy"
        " conflict_window create_external create_platform import_query external_defaults rate_limit max_concurrency"
        " transaction_quota poll_interval"
    ),
    f"{PROD}/sync-status": ("state reasons links queue lag dlq conflicts webhooks api last_reconcile next_reconcile"),
    f"{PROD}/links": "incident_id external_id external_number external_url state reason created_at last_synced_at",
    f"{PROD}/dlq": (
        "id incident_id external_id operation fields attempts error remedy created_at last_attempt_at next_attempt_at"
    ),
    f"{V1}/conflicts/conflict-1": (
        "id integration_id integration incident_id external_id field base platform external platform_by external_by"
        " platform_at external_from external_at strategy status decided version created_at resolved_at resolved_by"
    ),
    f"{V1}/tokens": "id name scope created_at last_used_at expires_at",
    "/health": "status timestamp",
}
WITHIN = {
    (f"{INCIDENTS}/{INC}", "links"): "integration_id integration external_id external_number external_url state",
    (f"{PROD}/sync-status", "queue"): "outbox inflight oldest_age_s",
    (f"{PROD}/sync-status", "lag"): "inbound outbound",
    (f"{PROD}/sync-status", "webhooks"): "last_received_at accepted rejected duplicates",
    (f"{PROD}/sync-status", "api"): "requests throttled errors remaining_budget breaker",
    (f"{PROD}/dlq", "error"): "kind status message detail",
}


async def prepared(daemon: Daemon) -> None:
    await pictured(daemon)
    await daemon.socket.post(f"{INCIDENTS}/{INC}/notes", json={"text": "failed over"})
    await daemon.token("read")


async def first(daemon: Daemon, path: str) -> dict[str, Any]:
    """The thing itself, or the first of a list."""
    answer = await daemon.socket.get(path)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    one: dict[str, Any] = found[0] if isinstance(found, list) else found
    return one


async def test_what_is_shown_has_the_names_that_scripts_read() -> None:
    async with running() as daemon:
        await prepared(daemon)
        for path, names in NAMES.items():
            assert set(names.split()) <= (await first(daemon, path)).keys(), path
        for (path, part), names in WITHIN.items():
            found = (await first(daemon, path))[part]
            assert set(names.split()) <= (found[0] if isinstance(found, list) else found).keys(), (path, part)


async def test_answers_to_writes_show_the_thing_under_the_same_names() -> None:
    async with running() as daemon:
        await prepared(daemon)
        incident = (await daemon.socket.patch(f"{INCIDENTS}/{INC}", json={"service": "shop"})).json()
        note = (await daemon.socket.post(f"{INCIDENTS}/{INC}/notes", json={"text": "x"})).json()
        made = await daemon.configure(handle="other")
        rotated = (await daemon.socket.post(f"{INTEGRATIONS}/other/webhook-secret/rotate")).json()
        run = (await daemon.socket.post(f"{PROD}/reconcile?wait=true", json={"auto_heal": True})).json()
        plan = (await daemon.socket.post(f"{PROD}/reconcile/schedule", json={"interval": "1h"})).json()
        letter = (await daemon.socket.post(f"{PROD}/dlq/entry-2/retry")).json()
        verdict = (await daemon.socket.post(f"{V1}/conflicts/conflict-1/ignore")).json()
        token = (await daemon.socket.post(f"{V1}/tokens", json={"scope": "read"})).json()
    assert incident.keys() >= set(NAMES[f"{INCIDENTS}/{INC}"].split())
    assert note.keys() >= set(NAMES[f"{INCIDENTS}/{INC}/notes"].split())
    assert made.keys() >= {*NAMES[PROD].split(), "webhook_secret"}
    assert rotated.keys() == {"webhook_secret", "previous_valid_until"}
    names = "id integration_id mode trigger status reason started_at finished_at checked drifts"
    assert run.keys() >= set(names.split())
    assert (run["mode"], run["trigger"], run["status"]) == ("heal", "manual", "finished")
    names = "incident_id external_id field platform external base cause action healed"
    assert run["drifts"][0].keys() >= set(names.split())
    assert plan.keys() >= {"interval", "auto_heal", "enabled"}
    assert letter.keys() >= set(NAMES[f"{PROD}/dlq"].split())
    assert (verdict["id"], verdict["status"]) == ("conflict-1", "ignored")
    assert token.keys() == {*NAMES[f"{V1}/tokens"].split(), "token"}


async def test_ids_say_what_they_are_of_and_times_are_utc_with_microseconds() -> None:
    async with running() as daemon:
        await prepared(daemon)
        incident = await daemon.declare()
        made = await daemon.configure(handle="other")
        letter = await first(daemon, f"{PROD}/dlq")
        run = (await daemon.socket.post(f"{PROD}/reconcile", json={"auto_heal": True})).json()
    for word, begins in (
        (incident["id"], "INC-"),
        (made["id"], "int_"),
        (letter["id"], "entry-"),
        (run["id"], "run-"),
    ):
        assert word.startswith(begins)
    times = [
        incident["created_at"],
        incident["updated_at"],
        made["created_at"],
        letter["created_at"],
        run["started_at"],
    ]
    for at in times:
        assert TIME.fullmatch(at), at


async def test_what_is_not_given_has_its_default() -> None:
    async with running() as daemon:
        incident = await daemon.declare()
        answer = await daemon.socket.post(INTEGRATIONS, json={"name": "Production ServiceNow", "base_url": SNOW})
    made = answer.json()
    assert incident == incident | {
        "organization_id": "default",
        "status": "open",
        "description": "",
        "version": 1,
        "assigned_to": None,
        "service": None,
        "resolution_code": None,
        "resolution_notes": None,
        "links": [],
    }
    assert made == made | {
        "handle": "production-servicenow",
        "integration_type": "servicenow",
        "organization_id": "default",
        "conflict_strategy": "last-write-wins",
        "conflict_window": "5s",
        "create_external": True,
        "create_platform": True,
        "rate_limit": 10,
        "max_concurrency": 4,
        "transaction_quota": "60s",
    }


@pytest.mark.parametrize(
    ("name", "longest", "path"),
    [
        ("title", 500, f"{INCIDENTS}/{INC}"),
        ("description", 100_000, f"{INCIDENTS}/{INC}"),
        ("resolution_notes", 100_000, f"{INCIDENTS}/{INC}"),
        ("service", 500, f"{INCIDENTS}/{INC}"),
    ],
)
async def test_a_text_may_be_so_long_and_no_longer(name: str, longest: int, path: str) -> None:
    async with running() as daemon:
        await pictured(daemon)
        answer = await daemon.socket.patch(path, json={name: "é" * longest})
        assert (answer.status_code, answer.json()[name]) == (200, "é" * longest)
        answer = await daemon.socket.patch(path, json={name: "é" * (longest + 1)})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["path"] == name


async def test_severity_and_status_take_their_words() -> None:
    async with running() as daemon:
        for word in ("SEV-1", "sev-1", "1", 1):
            assert (await daemon.declare(severity=word))["severity"] == "SEV-1"
        incident = await daemon.declare()
        for status in ("open", "mitigated", "resolved", "closed", "canceled"):
            answer = await daemon.socket.patch(f"{INCIDENTS}/{incident['id']}", json={"status": status})
            assert answer.json()["status"] == status


async def test_the_version_counts_effective_changes_of_fields_alone() -> None:
    async with running() as daemon:
        incident = await daemon.declare()
        path = f"{INCIDENTS}/{incident['id']}"
        await daemon.socket.post(f"{path}/notes", json={"text": "x"})
        same = await daemon.socket.patch(path, json={"title": incident["title"]})
        assert same.json()["version"] == 1
        changed = await daemon.socket.patch(path, json={"title": "Up"}, headers={"If-Match": '"1"'})
        assert (changed.json()["version"], changed.headers["etag"]) == (2, '"2"')
        assert (await daemon.socket.patch(path, json={"title": "Down"}, headers={"If-Match": "2"})).status_code == 200


async def test_secrets_are_shown_once_and_never_again() -> None:
    async with running() as daemon:
        made = await daemon.configure(handle="other", webhook_secret="tell-nobody")
        assert made["webhook_secret"] == "tell-nobody"
        token = await daemon.token("read")
        for path in (INTEGRATIONS, f"{INTEGRATIONS}/other", f"{INTEGRATIONS}/other/sync-status", f"{V1}/tokens"):
            shown = (await daemon.socket.get(path)).text
            assert "tell-nobody" not in shown
            assert "pass-word-1" not in shown
            assert token not in shown


async def test_external_defaults_are_replaced_as_a_whole() -> None:
    async with running() as daemon:
        await daemon.configure(handle="other", external_defaults={"close_code": "x", "resolve": {"close_notes": "y"}})
        answer = await daemon.socket.patch(f"{INTEGRATIONS}/other", json={"external_defaults": {"caller_id": "im"}})
        assert answer.json()["external_defaults"] == {"caller_id": "im"}


async def test_the_webhook_script_comes_in_two_media_types() -> None:
    async with running() as daemon:
        await pictured(daemon)
        plain = await daemon.socket.get(f"{PROD}/webhook-script")
        json = await daemon.socket.get(f"{PROD}/webhook-script", headers={"Accept": "application/json"})
    assert plain.headers["content-type"].startswith("text/javascript")
    assert json.json().keys() == {"script", "version"}
    assert json.json()["script"] == plain.text
    assert "gs.getProperty(" in plain.text
    assert "webhook_secret" in plain.text
    assert "current.operation()" in plain.text
    assert "https://sync.example.org/api/v1/webhooks/int_A" in plain.text


async def test_a_pair_that_was_parted_stays_parted_until_it_is_linked_again() -> None:
    async with running() as daemon:
        await pictured(daemon)
        assert (await daemon.socket.delete(f"{PROD}/links/{INC}")).status_code == 204
        assert (await daemon.socket.get(f"{PROD}/links")).json() == []
        pair = {"incident_id": INC, "external_id": SYS_ID}
        joined = await daemon.socket.post(f"{PROD}/links", json=pair)
        assert (joined.status_code, joined.json()["state"]) == (201, "active")
