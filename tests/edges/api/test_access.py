"""Who may call what: every route against every kind of caller, and what a browser must not be able to do."""

import grp
import pwd
import re
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import trio
from quart import Response
from trio.testing import MockClock

from syncd.core.tokens import SCOPES
from syncd.edges.api.access import USERS_KEPT_MAX, LocalUsers
from syncd.edges.api.answers import answer
from syncd.edges.api.app import build_quart
from syncd.edges.api.routes import Routes
from tests.edges.api.daemon import BODY, Daemon, running

LIST = "/api/v1/incidents"


def routes(daemon: Daemon) -> Iterator[tuple[str, str, str | None]]:
    """Every route: method, a path that fits it, and the scope it needs."""
    app = build_quart(daemon.desk)
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield method, re.sub(r"<[a-z_]+>", "unknown", rule.rule), needed(method, rule.rule)


def needed(method: str, path: str) -> str | None:
    """The contract's word on scopes, written a second time on purpose."""
    if path in {"/health", "/ready"}:
        return None
    if method == "GET":
        return "read"
    if re.search(r"/(incidents|conflicts|dlq|reconcile|links|import)\b", path):
        return "operate"
    return "admin"


async def test_every_route_asks_every_caller_for_its_scope() -> None:
    async with running() as daemon:
        tokens = {scope: await daemon.token(scope) for scope in SCOPES}
        position = daemon.journal.state.position
        table = list(routes(daemon))
        assert len(table) > 25
        for number, (method, path, scope) in enumerate(table):
            if scope is None:
                assert (await daemon.http.request(method, path)).status_code == 200
                continue
            strangers = {
                "none": daemon.client(address=f"a{number}"),
                "garbage": daemon.client(token="garbage", address=f"b{number}"),
                "forged": daemon.client(token=tokens["admin"][:-1] + "_", address=f"c{number}"),
            }
            for name, client in strangers.items():
                answer = await client.request(method, path, json={})
                assert answer.status_code == 401, (method, path, name)
                assert answer.headers["www-authenticate"].startswith("Bearer")
            for held, token in tokens.items():
                answer = await daemon.client(token=token).request(method, path, json={})
                allowed = SCOPES.index(held) >= [*SCOPES].index(scope)  # type: ignore[arg-type]
                assert (answer.status_code not in {401, 403}) is allowed, (method, path, held)
        assert daemon.journal.state.position == position


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


async def test_a_token_is_refused_once_revoked_or_expired_and_shows_its_use() -> None:
    async with running() as daemon:
        text = await daemon.token("read", expires_at="2026-09-21T15:00:00Z")
        client = daemon.client(token=text)
        assert (await client.get(LIST)).status_code == 200
        (shown,) = (await daemon.socket.get("/api/v1/tokens")).json()
        assert shown == shown | {"scope": "read", "last_used_at": "2026-09-21T14:13:20.000000Z"}
        assert "token" not in shown
        assert text not in (await daemon.socket.get("/api/v1/tokens")).text
        daemon.clock.at_s += 3600
        assert (await client.get(LIST)).status_code == 401
        other = await daemon.token("operate")
        made = (await daemon.socket.get("/api/v1/tokens")).json()[-1]
        gone = await daemon.socket.delete(f"/api/v1/tokens/{made['id']}")
        assert (gone.status_code, gone.content) == (204, b"")
        assert (await daemon.client(token=other).get(LIST)).status_code == 401
        assert (await daemon.socket.delete(f"/api/v1/tokens/{made['id']}")).status_code == 404


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


async def test_a_change_says_which_token_or_user_made_it() -> None:
    async with running() as daemon:
        token = daemon.client(token=await daemon.token("operate"))
        assert (await token.post(LIST, json=BODY)).json()["updated_by"] == "token:operate"
        alice = daemon.client(peer=(9, 600, 700))
        assert (await alice.post(LIST, json=BODY)).json()["updated_by"] == "user:alice"


async def test_the_socket_is_for_root_the_daemon_and_its_group() -> None:
    async with running() as daemon:
        for peer, status in {(1, 0, 0): 200, (1, 500, 1): 200, (1, 600, 700): 200, (1, 600, 600): 403}.items():
            assert (await daemon.client(peer=peer).get("/api/v1/tokens")).status_code == status, peer


async def test_without_tokens_a_loopback_caller_is_anonymous_and_may_do_everything() -> None:
    async with running(auth="none") as daemon:
        answer = await daemon.http.post(LIST, json=BODY)
        assert (answer.status_code, answer.json()["updated_by"]) == (201, "anonymous")
        assert (await daemon.client(host="evil.example").post(LIST, json=BODY)).status_code == 421


async def test_many_wrong_tokens_are_slowed_down_and_right_ones_are_not(autojump_clock: MockClock) -> None:
    async with running() as daemon:
        wrong = daemon.client(token="sync_read_x", address="10.0.0.9")
        statuses = [(await wrong.get(LIST)).status_code for _ in range(22)]
        assert statuses == [401] * 20 + [429] * 2
        answer = await wrong.get(LIST)
        assert 0 < int(answer.headers["retry-after"]) <= 61
        right = daemon.client(token=await daemon.token("read"), address="10.0.0.9")
        assert (await right.get(LIST)).status_code == 200
        assert (await daemon.client(token="x", address="10.0.0.8").get(LIST)).status_code == 401
        autojump_clock.jump(61)
        assert (await wrong.get(LIST)).status_code == 401


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "127.0.0.1:9", "[::1]:8080", "sync.example.org", "LOCALHOST", "[::1]"]
)
async def test_the_hosts_that_are_ours_are_served(host: str) -> None:
    async with running(auth="none") as daemon:
        assert (await daemon.http.get(LIST, headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "localhost.",
        "127.0.0.1.nip.io",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "2130706433",
        "127.1",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "localhost:80:80",
        "user@localhost",
        "localhost/",
        "localhost, evil.example",
        "[::1",
        "",
        "ｌocalhost".encode().decode("latin-1"),
    ],
)
async def test_a_foreign_host_is_misdirected(host: str) -> None:
    async with running(auth="none") as daemon:
        answer = await daemon.http.post(LIST, json=BODY, headers={b"Host": host.encode("latin-1")})
        assert answer.status_code == 421
        assert (await daemon.http.get("/health", headers={"Host": "any.example"})).status_code == 200
        assert daemon.journal.state.incidents == {}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 201),
        ({"Origin": "http://localhost:8080"}, 201),
        ({"Origin": "http://localhost:8080", "Sec-Fetch-Site": "same-origin"}, 201),
        ({"Sec-Fetch-Site": "none"}, 201),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://localhost:9999"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:8080", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://[oops"}, 403),
    ],
)
async def test_a_foreign_page_changes_nothing(headers: dict[str, str], status: int) -> None:
    async with running(auth="none") as daemon:
        assert (await daemon.http.post(LIST, json=BODY, headers=headers)).status_code == status
        assert len(daemon.journal.state.incidents) == (status == 201)
        assert (await daemon.http.get(LIST, headers=headers)).status_code == 200


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


class Databases:
    """Users and groups as pwd and grp would give them, counting the look-ups, each of which may block for long."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        monkeypatch.setattr(pwd, "getpwuid", self.user)
        monkeypatch.setattr(grp, "getgrgid", self.group)

    def user(self, uid: int) -> SimpleNamespace:
        self.asked.append(f"user {uid}")
        if uid == 1002:
            raise KeyError(uid)
        return SimpleNamespace(pw_name=f"user{uid}")

    def group(self, gid: int) -> SimpleNamespace:
        self.asked.append(f"group {gid}")
        return SimpleNamespace(gr_mem=["user1000"])


async def test_root_and_the_daemon_s_own_user_are_known_without_asking_the_user_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    databases = Databases(monkeypatch)
    users = LocalUsers(500, 700)
    assert databases.asked == ["user 500"]  # before anybody waits
    for _ in range(3):
        assert (users.name_of(0), users.name_of(500)) == ("root", "user500")
        assert users.may_use_socket(0, 0)
        assert users.may_use_socket(500, 500)
    assert databases.asked == ["user 500"]


async def test_another_user_is_looked_up_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    databases = Databases(monkeypatch)
    users = LocalUsers(500, 700)
    databases.asked.clear()
    for _ in range(3):
        assert (users.name_of(1000), users.may_use_socket(1000, 100)) == ("user1000", True)
        assert (users.name_of(1001), users.may_use_socket(1001, 100)) == ("user1001", False)
        assert (users.name_of(1002), users.may_use_socket(1002, 700)) == ("1002", True)
    assert databases.asked == ["user 1000", "group 700", "user 1001", "group 700", "user 1002"]
    await trio.sleep(61)
    assert users.may_use_socket(1000, 100)
    assert databases.asked[5:] == ["user 1000", "group 700"]
    for uid in range(2000, 10_000):
        users.name_of(uid)
    assert users.kept <= USERS_KEPT_MAX
