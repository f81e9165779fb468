"""Who did what, and from where: every change that a caller asks for says so in the journal."""

from typing import Any

from syncd.core.events import Record, Source
from tests.edges.api.daemon import BODY, Daemon, running, signature

INCIDENTS = "/api/v1/incidents"
INTEGRATIONS = "/api/v1/integrations"
TOKENS = "/api/v1/tokens"
SECRET = "a-webhook-secret-of-the-test"
SNOW: dict[str, Any] = {
    "name": "Production",
    "handle": "prod",
    "base_url": "https://example.service-now.com",
    "credentials": {"username": "api", "password": "pass-word-1"},
    "webhook_secret": SECRET,
}


async def token(daemon: Daemon, name: str, scope: str = "admin") -> tuple[str, str]:
    """A new token: its id and its text."""
    made = (await daemon.socket.post(TOKENS, json={"name": name, "scope": scope})).json()
    return made["id"], made["token"]


async def records(daemon: Daemon, after: int) -> list[Record]:
    return await daemon.journal.since(after, 1000)


def kinds(records: list[Record]) -> set[str]:
    return {type(event).__name__ for record in records for event in record.events}


async def test_every_change_over_tcp_names_the_token_and_the_address() -> None:
    async with running() as daemon:
        token_id, text = await token(daemon, "ops")
        spare, _ = await token(daemon, "spare")
        ops, begin = daemon.client(token=text, address="10.0.0.9"), daemon.journal.state.position
        incident = (await ops.post(INCIDENTS, json=BODY, headers={"Idempotency-Key": "k"})).json()
        one = f"{INCIDENTS}/{incident['id']}"
        answers = [
            await ops.patch(one, json={"severity": "1"}),
            await ops.post(f"{one}/notes", json={"text": "x"}),
            await ops.post(INTEGRATIONS, json=SNOW),
            await ops.patch(f"{INTEGRATIONS}/prod", json={"rate_limit": 5}),
            await ops.post(f"{INTEGRATIONS}/prod/webhook-secret/rotate", json={}),
            await ops.post(f"{INTEGRATIONS}/prod/links", json={"incident_id": incident["id"], "external_id": "5" * 32}),
            await ops.delete(f"{INTEGRATIONS}/prod/links/{incident['id']}"),
            await ops.delete(f"{INTEGRATIONS}/prod"),
            await ops.post(TOKENS, json={"name": "x", "scope": "read"}),
            await ops.delete(f"{TOKENS}/{spare}"),
        ]
        assert [answer.status_code for answer in answers] == [200, 201, 201, 200, 200, 201, 204, 204, 201, 204]
        made = await records(daemon, begin)
        assert {(record.by, record.source) for record in made} == {("token:ops", Source(token_id, "10.0.0.9"))}
        assert kinds(made) >= {
            *("TokenUsed", "IncidentDeclared", "AnswerKept", "IncidentEdited", "NoteAdded", "IntegrationConfigured"),
            *("IntegrationChanged", "WebhookSecretsChanged", "LinkJoined", "LinkRemoved", "IntegrationDeleted"),
            *("TokenCreated", "TokenRevoked"),
        }


async def test_a_change_over_the_socket_names_the_user_and_the_process() -> None:
    async with running() as daemon:
        begin = daemon.journal.state.position
        alice = daemon.client(peer=(4711, 600, 700))
        assert (await alice.post(INCIDENTS, json=BODY)).json()["updated_by"] == "user:alice"
        (made,) = await records(daemon, begin)
        assert (made.by, made.source) == ("user:alice", Source("uid:600", "pid:4711"))


async def test_two_tokens_of_one_name_are_told_apart() -> None:
    async with running() as daemon:
        begun = [await token(daemon, "deploy-bot", "operate") for _ in range(2)]
        position = daemon.journal.state.position
        for _, text in begun:
            made = (await daemon.client(token=text).post(INCIDENTS, json=BODY)).json()
            assert made["updated_by"] == "token:deploy-bot"
        declared = [one.source for one in await records(daemon, position) if "IncidentDeclared" in kinds([one])]
        assert [source.principal for source in declared if source] == [token_id for token_id, _ in begun]


async def test_the_timeline_says_which_caller_asked_and_from_where() -> None:
    async with running() as daemon:
        token_id, text = await token(daemon, "ops", "operate")
        made = (await daemon.client(token=text, address="10.0.0.9").post(INCIDENTS, json=BODY)).json()
        (event,) = (await daemon.socket.get(f"{INCIDENTS}/{made['id']}/timeline")).json()
        assert (event["by"], event["principal"], event["address"]) == ("token:ops", token_id, "10.0.0.9")


async def test_a_webhook_says_where_it_came_from() -> None:
    async with running() as daemon:
        made = (await daemon.socket.post(INTEGRATIONS, json=SNOW)).json()
        begin, body = daemon.journal.state.position, b'{"sys_id": "0123456789abcdef0123456789abcdef"}'
        headers = {"X-ServiceNow-Signature": signature(SECRET, body)}
        instance = daemon.client(address="198.51.100.7")
        answer = await instance.post(f"/api/v1/webhooks/{made['id']}", content=body, headers=headers)
        assert answer.status_code == 202
        (hinted,) = await records(daemon, begin)
        assert (hinted.by, hinted.source) == ("integration:prod", Source("webhook", "198.51.100.7"))


async def test_what_nobody_asked_for_names_no_caller() -> None:
    async with running() as daemon:
        (birth,) = await records(daemon, 0)
        assert (birth.by, birth.source) == ("daemon", None)


async def test_without_tokens_the_address_is_all_there_is() -> None:
    async with running(auth="none") as daemon:
        begin = daemon.journal.state.position
        assert (await daemon.http.post(INCIDENTS, json=BODY)).json()["updated_by"] == "anonymous"
        (made,) = await records(daemon, begin)
        assert made.source == Source("anonymous", "127.0.0.1")
