"""Integrations over HTTP: settings as the contract names them, and no secret that comes back."""

import logging
from urllib.parse import quote

import httpx
import pytest

from syncd.core import registry
from syncd.core.health import Health
from syncd.core.rule import RULE_VERSION
from syncd.errors import Busy, SyncdError
from tests.edges.api.daemon import SNOW, Daemon, running

PATH = "/api/v1/integrations"


def fault_paths(answer: httpx.Response) -> list[str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return [fault["path"] for fault in answer.json().get("errors", [])]


async def test_the_product_page_s_body_makes_an_integration() -> None:
    async with running() as daemon:
        body = {
            "organization_id": "acme-corp",
            "integration_type": "servicenow",
            "name": "Production ServiceNow",
            "base_url": "https://your-instance.service-now.com",
            "credentials": {"username": "api_user", "password": "your_password"},
            "sync_direction": "bidirectional",
            "enabled": True,
        }
        answer = await daemon.socket.post(PATH, json=body)
        assert answer.status_code == 201
        made = answer.json()
        assert answer.headers["location"] == f"{PATH}/{made['id']}"
        assert made == made | {
            **{key: value for key, value in body.items() if key != "credentials"},
            "handle": "production-servicenow",
            "conflict_strategy": "last-write-wins",
            "conflict_window": "5s",
            "create_external": True,
            "create_platform": True,
            "import_query": "",
            "external_defaults": {},
            "rate_limit": 10,
            "max_concurrency": 4,
            "transaction_quota": "60s",
            "poll_interval": "off",
            "closed_policy": "park",
            "account": "api_user",
            "credentials_set": ["password", "username"],
        }
        assert made["id"].startswith("int_")
        secret = made.pop("webhook_secret")
        for word in (made["id"], "production-servicenow", "Production ServiceNow"):
            shown = await daemon.socket.get(f"{PATH}/{word}")
            assert shown.json() == made
        path = f"{PATH}/{made['id']}"
        for answer in (await daemon.socket.get(path), await daemon.socket.patch(path, json={})):
            assert secret not in answer.text
            assert "your_password" not in answer.text


async def test_secrets_are_sealed_for_their_slots_in_the_journal() -> None:
    async with running() as daemon:
        made = await daemon.configure(webhook_secret="hook-secret-1")
        assert made["webhook_secret"] == "hook-secret-1"
        one = daemon.journal.state.integrations[made["id"]]
        opened = {
            name: daemon.desk.vault.open(sealed, *registry.slot("journal-1", one.id, name)).reveal()
            for name, sealed in one.credentials.items()
        }
        assert opened == {"username": "api", "password": "pass-word-1"}
        records = repr(await daemon.journal.since(0, 100))
        assert "pass-word-1" not in records
        assert "hook-secret-1" not in records


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"base_url": "http://example.service-now.com"}, "base_url"),
        ({"base_url": "https://evil.example"}, "base_url"),
        ({"base_url": "https://evil-service-now.com"}, "base_url"),
        ({"base_url": "https://x.service-now.com.evil.example"}, "base_url"),
        ({"base_url": "https://x.service-now.com:8443"}, "base_url"),
        ({"base_url": "https://user:pw@x.service-now.com"}, "base_url"),
        ({"base_url": "https://x.service-now.com/path"}, "base_url"),
        ({"base_url": "https://x.service-now.com?q"}, "base_url"),
        ({"base_url": "https://x.service-now.com?"}, "base_url"),
        ({"base_url": "https://x.service-now.com\\@evil.example"}, "base_url"),
        ({"base_url": "http://127.0.0.01"}, "base_url"),
        ({"base_url": "http://10.0.0.1"}, "base_url"),
        ({"base_url": "http://snow.internal"}, "base_url"),
        ({"base_url": "ftp://x.service-now.com"}, "base_url"),
        ({"base_url": "https://[::1"}, "base_url"),
        ({"base_url": "https://x.service-now.com:99999"}, "base_url"),
        ({"handle": "history"}, "handle"),
        ({"handle": "Prod"}, "handle"),
        ({"handle": "-x"}, "handle"),
        ({"handle": "int_X"}, "handle"),
        ({"name": "日本"}, "handle"),
        ({"name": "List"}, "handle"),
        ({"integration_type": "jira"}, "integration_type"),
        ({"sync_direction": "both"}, "sync_direction"),
        ({"enabled": "yes"}, "enabled"),
        ({"conflict_strategy": "newest"}, "conflict_strategy"),
        ({"conflict_window": 5}, "conflict_window"),
        ({"conflict_window": "5"}, "conflict_window"),
        ({"transaction_quota": "0s"}, "transaction_quota"),
        ({"rate_limit": 0}, "rate_limit"),
        ({"rate_limit": True}, "rate_limit"),
        ({"max_concurrency": 33}, "max_concurrency"),
        ({"max_concurrency": 2.5}, "max_concurrency"),
        ({"import_query": "active=true^NQactive=false"}, "import_query"),
        ({"import_query": "^active=true"}, "import_query"),
        ({"import_query": "ORactive=true"}, "import_query"),
        ({"import_query": "NQactive=true"}, "import_query"),
        ({"import_query": "active=true^EQ"}, "import_query"),
        ({"import_query": "active=true^ORDERBYnumber"}, "import_query"),
        ({"import_query": "active=true^ORDERBYDESCnumber"}, "import_query"),
        ({"import_query": "active=true^GROUPBYstate"}, "import_query"),
        ({"import_query": "caller_id=JavaScript:gs.getUserID()"}, "import_query"),
        ({"external_defaults": []}, "external_defaults"),
        ({"external_defaults": {"close_code": 5}}, "external_defaults.close_code"),
        ({"external_defaults": {"state": "7"}}, "external_defaults.state"),
        ({"external_defaults": {"sys_id": "7"}}, "external_defaults.sys_id"),
        ({"external_defaults": {"Caller ID": "x"}}, "external_defaults.Caller ID"),
        ({"external_defaults": {"resolve": {"priority": "1"}}}, "external_defaults.resolve.priority"),
        ({"external_defaults": {"reopen": {"x": "1"}}}, "external_defaults.reopen"),
        ({"credentials": {"username": "x"}}, "credentials"),
        ({"credentials": {"api_key": "x", "username": "x"}}, "credentials"),
        ({"credentials": {"token": "x"}}, "credentials.token"),
        ({"credentials": {"client_id": "x"}}, "credentials"),
        ({"credentials": {"client_id": "x", "client_secret": "y", "username": "z"}}, "credentials"),
        ({"credentials": {"client_id": "x", "client_secret": "y", "api_key": "z"}}, "credentials"),
        ({"credentials": {"client_id": " x", "client_secret": "y"}}, "credentials.client_id"),
        ({"credentials": {"client_id": "x", "client_secret": "y\n"}}, "credentials.client_secret"),
        ({"credentials": "x"}, "credentials"),
        ({"credentials": {"api_key": "k\n"}}, "credentials.api_key"),
        ({"credentials": {"api_key": " k"}}, "credentials.api_key"),
        ({"credentials": {"api_key": "k "}}, "credentials.api_key"),
        ({"credentials": {"api_key": "k\u00e9"}}, "credentials.api_key"),
        ({"credentials": {"api_key": "k\u007fk"}}, "credentials.api_key"),
        ({"credentials": {"username": "u\t", "password": "p"}}, "credentials.username"),
        ({"credentials": {"username": "\u00fc", "password": "p"}}, "credentials.username"),
        ({"credentials": {"username": "u", "password": "p\r\n"}}, "credentials.password"),
        ({"credentials": {"username": "u", "password": "p\u0085"}}, "credentials.password"),
        ({"webhook_secret": ""}, "webhook_secret"),
        ({"poll_interval": "0.9s"}, "poll_interval"),
        ({"poll_interval": "never"}, "poll_interval"),
        ({"closed_policy": "forget"}, "closed_policy"),
        ({"field_ownership": {}}, "field_ownership"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_refused_integration_names_the_field(fields: dict[str, object], path: str) -> None:
    async with running() as daemon:
        answer = await daemon.socket.post(PATH, json={"name": "Prod", "base_url": SNOW} | fields)
        assert answer.status_code == 422
        assert path in fault_paths(answer)
        assert daemon.journal.state.integrations == {}


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://X.service-now.com/", "https://x.service-now.com"),
        ("https://x.service-now.com:443", "https://x.service-now.com:443"),
        ("https://snow.internal:8443", "https://snow.internal:8443"),
        ("http://127.0.0.1:18555", "http://127.0.0.1:18555"),
        ("http://localhost:1", "http://localhost:1"),
        ("http://[::1]:9", "http://[::1]:9"),
        ("http://127.255.0.3", "http://127.255.0.3"),
    ],
)
async def test_an_address_that_is_allowed_is_kept_in_one_form(url: str, kept: str) -> None:
    async with running() as daemon:
        assert (await daemon.configure(base_url=url))["base_url"] == kept


@pytest.mark.parametrize("query", ["", "active=true", "priority=1^ORpriority=2", "origin=x^order=1", "a=1^equipment=2"])
async def test_an_ordinary_import_query_is_kept_as_it_is(query: str) -> None:
    async with running() as daemon:
        assert (await daemon.configure(import_query=query))["import_query"] == query


@pytest.mark.parametrize(
    "credentials",
    [
        {"api_key": "tell-tale\n"},
        {"api_key": " tell-tale"},
        {"username": "u", "password": "tell-tale\n"},
        {"username": "tell-tale\u00e9", "password": "p"},
    ],
)
async def test_a_credential_with_a_line_end_is_refused_and_shown_nowhere(
    credentials: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    async with running() as daemon:
        with caplog.at_level(logging.DEBUG):
            body = {"name": "Prod", "base_url": SNOW, "credentials": credentials}
            answer = await daemon.socket.post(PATH, json=body)
        assert answer.status_code == 422
        assert "tell-tale" not in answer.text + caplog.text


async def test_a_password_keeps_its_blanks_and_its_letters() -> None:
    async with running() as daemon:
        made = await daemon.configure(credentials={"username": "u", "password": " pä ss "})
        sealed = daemon.journal.state.integrations[made["id"]].credentials["password"]
        slot = (daemon.journal.state.journal_id, made["id"], "password")
        assert daemon.desk.vault.open(sealed, *slot).reveal() == " pä ss "


async def test_a_refused_secret_is_not_repeated_in_the_answer() -> None:
    async with running() as daemon:
        wanted = {"name": "p", "base_url": SNOW, "credentials": {"username": "u\0", "password": "hunter-2\0"}}
        answer = await daemon.socket.post(PATH, json=wanted)
        assert answer.status_code == 422
        assert "hunter" not in answer.text


async def test_handles_are_unique_in_the_daemon_and_names_in_an_organization() -> None:
    async with running() as daemon:
        first = await daemon.configure(organization_id="a", handle="prod")
        taken = await daemon.socket.post(PATH, json={"name": "Other", "base_url": SNOW, "handle": "prod"})
        assert (taken.status_code, fault_paths(taken)) == (409, ["handle"])
        body = {"organization_id": "a", "name": first["name"], "base_url": SNOW, "handle": "two"}
        taken = await daemon.socket.post(PATH, json=body)
        assert (taken.status_code, fault_paths(taken)) == (409, ["name"])
        other = await daemon.configure(organization_id="b", handle="two")
        rename = await daemon.socket.patch(f"{PATH}/{other['id']}", json={"handle": "prod"})
        assert rename.status_code == 409
        assert (await daemon.socket.get(f"{PATH}/{first['name']}")).status_code == 404  # two have that name
        assert (await daemon.socket.patch(f"{PATH}/two", json={"handle": "three"})).json()["handle"] == "three"


async def test_an_unknown_integration_is_answered_with_the_handles_and_the_command_that_helps() -> None:
    async with running() as daemon:
        nothing = await daemon.socket.get(f"{PATH}/prod-snow")
        assert nothing.status_code == 404
        assert "im integration configure prod-snow" in nothing.json()["hint"]
        await daemon.configure()
        answer = await daemon.socket.get(f"{PATH}/prod-snow/sync-status")
        assert answer.status_code == 404
        assert "production-servicenow" in answer.json()["detail"]
        assert "im integration configure production-servicenow --handle prod-snow" in answer.json()["hint"]


async def test_settings_change_one_by_one_and_an_organization_stays() -> None:
    async with running() as daemon:
        made = await daemon.configure(external_defaults={"caller_id": "x", "resolve": {"close_code": "Solved"}})
        path = f"{PATH}/{made['handle']}"
        answer = await daemon.socket.patch(path, json={"rate_limit": 2.5, "external_defaults": {"close_notes": "n"}})
        assert answer.status_code == 200
        made.pop("webhook_secret")
        assert answer.json() == made | {"rate_limit": 2.5, "external_defaults": {"close_notes": "n"}}
        moved = await daemon.socket.patch(path, json={"organization_id": "other"})
        assert (moved.status_code, fault_paths(moved)) == (422, ["organization_id"])
        position = daemon.journal.state.position
        assert (await daemon.socket.patch(path, json={"organization_id": "default"})).status_code == 200
        assert daemon.journal.state.position == position


async def test_another_address_without_credentials_clears_the_old_ones() -> None:
    async with running() as daemon:
        made = await daemon.configure()
        path = f"{PATH}/{made['id']}"
        await daemon.socket.patch(path, json={"rate_limit": 5, "base_url": SNOW})
        assert daemon.journal.state.integrations[made["id"]].credentials
        answer = await daemon.socket.patch(path, json={"base_url": "https://snow.internal"})
        assert (answer.json()["credentials_set"], answer.json()["account"]) == ([], None)
        assert daemon.journal.state.integrations[made["id"]].credentials == {}
        status = (await daemon.socket.get(f"{path}/sync-status")).json()
        assert status["state"] == "paused"
        assert "no credentials" in status["reasons"][0]
        body = {"base_url": SNOW, "credentials": {"api_key": "k"}}
        assert (await daemon.socket.patch(path, json=body)).json()["credentials_set"] == ["api_key"]


@pytest.mark.parametrize("user", [{}, {"username": "u", "password": "p"}])
async def test_the_credentials_of_an_oauth_client_are_kept_sealed(user: dict[str, str]) -> None:
    async with running() as daemon:
        made = await daemon.configure()
        body = {"credentials": {"client_id": "client-7351", "client_secret": "secret 7351", **user}}
        answer = await daemon.socket.patch(f"{PATH}/{made['id']}", json=body)
        assert answer.json()["credentials_set"] == sorted(body["credentials"])
        assert "7351" not in answer.text
        one = daemon.journal.state.integrations[str(made["id"])]
        assert "7351" not in repr(one)
        assert one.account == user.get("username", "")


async def test_a_deleted_integration_is_gone_and_its_incidents_are_not() -> None:
    async with running() as daemon:
        made = await daemon.configure()
        incident = await daemon.declare()
        assert (await daemon.socket.delete(f"{PATH}/{made['handle']}")).status_code == 204
        assert (await daemon.socket.get(f"{PATH}/{made['id']}")).status_code == 404
        assert (await daemon.socket.delete(f"{PATH}/{made['id']}")).status_code == 404
        assert (await daemon.socket.get(f"/api/v1/incidents/{incident['id']}")).status_code == 200


async def test_the_list_is_filtered_and_paged() -> None:
    async with running() as daemon:
        for number in range(3):
            daemon.clock.at_s += 1
            await daemon.configure(name=f"n{number}", organization_id="a" if number else "b")
        listed = (await daemon.socket.get(PATH)).json()
        assert [one["handle"] for one in listed] == ["n0", "n1", "n2"]
        assert [one["handle"] for one in (await daemon.socket.get(f"{PATH}?org=a")).json()] == ["n1", "n2"]
        assert (await daemon.socket.get(f"{PATH}?type=jira")).json() == []
        first = await daemon.socket.get(f"{PATH}?limit=2")
        rest = await daemon.socket.get(first.links["next"]["url"])
        assert first.json() + rest.json() == listed
        assert "next" not in rest.links


@pytest.mark.parametrize("name", ["日本 snow", 'a>b"; x', "50% off, really"])
async def test_the_next_page_of_a_list_is_a_link_whatever_the_name(name: str) -> None:
    async with running() as daemon:
        await daemon.configure(name=name, handle="prod")
        await daemon.configure(name="Other", handle="other")
        for _ in range(2):
            await daemon.declare()
        state = daemon.journal.state
        for one in state.integrations.values():
            for incident_id in state.incidents:
                await daemon.integrations.link(one.id, incident_id, incident_id.lower())
        answer = await daemon.socket.get(f"{PATH}/{quote(name)}/links", params={"limit": 1})
        target, _, rest = answer.headers["link"].partition(">")
        assert target.isascii()
        assert not {" ", '"'} & set(target)
        assert rest == '; rel="next"'
        following = await daemon.socket.get(target.removeprefix("<"))
        assert len(following.json()) == 1
        assert following.json() != answer.json()


async def status_of(daemon: Daemon, handle: str) -> dict[str, object]:
    status: dict[str, object] = (await daemon.socket.get(f"{PATH}/{handle}/sync-status")).json()
    return status


async def test_sync_status_says_what_it_does_and_why() -> None:
    async with running() as daemon:
        handle = (await daemon.configure())["handle"]
        status = await status_of(daemon, handle)
        assert status == status | {
            "state": "healthy",
            "reasons": [],
            "links": {"total": 0, "active": 0, "pending": 0, "parked": 0},
            "queue": {
                "outbox": 0,
                "inflight": 0,
                "retrying": 0,
                "oldest_age_s": None,
                "clears_in_s": None,
                "stalled": 0,
                "looked_up": 0,
                "oldest_looked_up": False,
                "paced_by": None,
                "hints": 0,
                "undecided": 0,
            },
            "lag": {"inbound": None, "outbound": None},
            "dlq": 0,
            "conflicts": 0,
            "webhooks": {"last_received_at": None, "accepted": 0, "rejected": 0, "duplicates": 0, "coverage": None},
            "last_errors": [],
            "last_reconcile": None,
        }
        daemon.integrations.health_now = Health(
            breaker="open", requests=7, errors=2, throttled=1, outcomes={"ok": 5, "unavailable": 2}
        )
        status = await status_of(daemon, handle)
        assert (status["state"], status["api"]) == (
            "down",
            {
                "requests": 7,
                "throttled": 1,
                "errors": 2,
                "remaining_budget": None,
                "breaker": "open",
                "outcomes": {"ok": 5, "unavailable": 2},
                "latency": None,
            },
        )
        daemon.integrations.health_now = Health(halted="halted: a bug")
        status = await status_of(daemon, handle)
        way_out = f"start it again: im integration configure {handle} --no-enabled, and then --enabled"
        assert (status["state"], status["reasons"]) == ("paused", [f"halted: a bug; {way_out}"])
        daemon.integrations.health_now = Health(halted="ServiceNow refused the credentials (401)", breaker="paused")
        shown = str((await status_of(daemon, handle))["reasons"])
        assert "ServiceNow refused the credentials (401); give it working credentials" in shown
        daemon.integrations.health_now = Health()
        await daemon.socket.patch(f"{PATH}/{handle}", json={"enabled": False})
        assert (await status_of(daemon, handle))["state"] == "paused"


async def test_the_webhook_script_is_ready_to_paste_and_holds_no_secret() -> None:
    async with running() as daemon:
        made = await daemon.configure()
        path = f"{PATH}/{made['handle']}/webhook-script"
        answer = await daemon.socket.get(path)
        assert answer.headers["content-type"].startswith("text/javascript")
        script = answer.text
        assert f"'https://sync.example.org/api/v1/webhooks/{made['id']}'" in script
        assert made["webhook_secret"] not in script
        assert "webhook_secret" in script
        assert "current.operation()" in script
        assert "@" not in script
        as_json = await daemon.socket.get(path, headers={"Accept": "application/json"})
        assert as_json.json() == {"script": script, "version": RULE_VERSION}


async def test_rotation_shows_the_new_secret_once_and_says_how_long_the_old_one_lives() -> None:
    async with running() as daemon:
        made = await daemon.configure()
        path = f"{PATH}/{made['handle']}/webhook-secret/rotate"
        answer = await daemon.socket.post(path)
        assert answer.status_code == 200
        assert answer.json().keys() == {"webhook_secret", "previous_valid_until"}
        assert answer.json()["webhook_secret"] != made["webhook_secret"]
        assert answer.json()["previous_valid_until"] == "2026-09-22T14:13:20.000000Z"
        short = await daemon.socket.post(path, json={"grace": "1h"})
        assert short.json()["previous_valid_until"] == "2026-09-21T15:13:20.000000Z"
        assert (await daemon.socket.post(path, json={"grace": "soon"})).status_code == 422


async def test_a_run_that_cannot_be_says_why() -> None:
    async with running() as daemon:
        made = await daemon.configure()
        path = f"{PATH}/{made['handle']}/reconcile"
        for failure in (
            Busy("a run goes on", retry_after_s=3),
            SyncdError("ServiceNow answered HTML", hint="look there"),
        ):
            daemon.integrations.failure = failure
            answer = await daemon.socket.post(path, json={"auto_heal": True})
            assert (answer.status_code, answer.json()["detail"]) == (503, str(failure))


async def test_an_unexpected_error_is_a_500_that_names_its_trace_and_nothing_else() -> None:
    async with running() as daemon:
        made = await daemon.configure()
        daemon.integrations.failure = RuntimeError("internal detail")  # type: ignore[assignment]
        answer = await daemon.socket.post(f"{PATH}/{made['handle']}/reconcile", json={"auto_heal": True})
        assert answer.status_code == 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert "internal detail" not in answer.text
        assert answer.headers["x-trace-id"] in answer.json()["detail"]
