"""The webhook door: signed bytes in, 202 once durable, and nothing but a 4xx for everything else."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from typing import Any

import httpx
import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from trio.testing import MockClock

from syncd.callers import verify_signature
from syncd.core.model import SealedSecret
from syncd.core.webhook import Webhook
from syncd.credentials import Secret
from syncd.edges.api import webhooks
from syncd.edges.api.webhook_body import decode_webhook, levels_of
from syncd.edges.api.webhooks import WebhookDoor
from syncd.errors import Invalid, Malformed
from syncd.telemetry import LineFormatter
from syncd.vault import Vault
from tests.edges.api.daemon import Daemon, a_vault, running, signature
from tests.simulation.disk import SimDisk

SYS_ID = "5" * 32
SECRET = "hook-secret-1"
CHANGE: dict[str, object] = {
    "sys_id": SYS_ID,
    "number": "INC0010001",
    "short_description": "x",
    "state": "2",
    "priority": "3",
    "impact": "2",
    "assigned_to": "Ann",
    "updated_on": "2026-11-24 09:00:00",
}


async def send(
    daemon: Daemon,
    body: bytes | dict[str, Any],
    *,
    to: str = "prod",
    secret: str = SECRET,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    if headers is None:
        headers = {"X-ServiceNow-Signature": signature(secret, raw)}
    # As ServiceNow calls: from outside, by a name that is not ours, with no token.
    return await daemon.client(host="sync.invalid").post(f"/api/v1/webhooks/{to}", content=raw, headers=headers)


async def test_a_signed_webhook_is_accepted_and_leaves_a_hint() -> None:
    async with running() as daemon:
        made = await daemon.configure(handle="prod", webhook_secret=SECRET)
        for to in (made["id"], "prod"):
            answer = await send(daemon, CHANGE, to=to)
            assert (answer.status_code, answer.headers["content-type"]) == (202, "application/json")
            assert answer.json() == {"event_id": answer.json()["event_id"], "duplicate": False}
            assert answer.json()["event_id"]
        assert daemon.journal.state.hints[made["id"]].keys() == {SYS_ID}
        (record,) = (await daemon.journal.since(0, 100))[-1:]
        assert record.by == "integration:prod"
        status = (await daemon.socket.get("/api/v1/integrations/prod/sync-status")).json()
        assert status["webhooks"] == {
            "last_received_at": "2026-09-21T14:13:20.000000Z",
            "accepted": 2,
            "rejected": 0,
            "duplicates": 0,
            "coverage": None,
        }


async def test_an_accepted_webhook_survives_a_power_cut_and_is_then_a_duplicate() -> None:
    disk = SimDisk(Random(4))
    body = CHANGE | {"event_id": "e-1"}
    async with running(disk=disk) as daemon:
        made = await daemon.configure(handle="prod", webhook_secret=SECRET)
        assert (await send(daemon, body)).json() == {"event_id": "e-1", "duplicate": False}
        after = disk.crash()
        daemon.die()
    async with running(disk=after, seed=2) as daemon:
        assert daemon.journal.state.hints[made["id"]].keys() == {SYS_ID}
        assert (await send(daemon, body)).json() == {"event_id": "e-1", "duplicate": True}


@pytest.mark.parametrize(
    ("first", "second", "duplicate"),
    [
        ({"event_id": "a"}, {"event_id": "a"}, True),
        ({"event_id": "a"}, {"event_id": "b"}, False),
        ({"sys_mod_count": 3, "operation": "update"}, {"sys_mod_count": "3", "operation": "update"}, True),
        ({"sys_mod_count": 3, "operation": "update"}, {"sys_mod_count": 3, "operation": "delete"}, False),
        ({"sys_mod_count": 3}, {"sys_mod_count": 4}, False),
        ({}, {}, False),
    ],
)
async def test_a_duplicate_is_the_same_event_or_the_same_change(
    first: dict[str, object], second: dict[str, object], duplicate: bool
) -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod", webhook_secret=SECRET)
        assert (await send(daemon, CHANGE | first)).json()["duplicate"] is False
        position = daemon.journal.state.position
        assert (await send(daemon, CHANGE | second)).json()["duplicate"] is duplicate
        assert (daemon.journal.state.position == position) is duplicate


@pytest.mark.parametrize("form", ["base64", "hex"])
@pytest.mark.parametrize("prefix", ["", "sha256="])
async def test_a_signature_counts_in_each_of_its_forms(form: Any, prefix: str) -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod", webhook_secret=SECRET)
        raw = msgspec.json.encode(CHANGE)
        stamp = str(int(daemon.clock.at_s))
        headers = {"X-ServiceNow-Signature": prefix + signature(SECRET, raw, form=form)}
        assert (await send(daemon, raw, headers=headers)).status_code == 202
        headers = {
            "X-ServiceNow-Signature": prefix + signature(SECRET, raw, timestamp=stamp, form=form),
            "X-ServiceNow-Timestamp": stamp,
        }
        assert (await send(daemon, raw, headers=headers)).status_code == 202
        daemon.clock.at_s += 301
        assert (await send(daemon, raw, headers=headers)).status_code == 401


async def test_what_is_not_genuine_gets_one_and_the_same_401_and_leaves_nothing() -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod", webhook_secret=SECRET)
        raw = msgspec.json.encode(CHANGE)
        right = signature(SECRET, raw)
        stamp = str(int(daemon.clock.at_s))
        position = daemon.journal.state.position
        answers = [
            await send(daemon, raw, headers={}),
            await send(daemon, raw, headers={"X-ServiceNow-Signature": ""}),
            await send(daemon, raw, headers={"X-ServiceNow-Signature": "null"}),
            await send(daemon, raw, secret="other"),
            await send(daemon, raw + b" ", headers={"X-ServiceNow-Signature": right}),
            await send(daemon, raw, headers={"X-ServiceNow-Signature": right, "X-ServiceNow-Timestamp": stamp}),
            await send(daemon, raw, to="unknown"),
            await send(daemon, raw, to="int_UNKNOWN"),
            await send(daemon, raw, to=""),
            await send(daemon, raw, to="prod/extra"),
            await send(daemon, b"\0\xff not json", secret="other"),
        ]
        assert {answer.status_code for answer in answers} == {401}
        assert len({answer.content for answer in answers}) == 1
        assert daemon.journal.state.position == position
        status = (await daemon.socket.get("/api/v1/integrations/prod/sync-status")).json()
        assert (status["webhooks"]["accepted"], status["webhooks"]["rejected"]) == (0, 7)


async def test_a_repeated_signature_header_is_refused() -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod", webhook_secret=SECRET)
        raw = msgspec.json.encode(CHANGE)
        pairs = [("X-ServiceNow-Signature", signature(SECRET, raw))] * 2
        answer = await daemon.http.post("/api/v1/webhooks/prod", content=raw, headers=pairs)
        assert answer.status_code == 401


async def test_both_secrets_count_while_one_is_rotated_and_then_only_the_new_one() -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod", webhook_secret=SECRET)
        path = "/api/v1/integrations/prod/webhook-secret/rotate"
        new = (await daemon.socket.post(path, json={"grace": "1h"})).json()["webhook_secret"]
        assert (await send(daemon, CHANGE)).status_code == 202
        assert (await send(daemon, CHANGE, secret=new)).status_code == 202
        daemon.clock.at_s += 3601
        assert (await send(daemon, CHANGE)).status_code == 401
        assert (await send(daemon, CHANGE, secret=new)).status_code == 202
        await daemon.socket.patch("/api/v1/integrations/prod", json={"webhook_secret": "third"})
        assert (await send(daemon, CHANGE, secret="third")).status_code == 202
        assert (await send(daemon, CHANGE, secret=new)).status_code == 202


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"null", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b'{"sys_id": NaN}', 400),
        (b'{"sys_id": "a"} x', 400),
        (b"\xef\xbb\xbf{}", 400),
        (b"[" * 100_000, 400),
        (b'{"a":' * 65 + b"1" + b"}" * 65, 400),
        (b'{"sys_id": "a\\u0000"}', 400),
        (b'{"sys_id": "a", "x": {"y": ["\\u0000"]}}', 400),
        (b'{"sys_id": "a", ' + b", ".join(b'"k%d": 1' % n for n in range(1001)) + b"}", 400),
        (b'{"n": ' + b"9" * 5000 + b', "s": "\\ud800"}', 400),
        (b"{}", 422),
        (b'{"sys_id": ""}', 422),
        (b'{"sys_id": null}', 422),
        (b'{"sys_id": ["a"]}', 422),
        (b'{"sys_id": "a^ORactive=true"}', 422),
        (b'{"sys_id": "a,b"}', 422),
        (b'{"sys_id": "a", "x": "' + b"y" * (1024 * 1024) + b'"}', 413),
    ],
)
async def test_a_genuine_body_that_cannot_be_is_refused_and_leaves_nothing(raw: bytes, status: int) -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod", webhook_secret=SECRET)
        position = daemon.journal.state.position
        answer = await send(daemon, raw)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        assert daemon.journal.state.position == position


async def test_webhooks_are_posted() -> None:
    async with running() as daemon:
        answer = await daemon.http.get("/api/v1/webhooks/prod")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_without_the_disk_the_door_says_so_within_two_seconds(autojump_clock: MockClock) -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod", webhook_secret=SECRET)
        daemon.work.shut()
        began = autojump_clock.current_time()
        answer = await send(daemon, CHANGE)
        assert (answer.status_code, int(answer.headers["retry-after"])) == (503, 5)
        assert autojump_clock.current_time() - began == pytest.approx(2)


async def test_a_webhook_for_an_integration_that_is_deleted_meanwhile_is_refused() -> None:
    async with running() as daemon:
        made = await daemon.configure(handle="prod", webhook_secret=SECRET)
        real = daemon.journal.transact

        async def delete_first(decide: Any, **told: Any) -> Any:
            daemon.journal.state.integrations.pop(made["id"])
            return await real(decide, **told)

        daemon.journal.transact = delete_first  # type: ignore[method-assign] # a deletion between check and step
        assert (await send(daemon, CHANGE)).status_code == 401


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log has, as the daemon writes it."""
    return [LineFormatter(lambda: 0.0).format(record) for record in caplog.records]


async def test_a_refused_signature_is_logged_without_it(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod", webhook_secret=SECRET)
        with caplog.at_level(logging.DEBUG):
            await send(daemon, CHANGE, headers={"X-ServiceNow-Signature": "tell-tale"})
        assert "int_" in "".join(lines(caplog))
        assert "tell-tale" not in "".join(lines(caplog))


class CountingVault:
    """The vault of a desk, counting how often it opens something."""

    def __init__(self, real: Vault) -> None:
        self._real = real
        self.opened = 0

    def open(self, sealed: SealedSecret, journal_id: str, integration_id: str, field: str) -> Secret:
        self.opened += 1
        return self._real.open(sealed, journal_id, integration_id, field)


async def test_a_webhook_secret_is_opened_once_and_again_when_the_secrets_change() -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod", webhook_secret=SECRET)
        vault = CountingVault(daemon.desk.vault)
        daemon.api.webhooks = WebhookDoor(replace(daemon.desk, vault=vault))
        for secret in (SECRET, "wrong", SECRET):
            await send(daemon, CHANGE, secret=secret)
        assert vault.opened == 1
        await daemon.socket.patch("/api/v1/integrations/prod", json={"webhook_secret": "second"})
        assert (await send(daemon, CHANGE, secret="second")).status_code == 202
        assert (await send(daemon, CHANGE, secret=SECRET)).status_code == 202
        assert vault.opened == 3
        daemon.clock.at_s += 24 * 3600 + 1
        assert (await send(daemon, CHANGE, secret=SECRET)).status_code == 401
        assert vault.opened == 3


async def test_a_known_and_an_unknown_integration_cost_the_same_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counting(secrets: Sequence[Secret], *rest: Any) -> bool:
        asked.append(len(secrets))
        return verify_signature(secrets, *rest)

    monkeypatch.setattr(webhooks, "verify_signature", counting)
    async with running() as daemon:
        await send(daemon, CHANGE, to="none-at-all")
        await daemon.configure(handle="prod", webhook_secret=SECRET)
        await daemon.configure(handle="other", name="Other", webhook_secret=SECRET)
        await daemon.socket.post("/api/v1/integrations/prod/webhook-secret/rotate")
        for to in ("prod", "other", "unknown", "int_UNKNOWN", ""):
            assert (await send(daemon, CHANGE, to=to, secret="wrong")).status_code == 401
        assert asked == [1, 2, 2, 2, 2, 2]


async def test_rejected_webhooks_are_one_line_a_minute_for_an_integration_and_one_for_all_unknown_ones(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with running() as daemon:
        made = await daemon.configure(handle="prod", webhook_secret=SECRET)
        with caplog.at_level(logging.DEBUG, logger="syncd.webhooks"):
            for number in range(20):
                await send(daemon, CHANGE, secret="wrong")
                await send(daemon, CHANGE, to=f"unknown-{number}")
            assert len(caplog.messages) == 2
            await trio.sleep(61)
            await send(daemon, CHANGE, secret="wrong")
            await send(daemon, CHANGE, to="unknown-20")
        known, unknown = lines(caplog)[2:]
        assert made["id"] in known
        assert "times=20 " in known
        assert "unknown integration" in unknown
        assert not any("unknown-" in line for line in lines(caplog))  # a stranger writes nothing into our log
        status = (await daemon.socket.get("/api/v1/integrations/prod/sync-status")).json()
        assert status["webhooks"]["rejected"] == 21


async def test_a_secret_that_does_not_open_is_reported_once_and_nothing_is_genuine(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod", webhook_secret=SECRET)
        other = await a_vault(SimDisk(Random(1)), daemon.work, daemon.desk.ids, b"x" * 32)
        daemon.api.webhooks = WebhookDoor(replace(daemon.desk, vault=other))
        with caplog.at_level(logging.ERROR, logger="syncd.webhooks"):
            for _ in range(3):
                assert (await send(daemon, CHANGE)).status_code == 401
        (line,) = lines(caplog)
        assert "/state/keys" in line


def test_a_long_event_id_is_told_apart_by_all_of_its_letters() -> None:
    def event_id(text: str) -> str:
        return decode_webhook(msgspec.json.encode({"sys_id": "a", "event_id": text}))[0].event_id

    assert event_id("x" * 255) == "x" * 255
    assert event_id("x" * 300) == event_id("x" * 300)
    assert len({event_id("x" * 300), event_id("x" * 299), event_id("x" * 299 + "y"), event_id("x" * 255)}) == 4
    assert len(event_id("x" * 300)) <= 255


def test_what_servicenow_writes_is_read_leniently() -> None:
    body = CHANGE | {"sys_mod_count": " 7 ", "operation": "UPDATE", "event_id": 12, "number": None, "extra": {"a": [1]}}
    raw = msgspec.json.encode(body)
    webhook = Webhook(
        sys_id=SYS_ID,
        event_id="12",
        operation="update",
        sys_mod_count=7,
        updated_on="2026-11-24 09:00:00",
        keys=frozenset(body),
    )
    assert decode_webhook(raw) == (webhook, raw.decode())
    odd = decode_webhook(b'{"sys_id": "a", "sys_mod_count": "many", "operation": "merge"}')[0]
    assert odd == Webhook(sys_id="a", keys=frozenset({"sys_id"}))
    assert decode_webhook(b'{"sys_id": "a", "sys_mod_count": -1}')[0].sys_mod_count is None


def test_half_a_surrogate_pair_is_repaired() -> None:
    webhook, text = decode_webhook(b'{"sys_id": "a", "number": "n\\ud83d", "\\udc00": 1}')
    assert webhook.number == "n\ufffd"
    assert text.startswith("{")


def test_brackets_in_strings_do_not_count_as_levels() -> None:
    assert levels_of(b'{"a": "[[[[\\"[[[", "b": [1, {"c": []}]}') == 4
    assert levels_of(b'"' + b"[" * 100) == 0


@given(st.binary(max_size=200) | st.text('{}[]",:\\u0d81 aE+-.9').map(str.encode))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    webhook: Webhook | None = None
    with suppress(Malformed, Invalid):
        webhook, _ = decode_webhook(raw)
    assert webhook is None or webhook.sys_id
