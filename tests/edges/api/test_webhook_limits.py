"""Limits on webhooks: a forger meets 429, and takes nothing from those who have the secret."""

import logging

import msgspec
import pytest
import trio
from trio.testing import MockClock

from syncd.edges.api.webhook_limits import (
    CHECKED_ALWAYS_BYTES,
    REFUSED_FROM_SOURCE,
    TAKEN_FOR_INTEGRATION,
    Allowance,
    Rate,
    source_of,
)
from syncd.edges.api.webhooks import WebhookDoor
from tests.edges.api.daemon import running
from tests.edges.api.hooks import HOOK, SECRET, knock

RAW = msgspec.json.encode(HOOK)
LARGE = msgspec.json.encode(HOOK | {"description": "x" * CHECKED_ALWAYS_BYTES})
PROXY, OTHER = "192.0.2.7", "192.0.2.8"


class TestAllowance:
    def test_a_burst_then_the_rate_and_a_refusal_costs_nothing(self) -> None:
        allowance = Allowance(Rate(per_s=2.0, burst=3.0))
        assert [allowance.take("a", 100.0) for _ in range(5)] == [0, 0, 0, 0.5, 0.5]
        assert allowance.take("b", 100.0) == 0
        assert (allowance.wait_s("a", 100.5), allowance.take("a", 100.5), allowance.take("a", 100.5)) == (0, 0, 0.5)
        assert [allowance.take("a", 1000.0) for _ in range(4)] == [0, 0, 0, 0.5]

    def test_looking_takes_nothing(self) -> None:
        allowance = Allowance(Rate(per_s=1.0, burst=1.0))
        assert [allowance.wait_s("a", 0.0) for _ in range(9)] == [0] * 9
        assert allowance.take("a", 0.0) == 0

    def test_a_million_keys_are_not_remembered_but_the_busy_one_is(self) -> None:
        allowance = Allowance(Rate(per_s=1.0, burst=2.0, keys_max=100))
        refused = 0
        for number in range(10_000):
            allowance.take(f"stranger {number}", 0.0)
            refused += allowance.take("busy", number / 50) > 0
        assert len(allowance._buckets) == 100
        assert refused > 9_000


@pytest.mark.parametrize(
    ("client", "source"),
    [
        (("192.0.2.7", 1), "192.0.2.7"),
        (("::ffff:192.0.2.7", 1), "192.0.2.7"),
        (("2001:db8:1:2::1", 1), "2001:db8:1:2::/64"),
        (("2001:db8:1:2:ffff::9", 1), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 1), "fe80::/64"),
        (["a name", 1], "a name"),
        (None, "socket"),
    ],
)
def test_a_source_is_an_address_or_a_network(client: object, source: str) -> None:
    assert source_of(client) == source


async def test_a_forger_meets_429_and_good_webhooks_behind_the_same_proxy_do_not(autojump_clock: MockClock) -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod", webhook_secret=SECRET)
        door = WebhookDoor(daemon.desk, refused=Rate(per_s=1.0, burst=20.0))
        forged = [
            # A stranger cannot tell what exists here either.
            await knock(door, RAW, secret="wrong", to="prod" if number % 2 else f"unknown-{number}", address=PROXY)
            for number in range(30)
        ]
        assert [answer.status for answer in forged] == [401] * 20 + [429] * 10
        assert len({answer.body for answer in forged}) == 2
        assert int(forged[-1].headers["retry-after"]) == 1
        assert "not signed with a valid secret" in forged[-1].detail
        assert (await knock(door, RAW, address=PROXY)).status == 202
        assert (await knock(door, RAW, secret="wrong", address=OTHER)).status == 401
        status = (await daemon.socket.get("/api/v1/integrations/prod/sync-status")).json()
        assert status["webhooks"]["rejected"] == 16
        await trio.sleep(5)
        later = [(await knock(door, RAW, secret="wrong", address=PROXY)).status for _ in range(6)]
        assert later == [401] * 5 + [429]


async def test_large_bodies_are_not_even_checked_for_a_source_that_forges(autojump_clock: MockClock) -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod", webhook_secret=SECRET)
        door = WebhookDoor(daemon.desk, refused=Rate(per_s=0.1, burst=1.0))
        assert (await knock(door, LARGE, address=PROXY)).status == 202
        await knock(door, RAW, secret="wrong", address=PROXY)
        large = await knock(door, LARGE, address=PROXY)
        assert (large.status, large.headers["retry-after"]) == (429, "10")
        assert (await knock(door, LARGE, address=OTHER)).status == 202
        await trio.sleep(10)
        assert (await knock(door, LARGE, address=PROXY)).status == 202


async def test_an_integration_has_its_own_rate_and_nobody_without_the_secret_uses_it_up(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with running() as daemon:
        made = await daemon.configure(handle="prod", webhook_secret=SECRET)
        await daemon.configure(handle="other", name="Other", webhook_secret=SECRET)
        door = WebhookDoor(daemon.desk, taken=Rate(per_s=1.0, burst=5.0))
        for _ in range(20):
            await knock(door, RAW, secret="wrong")
        position = daemon.journal.state.position
        with caplog.at_level(logging.WARNING, logger="syncd.webhooks"):
            caplog.clear()
            answers = [await knock(door, RAW) for _ in range(10)]
        assert [answer.status for answer in answers] == [202] * 5 + [429] * 5
        assert int(answers[-1].headers["retry-after"]) == 1
        assert "more than 5 webhooks at once, or 1 a second" in answers[-1].detail
        assert daemon.journal.state.position == position + 5
        (line,) = caplog.records
        told = (line.getMessage(), vars(line)["times"], vars(line)["reason"], vars(line)["integration"])
        assert told == ("webhooks refused", 1, "too many at once", made["id"])
        assert (await knock(door, RAW, to="other")).status == 202
        status = (await daemon.socket.get("/api/v1/integrations/prod/sync-status")).json()["webhooks"]
        assert (status["accepted"], status["rejected"]) == (5, 25)
        await trio.sleep(1)
        assert (await knock(door, RAW)).status == 202


async def test_without_other_figures_ten_thousand_at_once_are_taken_and_a_thousand_forged_are_told_401(
    autojump_clock: MockClock,
) -> None:
    assert (TAKEN_FOR_INTEGRATION.burst, REFUSED_FROM_SOURCE.burst) == (10_000, 1_000)
    async with running() as daemon:
        await daemon.configure(handle="prod", webhook_secret=SECRET)
        statuses = [(await knock(daemon.api.webhooks, RAW, secret="wrong")).status for _ in range(1_100)]
        assert statuses == [401] * 1_000 + [429] * 100
        assert (await knock(daemon.api.webhooks, RAW)).status == 202
