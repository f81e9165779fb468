"""Who may call what: every route against every kind of caller, tokens that end, and guesses that are slowed down."""

import logging
import re
from random import Random
from typing import NamedTuple

import pytest
import trio
import trio.testing
from quart import Response
from trio.testing import MockClock

from syncd.core.tokens import SCOPES
from syncd.edges.api.answers import answer
from syncd.edges.api.app import build_quart
from syncd.edges.api.routes import Routes
from tests.edges.api.daemon import BODY, Daemon, running
from tests.simulation.disk import SimDisk

LIST = "/api/v1/incidents"
HOUR_S = 3600.0


def needed(method: str, path: str) -> str | None:
    """The contract's word on scopes, written a second time on purpose."""
    if path in {"/health", "/ready"}:
        return None
    if method == "GET":
        return "read"
    if re.search(r"/(incidents|notes|links|conflicts|dlq|reconcile|import|test)\b", path):
        return "operate"
    return "admin"


class Call(NamedTuple):
    """One row of the route table: what is sent to it, and the scope that it must ask for."""

    method: str
    path: str
    body: object
    scope: str | None


def routes(daemon: Daemon, **names: str) -> list[Call]:
    """Every route, with ids that exist, so that a call which is let in would really do something."""
    sent = {"/incidents": BODY, "/notes": {"text": "x"}, "/tokens": {"name": "x", "scope": "read"}}
    calls = []
    for rule in build_quart(daemon.desk).url_map.iter_rules():
        path = re.sub(r"<([a-z_]+)>", lambda found: names.get(found.group(1), "unknown"), rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            wanted = next((body for end, body in sent.items() if rule.rule.endswith(end)), {})
            calls.append(Call(method, path, None if method == "GET" else wanted, needed(method, rule.rule)))
    return calls


def bearer(token: str) -> tuple[str, str]:
    return "Authorization", f"Bearer {token}"


async def revoked(daemon: Daemon) -> str:
    """A token that was good for a moment."""
    made = (await daemon.socket.post("/api/v1/tokens", json={"name": "gone", "scope": "admin"})).json()
    await daemon.socket.delete(f"/api/v1/tokens/{made['id']}")
    return str(made["token"])


async def test_every_route_asks_every_caller_for_its_scope_and_a_refusal_changes_nothing() -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod")
        incident = await daemon.declare()
        await daemon.token("read", name="to be revoked")
        spare = (await daemon.socket.get("/api/v1/tokens")).json()[0]["id"]
        strangers = {
            "none": (),
            "garbage": (bearer("garbage"),),
            "forged": (bearer((await daemon.token("admin"))[:-1] + "_"),),
            "expired": (bearer(await daemon.token("admin", expires_at="2026-09-21T15:00:00Z")),),
            "revoked": (bearer(await revoked(daemon)),),
        }
        daemon.clock.at_s += HOUR_S
        held = {scope: bearer(await daemon.token(scope)) for scope in SCOPES}
        table = routes(daemon, incident_id=incident["id"], integration="prod", token_id=spare)
        assert len(table) > 25
        assert {scope for *_, scope in table} == {None, *SCOPES}
        position = daemon.journal.state.position

        for number, (method, path, body, scope) in enumerate(table):
            for name, headers in strangers.items():
                status = await daemon.status(method, path, *headers, body=body, address=f"{name}{number}")
                assert status == (200 if scope is None else 401), (method, path, name)
            for word, header in held.items():
                if scope is not None and SCOPES.index(word) < [*SCOPES].index(scope):  # type: ignore[arg-type]
                    assert await daemon.status(method, path, header, body=body) == 403, (method, path, word)
        assert daemon.journal.state.position == position

        for method, path, body, scope in table:
            for word, header in held.items():
                if scope is None or SCOPES.index(word) >= [*SCOPES].index(scope):  # type: ignore[arg-type]
                    status = await daemon.status(method, path, header, body=body)
                    assert status not in {401, 403, 405}, (method, path, word)
                    assert status < 500, (method, path, word)
        assert daemon.journal.state.position > position


async def test_who_has_no_token_is_told_of_the_scope_that_the_route_needs() -> None:
    async with running() as daemon:
        for path, scope in ((LIST, "operate"), ("/api/v1/integrations", "admin")):
            for headers in ({}, dict([bearer("garbage")])):
                refused = (await daemon.http.post(path, json={}, headers=headers)).json()
                assert f"im token create --scope {scope}" in refused["hint"], path
        assert "--scope read" in (await daemon.http.get(LIST)).json()["hint"]


async def test_no_route_shows_a_stored_secret_to_anybody() -> None:
    async with running() as daemon:
        secrets = {"password": "canary-of-the-password", "webhook": "canary-of-the-webhook-secret"}
        credentials = {"username": "api", "password": secrets["password"]}
        made = await daemon.configure(handle="prod", credentials=credentials, webhook_secret=secrets["webhook"])
        assert made["webhook_secret"] == secrets["webhook"]  # this once
        token = await daemon.token("admin", name="spare")
        spare = (await daemon.socket.get("/api/v1/tokens")).json()[0]["id"]
        incident = await daemon.declare()
        table = routes(daemon, incident_id=incident["id"], integration="prod", token_id=spare)
        for method, path, body, _ in sorted(table, key=lambda call: (call.method == "DELETE", call.method != "GET")):
            if path == "/api/v1/events":  # which ends when the daemon does
                continue
            answer = await daemon.socket.request(method, path, json=body)
            for secret in (*secrets.values(), token.split("_")[2]):
                assert secret not in answer.text + str(answer.headers), (method, path)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end_streams, daemon)
            told = await daemon.socket.get("/api/v1/events?since=0")
        assert told.text.count("data: ") >= 5
        for secret in (*secrets.values(), token.split("_")[2]):
            assert secret not in told.text


async def end_streams(daemon: Daemon) -> None:
    """As the daemon does when it stops, once they have told what there is."""
    await trio.testing.wait_all_tasks_blocked(0.05)
    daemon.desk.stopping.set()


async def test_a_webhook_asks_for_its_signature_and_a_token_is_none() -> None:
    async with running() as daemon:
        made = await daemon.configure(handle="prod")
        token = bearer(await daemon.token("admin"))
        for headers in ((), (token,)):
            status = await daemon.status("POST", f"/api/v1/webhooks/{made['id']}", *headers, body={"sys_id": "x"})
            assert status == 401


async def test_a_path_that_does_not_exist_is_not_probed_for_without_a_token() -> None:
    async with running() as daemon:
        assert (await daemon.http.get("/api/v1/nothing")).status_code == 401
        assert (await daemon.http.post("/health")).status_code == 401


async def test_a_route_without_a_scope_does_not_start() -> None:
    async with running() as daemon:
        app = build_quart(daemon.desk)
        checked = Routes(app)

        async def handler() -> Response:
            await trio.lowlevel.checkpoint()
            return answer({})

        with pytest.raises(ValueError, match="no scope"):
            checked.add("GET", "/x", "root", handler)  # type: ignore[arg-type]
        app.add_url_rule("/y", "y", handler)
        with pytest.raises(ValueError, match="declares no scope"):
            checked.check()


async def test_after_its_revocation_or_its_end_the_next_request_with_a_token_is_refused() -> None:
    async with running() as daemon:
        ends = bearer(await daemon.token("read", expires_at="2026-09-21T15:00:00Z"))
        assert await daemon.status("GET", LIST, ends) == 200
        daemon.clock.at_s += HOUR_S
        assert await daemon.status("GET", LIST, ends) == 401
        token = bearer(await daemon.token("operate"))
        made = (await daemon.socket.get("/api/v1/tokens")).json()[-1]
        assert await daemon.status("GET", LIST, token) == 200
        gone = await daemon.socket.delete(f"/api/v1/tokens/{made['id']}")
        assert (gone.status_code, gone.content, "content-type" in gone.headers) == (204, b"", False)
        assert await daemon.status("GET", LIST, token) == 401
        assert (await daemon.socket.delete(f"/api/v1/tokens/{made['id']}")).status_code == 404


async def test_a_revocation_holds_before_it_is_even_on_disk(autojump_clock: MockClock) -> None:
    async with running() as daemon:
        token = bearer(await daemon.token("operate"))
        made = (await daemon.socket.get("/api/v1/tokens")).json()[0]
        await daemon.status("GET", LIST, token)
        daemon.work.shut()
        assert (await daemon.socket.delete(f"/api/v1/tokens/{made['id']}")).status_code == 503
        assert await daemon.status("GET", LIST, token) == 401


async def shown_use(daemon: Daemon) -> object:
    """``last_used_at`` of the only token."""
    (shown,) = (await daemon.socket.get("/api/v1/tokens")).json()
    return shown["last_used_at"]


async def test_a_token_shows_its_last_use_and_a_use_is_journaled_once_an_hour() -> None:
    disk = SimDisk(Random(3))
    async with running(disk=disk) as daemon:
        token = bearer(await daemon.token("read"))
        made = daemon.journal.state.position
        assert await shown_use(daemon) is None
        for minutes in range(0, 150, 10):
            daemon.clock.at_s += 600 if minutes else 0
            assert await daemon.status("GET", LIST, token) == 200
            assert daemon.journal.state.position == made + 1 + minutes // 60
        assert await shown_use(daemon) == "2026-09-21T16:33:20.000000Z"
        refused = await daemon.status("POST", LIST, token, body=BODY)
        assert (refused, daemon.journal.state.position) == (403, made + 3)
        daemon.die()
    async with running(disk=disk.crash(), seed=2) as daemon:
        assert await shown_use(daemon) == "2026-09-21T16:13:20.000000Z"  # the last one that was journaled


async def test_the_list_of_tokens_shows_no_token() -> None:
    async with running() as daemon:
        text = await daemon.token("read")
        answer = await daemon.socket.get("/api/v1/tokens")
        (shown,) = answer.json()
        assert list(shown) == ["id", "name", "scope", "created_at", "last_used_at", "expires_at"]
        assert text.split("_")[2] not in answer.text


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"name": "x"}, "scope"),
        ({"scope": "root"}, "scope"),
        ({"scope": "read", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"scope": "read", "expires_at": "tomorrow"}, "expires_at"),
        ({"scope": "read", "name": "a\nb"}, "name"),
        ({"scope": "read", "id": "x"}, "id"),
    ],
)
async def test_a_refused_token_names_the_field(body: dict[str, str], path: str) -> None:
    async with running() as daemon:
        answer = await daemon.socket.post("/api/v1/tokens", json=body)
        assert (answer.status_code, [one["path"] for one in answer.json()["errors"]]) == (422, [path])
        assert (await daemon.socket.get("/api/v1/tokens")).json() == []


async def test_without_tokens_a_loopback_caller_is_anonymous_and_may_do_everything() -> None:
    async with running(auth="none") as daemon:
        answer = await daemon.http.post(LIST, json=BODY)
        assert (answer.status_code, answer.json()["updated_by"]) == (201, "anonymous")
        assert (await daemon.client(host="evil.example").post(LIST, json=BODY)).status_code == 421


async def test_many_wrong_tokens_are_slowed_down_and_right_ones_are_not(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "syncd.http")
    async with running() as daemon:
        wrong = daemon.client(token="sync_read_x", address="10.0.0.9")
        statuses = [(await wrong.get(LIST)).status_code for _ in range(22)]
        assert statuses == [401] * 20 + [429] * 2
        answer = await wrong.get(LIST)
        assert 0 < int(answer.headers["retry-after"]) <= 61
        right = bearer(await daemon.token("read"))
        for address in ("10.0.0.9", "10.0.0.8"):
            assert await daemon.status("GET", LIST, right, address=address) == 200
        assert await daemon.status("GET", LIST, bearer("x"), address="10.0.0.8") == 401
        assert await daemon.status("GET", LIST, address="10.0.0.9") == 401  # none at all is no guess
        assert [record.getMessage() for record in caplog.records] == ["wrong tokens are slowed down"]
        assert vars(caplog.records[0])["address"] == "10.0.0.9"
        assert "sync_read_x" not in caplog.text
        autojump_clock.jump(61)
        assert (await wrong.get(LIST)).status_code == 401


def forged(rng: Random, token: str) -> str:
    """An ``Authorization`` that is not that of ``token``, near it or far from it."""
    letters = "".join(map(chr, [*range(0x20, 0x7F), *range(0xA0, 0x100)]))
    noise = "".join(rng.choice(letters) for _ in range(rng.randrange(60)))
    at = rng.randrange(len(token))
    other = rng.choice([letter for letter in letters if letter != token[at]])
    near = [
        token[:at] + other + token[at + 1 :],
        token[:at] + token[at + 1 :],
        token[:at] + other + token[at:],
        token.swapcase(),
        token.replace("read", rng.choice(["operate", "admin", "root", ""])),
        token + rng.choice(letters.strip()),
        f"{token},{token}",
        token * rng.randrange(2, 50),
        f'"{token}"',
        noise,
        "",
    ]
    scheme = rng.choice(["Bearer", "bearer", "BEARER"] * 3 + ["Basic", "Token", "Digest", "", noise[:8]])
    space = rng.choice([" ", " ", " ", "  ", "\t", ""])
    return rng.choice([f"{scheme}{space}{text}" for text in near] + [noise, f"Bearer{token}", f"Basic {token}"])


async def test_of_10_000_forged_authorizations_none_is_accepted_and_none_is_a_fault() -> None:
    rng = Random(20260921)
    async with running() as daemon:
        token = await daemon.token("read")
        position = daemon.journal.state.position
        seen = dict.fromkeys(range(400, 430), 0)
        for number in range(10_000):
            header = ("Authorization", forged(rng, token))
            seen[await daemon.status("GET", LIST, header, address=f"10.0.{number % 400}.1")] += 1  # or KeyError
        assert (seen[401] > 5_000, seen[429] > 500) == (True, True)
        assert seen[401] + seen[429] == 10_000
        assert daemon.journal.state.position == position
        assert await daemon.status("GET", LIST, bearer(token)) == 200


async def test_a_repeated_authorization_is_refused() -> None:
    async with running() as daemon:
        token = await daemon.token("admin")
        headers = [("Authorization", f"Bearer {token}"), ("Authorization", "Bearer x")]
        assert (await daemon.client().get(LIST, headers=headers)).status_code == 400


async def test_answers_are_not_kept_by_browsers_and_name_their_trace() -> None:
    async with running() as daemon:
        answer = await daemon.socket.get(LIST)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-trace-id"]
