"""The webhook script, run by a JavaScript engine on a small Glide API, and its requests sent to the running daemon."""

import json
from collections.abc import Mapping
from typing import Any

import dukpy
import pytest

from syncd.core.events import Hinted
from syncd.core.rule import RULE_VERSION
from tests.edges.api.daemon import Daemon, running
from tests.edges.api.glide import Ran, run_rule
from tests.edges.api.test_webhooks import send

SECRET = "a secret with ümlauts and 🔑"
ROW = {
    "sys_id": "5" * 32,
    "number": "INC0010001",
    "short_description": "Checkout is slow",
    "description": "not to be sent",
    "state": "2",
    "priority": "3",
    "impact": "2",
    "urgency": "2",
    "assigned_to": "6816f79cc0a8016401c5a33be04be441",
    "sys_mod_count": "4",
    "sys_updated_on": "2026-11-24 09:00:00",
    "sys_updated_by": "beth.anglin",
    "work_notes": "not to be sent either",
}


async def ran(daemon: Daemon, operation: str, row: Mapping[str, str] = ROW, **rule: Any) -> Ran:
    """Run the script as the daemon gives it; the property it names holds the secret."""
    script = (await daemon.socket.get("/api/v1/integrations/prod/webhook-script")).text
    (made,) = daemon.journal.state.integrations.values()
    properties = {f"syncd.webhook_secret.{made.id}": SECRET, "instance_name": "acmeprod"}
    return run_rule(script, operation, row, rule.pop("properties", properties), daemon.clock.at_s, **rule)


async def deliver(daemon: Daemon, done: Ran) -> None:
    """Send what the script sent, byte for byte, as ServiceNow would."""
    assert done.errors == []
    (sent,) = done.requests
    assert sent.method == "POST"
    path = sent.url.removeprefix("https://sync.example.org")
    client = daemon.client(host="sync.example.org")
    answer = await client.post(path, content=sent.body.encode(), headers=sent.headers)
    assert (answer.status_code, answer.json()["duplicate"]) == (202, False), answer.text


async def configured(daemon: Daemon) -> None:
    await daemon.configure(handle="prod", webhook_secret=SECRET)


@pytest.mark.parametrize("is_scoped", [False, True])
@pytest.mark.parametrize("operation", ["insert", "update", "delete"])
async def test_the_daemon_accepts_what_the_script_signs(operation: str, is_scoped: bool) -> None:
    async with running() as daemon:
        await configured(daemon)
        await deliver(daemon, await ran(daemon, operation, is_scoped=is_scoped, is_async=operation != "delete"))
        (hints,) = daemon.journal.state.hints.values()
        hint = hints[ROW["sys_id"]]
        assert (hint.mod_count, hint.deleted, hint.has_note) == (4, operation == "delete", False)


@pytest.mark.parametrize(
    "title",
    [
        "grüße aus Köln",
        "fire 🔥 in 東京",
        "half \ud83d a pair",
        "\ude00 the other half",
        "x" * 200_000,
        "nul-less \u007f\u2028",
    ],
    ids=["umlauts", "emoji", "high-surrogate", "low-surrogate", "long", "odd"],
)
async def test_any_text_is_signed_as_it_is_sent(title: str) -> None:
    async with running() as daemon:
        await configured(daemon)
        done = await ran(daemon, "update", ROW | {"short_description": title})
        assert done.requests[0].body.isascii()
        assert json.loads(done.requests[0].body)["short_description"] == title
        await deliver(daemon, done)


async def test_the_body_has_raw_codes_its_instance_and_version_and_no_note_text() -> None:
    async with running() as daemon:
        await configured(daemon)
        (sent,) = (await ran(daemon, "update", is_noted=True)).requests
        body = json.loads(sent.body)
        assert body == {
            "sys_id": ROW["sys_id"],
            "operation": "update",
            "number": "INC0010001",
            "sys_mod_count": "4",
            "updated_on": "2026-11-24 09:00:00",
            "updated_by": "beth.anglin",
            "correlation_id": "",
            "instance_name": "acmeprod",
            "script_version": RULE_VERSION,
            "short_description": "Checkout is slow",
            "state": "2",
            "priority": "3",
            "impact": "2",
            "urgency": "2",
            "assigned_to": "6816f79cc0a8016401c5a33be04be441",
            "work_notes": [{"author": "beth.anglin", "created_on": "2026-11-24 09:00:00"}],
        }
        await deliver(daemon, await ran(daemon, "update", is_noted=True))
        (hints,) = daemon.journal.state.hints.values()
        assert hints[ROW["sys_id"]].has_note


async def test_a_deletion_needs_nothing_but_the_row_at_hand_and_keeps_nobody_waiting() -> None:
    async with running() as daemon:
        await configured(daemon)
        done = await ran(daemon, "delete", {"sys_id": ROW["sys_id"]}, is_async=False)
        assert [one.waits for one in done.requests] == [False]
        assert not {"state", "assigned_to", "short_description"} & set(done.reads)
        await deliver(daemon, done)


@pytest.mark.parametrize("operation", ["insert", "update", "delete"])
async def test_inside_a_users_transaction_the_script_never_waits_for_us(operation: str) -> None:
    async with running() as daemon:
        await configured(daemon)
        done = await ran(daemon, operation, is_async=False, answers=())
        assert [one.waits for one in done.requests] == [False]
        assert done.errors == []


@pytest.mark.parametrize(
    ("answers", "waits"),
    [
        ((202,), [True]),
        ((401,), [True]),  # it would be refused again
        ((503,), [True, False]),
        ((429,), [True, False]),
        ((0,), [True, False]),
        ((), [True, False]),
    ],
)
async def test_what_passes_is_left_to_the_instances_queue_and_every_failure_is_logged(
    answers: tuple[int, ...], waits: list[bool]
) -> None:
    async with running() as daemon:
        await configured(daemon)
        done = await ran(daemon, "update", answers=answers)
        assert [one.waits for one in done.requests] == waits
        assert bool(done.errors) == (answers != (202,))
        assert all("INC0010001" in one and SECRET not in one for one in done.errors)
        assert {one.wait_ms for one in done.requests} == {10_000}


async def test_a_missing_secret_is_logged_and_nothing_is_sent() -> None:
    async with running() as daemon:
        await configured(daemon)
        done = await ran(daemon, "update", properties={})
        assert done.requests == []
        (error,) = done.errors
        assert "webhook_secret" in error


async def test_a_rule_that_fails_throws_nothing_at_the_user() -> None:
    async with running() as daemon:
        await configured(daemon)
        script = (await daemon.socket.get("/api/v1/integrations/prod/webhook-script")).text
        engine = dukpy.JSInterpreter()
        logged = engine.evaljs(
            [
                "var told = [], current = {}, previous = null, gs = {error: function (e) { told.push(e); }};",
                script,
                "told",
            ]
        )
        assert len(logged) == 1


async def test_its_first_comment_says_how_to_install_it() -> None:
    async with running() as daemon:
        await configured(daemon)
        script = (await daemon.socket.get("/api/v1/integrations/prod/webhook-script")).text
        comment = script[: script.index("(function")]
        assert all(line.startswith("//") for line in comment.splitlines())
        (made,) = daemon.journal.state.integrations.values()
        for word in (
            f"syncd.webhook_secret.{made.id}",
            "password2",
            "async for Insert and Update",
            "after for Delete",
            "Condition: none",
            "sync.example.org",
            f"version {RULE_VERSION}",
        ):
            assert word in comment


async def reasons(daemon: Daemon) -> tuple[str, list[str]]:
    status = (await daemon.socket.get("/api/v1/integrations/prod/sync-status")).json()
    return status["state"], status["reasons"]


async def test_a_deployed_script_that_is_old_is_shown_until_the_present_one_calls() -> None:
    async with running() as daemon:
        await configured(daemon)
        script = (await daemon.socket.get("/api/v1/integrations/prod/webhook-script")).text
        (made,) = daemon.journal.state.integrations.values()
        old = script.replace(f"VERSION = '{RULE_VERSION}'", "VERSION = '1'")
        properties = {f"syncd.webhook_secret.{made.id}": SECRET}
        await deliver(daemon, run_rule(old, "update", ROW, properties, daemon.clock.at_s))
        words = (
            f"the business rule in ServiceNow is version 1, the present one is {RULE_VERSION}: "
            "run: im integration webhook-script prod"
        )
        assert await reasons(daemon) == ("healthy", [words])
        await deliver(daemon, await ran(daemon, "delete", is_async=False))  # the other of the two rules
        assert await reasons(daemon) == ("healthy", [words])
        await deliver(daemon, await ran(daemon, "update", ROW | {"sys_mod_count": "5"}))
        assert await reasons(daemon) == ("healthy", [])


async def test_a_rule_of_another_make_is_told_what_it_lacks_once() -> None:
    async with running() as daemon:
        await configured(daemon)
        body = {"sys_id": ROW["sys_id"], "number": "INC0010001", "state": "2", "updated_on": "2026-11-24 09:00:00"}
        for number in range(3):
            await send(daemon, body | {"priority": str(number)}, secret=SECRET)
        assert await reasons(daemon) == (
            "healthy",
            [
                "the business rule in ServiceNow does not send operation and sys_mod_count: "
                "run: im integration webhook-script prod"
            ],
        )
        events = [event for record in await daemon.journal.since(0, 100) for event in record.events]
        assert [event.rule is not None for event in events if isinstance(event, Hinted)] == [True, False, False]


MAPPING = {"external_field": "u_service"}


async def mapped(daemon: Daemon, field: str = "service", **body: object) -> None:
    answer = await daemon.socket.put(f"/api/v1/integrations/prod/field-mapping/{field}", json=MAPPING | body)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("is_scoped", [False, True])
async def test_columns_of_mapped_fields_go_along_signed_and_a_deletion_needs_none(is_scoped: bool) -> None:
    async with running() as daemon:
        await configured(daemon)
        await mapped(daemon)
        await mapped(daemon, "title", external_field="u_title", transform="upper")
        row = ROW | {"u_service": "chéckout", "u_title": "CHECKOUT IS SLOW"}
        done = await ran(daemon, "update", row, is_scoped=is_scoped)
        body = json.loads(done.requests[0].body)
        assert (body["u_service"], body["u_title"]) == ("chéckout", "CHECKOUT IS SLOW")
        await deliver(daemon, done)
        await deliver(daemon, await ran(daemon, "delete", row, is_async=False))
        assert await reasons(daemon) == ("healthy", [])


async def test_a_mapped_column_takes_no_key_away_that_says_something_else() -> None:
    async with running() as daemon:
        await configured(daemon)
        await mapped(daemon, external_field="operation")
        await mapped(daemon, "title", external_field="script_version")
        done = await ran(daemon, "insert", ROW | {"operation": "x", "script_version": "y"})
        body = json.loads(done.requests[0].body)
        assert (body["operation"], body["script_version"]) == ("insert", RULE_VERSION)
        await deliver(daemon, done)
        assert await reasons(daemon) == ("healthy", [])


async def test_a_deployed_script_that_lacks_a_column_mapped_since_is_told_as_long_as_it_does() -> None:
    async with running() as daemon:
        await configured(daemon)
        script = (await daemon.socket.get("/api/v1/integrations/prod/webhook-script")).text
        (made,) = daemon.journal.state.integrations.values()
        properties = {f"syncd.webhook_secret.{made.id}": SECRET}
        await mapped(daemon)
        assert await reasons(daemon) == ("healthy", []), "nothing has called since"
        await deliver(daemon, run_rule(script, "update", ROW, properties, daemon.clock.at_s))
        lacks = "the business rule in ServiceNow does not send u_service: run: im integration webhook-script prod"
        assert await reasons(daemon) == ("healthy", [lacks])
        await deliver(daemon, run_rule(script, "delete", ROW, properties, daemon.clock.at_s, is_async=False))
        assert await reasons(daemon) == ("healthy", [lacks]), "a deletion tells nothing of it"
        await deliver(daemon, await ran(daemon, "update", ROW | {"sys_mod_count": "5"}))
        assert await reasons(daemon) == ("healthy", [])
        await deliver(daemon, run_rule(script, "update", ROW | {"sys_mod_count": "6"}, properties, daemon.clock.at_s))
        assert await reasons(daemon) == ("healthy", [lacks])
        assert (await daemon.socket.delete("/api/v1/integrations/prod/field-mapping/service")).status_code == 200
        assert await reasons(daemon) == ("healthy", [])
