"""Every path that users may call, with each status it can answer, through the real doors.

The rows are the promise to scripts: they change only with a note in the changelog. What is promised for a later version
is here too: it is refused by name, and nothing else happens.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

import httpx

from syncd.errors import Busy
from tests.core.picture import INC, SYS_ID
from tests.edges.api.daemon import SNOW, Daemon, running
from tests.edges.api.live import listening
from tests.edges.api.test_conflicts import pictured

V1 = "/api/v1"
INCIDENTS, INTEGRATIONS, CONFLICTS, TOKENS = (
    f"{V1}/{name}" for name in ("incidents", "integrations", "conflicts", "tokens")
)
ONE, PROD, SPARE = f"{INCIDENTS}/{INC}", f"{INTEGRATIONS}/prod", f"{INTEGRATIONS}/spare"
NEW = {"title": "Down", "severity": "SEV-2"}
MADE = {"name": "Other", "base_url": SNOW}
Body = Mapping[str, object] | None


class Row(NamedTuple):
    """One call and its answer."""

    method: str
    path: str
    body: Body
    status: int
    headers: Mapping[str, str] = {}


# In this order on one daemon: `prod` with its conflict and dead letters, and `spare` with nothing.
DONE = [
    Row("GET", "/health", None, 200),
    Row("GET", "/ready", None, 200),
    Row("GET", "/metrics", None, 200),
    Row("GET", f"{V1}/status", None, 200),
    Row("GET", f"{V1}/openapi.json", None, 200),
    Row("GET", "/docs", None, 200),
    Row("POST", INCIDENTS, NEW, 201),
    Row("GET", INCIDENTS, None, 200),
    Row("GET", f"{INCIDENTS}?organization_id=acme&status=open&severity=sev-3&q=down&integration=prod", None, 200),
    Row("GET", f"{INCIDENTS}?updated_since=2026-09-21T00:00:00Z&limit=1", None, 200),
    Row("GET", ONE, None, 200),
    Row("PATCH", ONE, {"service": "shop"}, 200),
    Row("PATCH", ONE, {"service": "cart"}, 200, {"If-Match": "*"}),
    Row("GET", f"{ONE}/notes", None, 200),
    Row("POST", f"{ONE}/notes", {"text": "failed over", "author": "ana"}, 201),
    Row("GET", f"{ONE}/timeline", None, 200),
    Row("GET", f"{ONE}/timeline?order=newest&limit=1", None, 200),
    Row("GET", f"{ONE}/explain", None, 200),
    Row("GET", f"{ONE}/explain?field=title", None, 200),
    Row("GET", f"{V1}/events?since=0", None, 200),
    Row("GET", f"{V1}/events?incident={INC}&integration=prod&type=im.sync.", None, 200, {"Last-Event-ID": "1-0"}),
    Row("POST", INTEGRATIONS, MADE, 201),
    Row("GET", INTEGRATIONS, None, 200),
    Row("GET", f"{INTEGRATIONS}?org=acme&type=servicenow", None, 200),
    Row("GET", PROD, None, 200),
    Row("GET", f"{INTEGRATIONS}/int_A", None, 200),
    Row("GET", f"{INTEGRATIONS}/Prod", None, 200),
    Row("PATCH", PROD, {"rate_limit": 5}, 200),
    Row("GET", f"{PROD}/sync-status", None, 200),
    Row("POST", f"{PROD}/test", None, 200),
    Row("POST", f"{PROD}/test", {"write_check": True}, 200),
    Row("GET", f"{PROD}/webhook-script", None, 200),
    Row("POST", f"{SPARE}/webhook-secret/rotate", None, 200),
    Row("POST", f"{SPARE}/webhook-secret/rotate", {"grace": "1h"}, 200),
    Row("GET", f"{PROD}/reconcile/history", None, 200),
    Row("POST", f"{PROD}/reconcile", {"auto_heal": True}, 202),
    Row("POST", f"{PROD}/reconcile", {}, 202),
    Row("POST", f"{PROD}/reconcile", {"dry_run": True, "auto_heal": False}, 202),
    Row("GET", f"{PROD}/reconcile/history/run-5", None, 200),
    Row("POST", f"{PROD}/reconcile/schedule", {"interval": "1h", "auto_heal": True, "enabled": True}, 200),
    Row("GET", f"{PROD}/reconcile/schedule", None, 200),
    Row("POST", f"{PROD}/import", {"query": "active=true", "dry_run": True}, 200),
    Row("POST", f"{PROD}/import", {"query": "active=true"}, 202),
    Row("POST", f"{PROD}/import?wait=true", {"query": "active=true"}, 200),
    Row("GET", f"{PROD}/import", None, 200),
    Row("POST", f"{PROD}/import/stop", None, 200),
    Row("POST", f"{PROD}/reconcile?wait=true", {"auto_heal": True, "dry_run": False, "force": False}, 200),
    Row("GET", f"{PROD}/field-ownership", None, 200),
    Row("PUT", f"{PROD}/field-ownership/severity", {"owner": "platform", "priority": 10}, 200),
    Row("PUT", f"{PROD}/field-ownership/severity", {"owner": "external", "exclusive": True}, 200),
    Row("DELETE", f"{PROD}/field-ownership/severity", None, 200),
    Row("PUT", f"{PROD}/field-mapping/service", {"external_field": "u_service", "transform": "upper"}, 200),
    Row("GET", f"{PROD}/field-mapping", None, 200),
    Row("DELETE", f"{PROD}/field-mapping/service", None, 200),
    Row("GET", f"{PROD}/dlq", None, 200),
    Row("POST", f"{PROD}/dlq/entry-2/retry", None, 200),
    Row("POST", f"{PROD}/dlq/entry-3/discard", None, 200),
    Row("POST", f"{PROD}/dlq/retry", None, 200),
    Row("GET", CONFLICTS, None, 200),
    Row("GET", f"{CONFLICTS}?integration=prod&status=pending&incident={INC}", None, 200),
    Row("GET", f"{CONFLICTS}/conflict-1", None, 200),
    Row("POST", f"{CONFLICTS}/conflict-1/resolve", {"use": "platform"}, 200, {"If-Match": "1"}),
    Row("GET", f"{PROD}/links", None, 200),
    Row("DELETE", f"{PROD}/links/{INC}", None, 204),
    Row("POST", f"{PROD}/links", {"incident_id": INC, "external_id": SYS_ID}, 201),
    Row("GET", TOKENS, None, 200),
    Row("POST", TOKENS, {"name": "bot", "scope": "read"}, 201),
    Row("GET", f"{V1}/keys", None, 200),
    Row("POST", f"{V1}/keys/rotate", {"new_key": "n" * 43}, 200),
    Row("DELETE", SPARE, None, 204),
]

REFUSED = [
    # 404: an unknown id
    *(Row("GET", f"{INCIDENTS}/INC-NONE{rest}", None, 404) for rest in ("", "/notes", "/timeline", "/explain")),
    Row("PATCH", f"{INCIDENTS}/INC-NONE", {"title": "x"}, 404),
    Row("POST", f"{INCIDENTS}/INC-NONE/notes", {"text": "x"}, 404),
    *(
        Row("GET", f"{INTEGRATIONS}/none{rest}", None, 404)
        for rest in ("", "/sync-status", "/webhook-script", "/links", "/dlq")
    ),
    Row("PATCH", f"{INTEGRATIONS}/none", {"enabled": True}, 404),
    Row("DELETE", f"{INTEGRATIONS}/none", None, 404),
    Row("POST", f"{INTEGRATIONS}/none/webhook-secret/rotate", None, 404),
    Row("POST", f"{INTEGRATIONS}/none/reconcile", {"auto_heal": True}, 404),
    Row("POST", f"{INTEGRATIONS}/none/import", {"query": "active=true"}, 404),
    Row("GET", f"{SPARE}/import", None, 404),
    Row("POST", f"{SPARE}/import/stop", None, 404),
    Row("POST", f"{INTEGRATIONS}/none/links", {"incident_id": INC, "external_id": SYS_ID}, 404),
    Row("POST", f"{PROD}/links", {"incident_id": "INC-NONE", "external_id": SYS_ID}, 404),
    Row("DELETE", f"{PROD}/links/INC-NONE", None, 404),
    Row("POST", f"{PROD}/dlq/entry-99/retry", None, 404),
    Row("POST", f"{PROD}/dlq/entry-99/discard", None, 404),
    Row("POST", f"{INTEGRATIONS}/none/dlq/retry", None, 404),
    Row("GET", f"{CONFLICTS}/conflict-99", None, 404),
    Row("POST", f"{CONFLICTS}/conflict-99/resolve", {"use": "platform"}, 404),
    Row("POST", f"{CONFLICTS}/conflict-99/ignore", None, 404),
    Row("GET", f"{CONFLICTS}?incident=INC-NONE", None, 404),
    Row("GET", f"{INCIDENTS}?integration=none", None, 404),
    Row("DELETE", f"{TOKENS}/none", None, 404),
    Row("GET", f"{V1}/nothing", None, 404),
    # 405, with the methods that there are
    Row("DELETE", ONE, None, 405),
    Row("PUT", INCIDENTS, NEW, 405),
    Row("POST", "/health", None, 405),
    Row("GET", f"{V1}/webhooks/prod", None, 405),
    # 409: taken, or not in a state that allows it
    Row("POST", INTEGRATIONS, {**MADE, "handle": "prod"}, 409),
    Row("POST", INTEGRATIONS, {**MADE, "name": "Prod", "handle": "x", "organization_id": "acme"}, 409),
    Row("PATCH", SPARE, {"handle": "prod"}, 409),
    Row("POST", f"{PROD}/links", {"incident_id": INC, "external_id": "6" * 32}, 409),
    # 412
    Row("PATCH", ONE, {"title": "x"}, 412, {"If-Match": '"9"'}),
    Row("POST", f"{CONFLICTS}/conflict-1/resolve", {"use": "platform"}, 412, {"If-Match": "9"}),
    Row("POST", f"{CONFLICTS}/conflict-1/ignore", None, 412, {"If-Match": "9"}),
    # 400: a header that cannot be
    Row("PATCH", ONE, {"title": "x"}, 400, {"If-Match": "newest"}),
    Row("POST", INCIDENTS, NEW, 400, {"Idempotency-Key": ""}),
    # 422: unknown keys and filters
    Row("POST", INCIDENTS, {**NEW, "titel": "x"}, 422),
    Row("PATCH", ONE, {"id": "x"}, 422),
    Row("POST", f"{ONE}/notes", {"text": "x", "origin": "x"}, 422),
    Row("POST", INTEGRATIONS, {**MADE, "colour": "x"}, 422),
    Row("PATCH", PROD, {"id": "x"}, 422),
    Row("POST", f"{PROD}/webhook-secret/rotate", {"x": 1}, 422),
    Row("POST", f"{PROD}/reconcile", {"auto_heal": True, "x": 1}, 422),
    Row("POST", f"{PROD}/import", {"query": "active=true", "x": 1}, 422),
    *(Row("POST", f"{PROD}/import", {"query": query}, 422) for query in ("", "opened_atONToday", "^NQactive=true", 1)),
    Row("POST", f"{PROD}/links", {"incident_id": INC, "external_id": SYS_ID, "x": 1}, 422),
    *(Row("POST", f"{PROD}/dlq/{rest}", {"x": 1}, 422) for rest in ("retry", "entry-2/retry", "entry-2/discard")),
    Row("POST", f"{CONFLICTS}/conflict-1/resolve", {"use": "platform", "x": 1}, 422),
    Row("POST", f"{CONFLICTS}/conflict-1/ignore", {"x": 1}, 422),
    Row("POST", TOKENS, {"scope": "read", "x": 1}, 422),
    *(
        Row("GET", f"{path}?x=1", None, 422)
        for path in (
            INCIDENTS,
            f"{ONE}/notes",
            f"{ONE}/timeline",
            f"{ONE}/explain",
            f"{V1}/events",
            INTEGRATIONS,
            f"{PROD}/links",
            f"{PROD}/dlq",
            CONFLICTS,
            TOKENS,
        )
    ),
    Row("POST", f"{PROD}/reconcile?limit=1", {"auto_heal": True}, 422),
    # 422: values
    *(Row("GET", f"{V1}/events?{query}", None, 422) for query in ("since=x", "since=99999", "type=x", "limit=1")),
    Row("GET", f"{V1}/events", None, 422, {"Last-Event-ID": "x"}),
    Row("GET", f"{V1}/events?incident=INC-NONE", None, 404),
    Row("GET", f"{ONE}/explain?field=x", None, 422),
    Row("GET", f"{ONE}/timeline?order=x", None, 422),
    *(
        Row("GET", f"{INCIDENTS}?{query}", None, 422)
        for query in ("limit=0", "limit=1001", "limit=x", "cursor=x", "status=x")
    ),
    *(Row("GET", f"{INCIDENTS}?{query}", None, 422) for query in ("severity=5", "updated_since=today", "q=a&q=b")),
    *(Row("POST", INCIDENTS, body, 422) for body in ({}, {"title": "x"}, {"severity": 1}, {**NEW, "title": " "})),
    Row("PATCH", ONE, {}, 422),
    Row("PATCH", ONE, {"status": "done"}, 422),
    Row("PATCH", ONE, {"title": None}, 422),
    Row("POST", f"{ONE}/notes", {}, 422),
    Row("POST", INTEGRATIONS, {"name": "x"}, 422),
    Row("POST", INTEGRATIONS, {**MADE, "base_url": "http://example.com"}, 422),
    Row("POST", INTEGRATIONS, {**MADE, "handle": "history"}, 422),
    Row("PATCH", PROD, {"organization_id": "other"}, 422),
    *(Row("POST", f"{PROD}/links", {"incident_id": INC, "external_id": word}, 422) for word in ("INC0010001", "a b")),
    *(Row("POST", f"{CONFLICTS}/conflict-1/resolve", body, 422) for body in ({}, {"use": "both"}, {"value": ""})),
    *(
        Row("POST", TOKENS, body, 422)
        for body in ({}, {"scope": "all"}, {"scope": "read", "expires_at": "2020-01-01T00:00:00Z"})
    ),
    Row("POST", f"{PROD}/reconcile", {"force": 1}, 422),
    *(Row("POST", f"{PROD}/reconcile/schedule", body, 422) for body in ({}, {"interval": "0s"}, {"interval": 1})),
    Row("GET", f"{SPARE}/reconcile/schedule", None, 404),
    Row("GET", f"{PROD}/reconcile/history/run-99", None, 404),
    Row("POST", f"{PROD}/reconcile/history/run-99/stop", None, 404),
]


async def prepared(daemon: Daemon) -> str:
    """Let something of everything be there; gives the text of a token that may do all."""
    await pictured(daemon)
    await daemon.configure(name="Spare", handle="spare")
    daemon.desk.stopping.set()  # so that the stream of events ends, which it is read to
    return await daemon.token("admin")


async def answers(client: httpx.AsyncClient, rows: list[Row]) -> list[tuple[Row, httpx.Response]]:
    """What each of these calls was answered, in their order."""
    return [
        (row, await client.request(row.method, row.path, json=row.body, headers=dict(row.headers)))
        if row.body is not None
        else (row, await client.request(row.method, row.path, headers=dict(row.headers)))
        for row in rows
    ]


def wrong(answered: list[tuple[Row, httpx.Response]]) -> list[str]:
    """The calls that were answered with another status."""
    return [
        f"{row.method} {row.path} {row.body}: {answer.status_code} instead of {row.status}: {answer.text[:300]}"
        for row, answer in answered
        if answer.status_code != row.status
    ]


async def test_every_path_does_what_it_is_there_for() -> None:
    async with running() as daemon:
        token = await prepared(daemon)
        async with listening(daemon) as url, client_of(url, token) as client:
            answered = await answers(client, DONE)
            described = (await client.get(f"{V1}/openapi.json")).json()["paths"]
    assert wrong(answered) == []
    for row, answer in answered:
        if row.status == HTTPStatus.CREATED and not row.path.endswith(("/notes", "/links")):
            assert answer.headers["location"].startswith(f"{row.path}/"), row
        if row.status == HTTPStatus.NO_CONTENT:
            assert answer.content == b""
    reached = {(row.method, str(answer.url.path)) for row, answer in answered}
    missed = [
        (method, path)
        for path, methods in described.items()
        for method in methods
        if not any(is_like(path, there) and method.upper() == verb for verb, there in reached)
    ]
    # The token's id is not known beforehand, the webhook is signed, only one verdict ends a conflict, and the runs here
    # are over before they can be stopped.
    assert sorted(missed) == [
        ("delete", f"{TOKENS}/{{token_id}}"),
        ("post", f"{CONFLICTS}/{{conflict_id}}/ignore"),
        ("post", f"{V1}/integrations/{{integration}}/reconcile/history/{{run}}/stop"),
        ("post", f"{V1}/webhooks/{{integration}}"),
    ]


def is_like(template: str, path: str) -> bool:
    """Whether a path is one of a template's."""
    ours, theirs = template.split("/"), path.split("/")
    return len(ours) == len(theirs) and all(
        mine == yours or mine.startswith("{") for mine, yours in zip(ours, theirs, strict=True)
    )


def client_of(url: str, token: str = "") -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.AsyncClient(base_url=url, headers=headers, trust_env=False)


async def test_every_refusal_is_a_problem_of_its_status_and_changes_nothing() -> None:
    async with running() as daemon:
        token = await prepared(daemon)
        async with listening(daemon) as url, client_of(url, token) as client:
            await client.get(INCIDENTS)  # the first use of a token is on record
            before = daemon.journal.state.position
            answered = await answers(client, REFUSED)
        assert daemon.journal.state.position == before
    assert wrong(answered) == []
    for row, answer in answered:
        assert answer.headers["content-type"] == "application/problem+json", row
        problem = answer.json()
        assert {"type", "title", "status", "detail"} <= problem.keys()
        assert problem["status"] == row.status
        for fault in problem.get("errors", []):
            assert fault.keys() == {"path", "message"}
        if row.status == HTTPStatus.METHOD_NOT_ALLOWED:
            assert answer.headers["allow"]
        if row.status == HTTPStatus.PRECONDITION_FAILED:
            assert problem["current"]["version"] in {1, 2}


async def test_an_unknown_key_is_named() -> None:
    async with running() as daemon:
        token = await prepared(daemon)
        async with listening(daemon) as url, client_of(url, token) as client:
            body = await client.post(INCIDENTS, json={**NEW, "titel": "x"})
            query = await client.get(f"{PROD}/dlq?colour=red")
            nested = await client.post(INTEGRATIONS, json={**MADE, "credentials": {"api_key": "k", "user": "x"}})
    assert [fault["path"] for fault in body.json()["errors"]] == ["titel"]
    assert [fault["path"] for fault in query.json()["errors"]] == ["colour"]
    assert [fault["path"] for fault in nested.json()["errors"]] == ["credentials.user"]


async def test_who_may_not_call_hears_401_403_or_421() -> None:
    async with running() as daemon:
        await prepared(daemon)
        tokens = {scope: await daemon.token(scope) for scope in ("read", "operate", "admin")}
        async with listening(daemon) as url:
            for path in ("/health", "/ready"):
                async with client_of(url) as client:
                    assert (await client.get(path, headers={"Host": "foreign.example"})).status_code == 200
            for path in (INCIDENTS, "/docs", f"{V1}/openapi.json", "/metrics"):
                async with client_of(url) as client:
                    answer = await client.get(path)
                    assert (answer.status_code, answer.headers["www-authenticate"][:6]) == (401, "Bearer"), path
                async with client_of(url, tokens["read"]) as client:
                    assert (await client.get(path)).status_code in {200, 404}, path
                    assert (await client.get(path, headers={"Host": "foreign.example"})).status_code == 421, path
            async with client_of(url, "sync_read_nonsense") as client:
                assert (await client.get(INCIDENTS)).status_code == 401
            async with client_of(url, tokens["read"]) as client:
                assert (await client.post(INCIDENTS, json=NEW)).status_code == 403
            async with client_of(url, tokens["operate"]) as client:
                assert (await client.post(INCIDENTS, json=NEW)).status_code == 201
                assert (await client.post(INTEGRATIONS, json=MADE)).status_code == 403
                for headers in ({"Origin": "https://foreign.example"}, {"Sec-Fetch-Site": "cross-site"}):
                    assert (await client.post(INCIDENTS, json=NEW, headers=headers)).status_code == 403
            async with client_of(url, tokens["admin"]) as client:
                assert (await client.post(INTEGRATIONS, json=MADE)).status_code == 201


async def test_bodies_that_are_no_json_or_too_large_are_400_415_and_413() -> None:
    async with running() as daemon:
        token = await prepared(daemon)
        async with listening(daemon) as url, client_of(url, token) as client:
            for content, media, status in (
                (b'{"title": ', "application/json", 400),
                (b"[]", "application/json", 400),
                (b"\xff", "application/json", 400),
                (b"title=x", "application/x-www-form-urlencoded", 415),
                (b"{}", "text/plain", 415),
                (b'"' + b"x" * (2 * 1024 * 1024) + b'"', "application/json", 413),
            ):
                answer = await client.post(INCIDENTS, content=content, headers={"Content-Type": media})
                assert answer.status_code == status, (content[:20], media, answer.text)
                assert answer.json()["status"] == status
            answer = await client.post(f"{V1}/webhooks/prod", content=b"x" * (1024 * 1024 + 1))
            assert answer.status_code == 413


async def test_too_many_wrong_tokens_and_what_cannot_be_now_say_when_to_come_again() -> None:
    async with running() as daemon:
        token = await prepared(daemon)
        async with listening(daemon) as url:
            async with client_of(url, "wrong") as client:
                statuses = [(await client.get(INCIDENTS)).status_code for _ in range(21)]
                assert statuses == [401] * 20 + [429]
                assert int((await client.get(INCIDENTS)).headers["retry-after"]) > 0
            async with client_of(url, token) as client:
                daemon.integrations.failure = Busy("not now", retry_after_s=7)
                answer = await client.post(f"{PROD}/reconcile", json={"auto_heal": True})
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")


async def test_the_first_answer_to_an_idempotency_key_is_given_again() -> None:
    async with running() as daemon:
        token = await prepared(daemon)
        async with listening(daemon) as url, client_of(url, token) as client:
            headers = {"Idempotency-Key": "k-1"}
            first = await client.post(INCIDENTS, json=NEW, headers=headers)
            again = await client.post(INCIDENTS, json=NEW, headers=headers)
            other = await client.post(INCIDENTS, json={**NEW, "title": "Up"}, headers=headers)
    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 422)
    assert again.content == first.content


async def test_pages_follow_the_link_header_to_the_end() -> None:
    async with running() as daemon:
        token = await prepared(daemon)
        made = [(await daemon.declare())["id"] for _ in range(5)]
        async with listening(daemon) as url, client_of(url, token) as client:
            found, target = [], f"{INCIDENTS}?limit=2&organization_id=default"
            while target:
                answer = await client.get(target)
                assert isinstance(answer.json(), list)
                found += [one["id"] for one in answer.json()]
                target = answer.links["next"]["url"] if answer.links else ""
    assert found == made[::-1]
