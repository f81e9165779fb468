"""Checklist items 73 to 79: the business rule that calls out, its payload, its signature and its accidents."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from syncd.simulator.wire import Outgoing
from tests.simulator.snow import AGENT, AGENT_SYS_ID, TABLE, USER, Snow, basic

URL, SECRET = "http://127.0.0.1:9/hook", "s3crét"
PAGE = {"sys_id", "number", "short_description", "state", "priority", "impact", "assigned_to", "updated_on"}
EXTRA = {"urgency", "description", "correlation_id"}
MINIMAL = {"sys_id", "number", "operation", "event_id", "instance_name", "sys_mod_count", "updated_by"}


def calling(*faults: str, seed: int = 1, name: str = "dev12345") -> Snow:
    """An instance with a webhook."""
    return Snow(seed=seed, name=name, webhook_url=URL, webhook_secret=SECRET, faults=faults)


def payload(outgoing: Outgoing) -> Any:
    """What a call says."""
    return json.loads(outgoing.body)


def calls(snow: Snow, seconds: float = 60) -> list[Outgoing]:
    """What leaves within a while."""
    snow.wait(seconds)
    return snow.instance.due()


def header(outgoing: Outgoing, name: str) -> str | None:
    """One header of a call."""
    return dict(outgoing.headers).get(name)


def mac(signed: bytes) -> bytes:
    """The signature that a receiver computes."""
    return hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()


def test_item_73_an_async_rule_runs_later_and_sees_the_record_as_it_is_then() -> None:
    snow = calling("rule_delay_s_min=2", "rule_delay_s_max=10")
    sys_id = snow.written()["sys_id"]
    snow.instance.edit_as(AGENT, sys_id, {"urgency": "1"})
    assert snow.instance.due() == []
    next_at_s = snow.instance.next_due_at_s()
    assert next_at_s is not None
    assert 2 <= next_at_s - snow.now_s <= 10
    both = calls(snow, 10)
    assert [payload(one)["sys_mod_count"] for one in both] == ["1", "1"], "both show the newest values"
    assert {payload(one)["operation"] for one in both} == {"insert", "update"}
    assert len({payload(one)["event_id"] for one in both}) == 2
    assert snow.instance.next_due_at_s() is None


def test_item_73_async_rules_of_several_records_run_in_any_order() -> None:
    snow = calling()
    sys_ids = [snow.written(f"row {number}")["sys_id"] for number in range(8)]
    order = []
    while snow.instance.next_due_at_s() is not None:
        order += [payload(one)["sys_id"] for one in calls(snow, 0.01)]
    assert sorted(order) == sorted(sys_ids)
    assert order != sys_ids


def test_item_73_the_writer_waits_for_an_after_rule() -> None:
    snow = calling("rule_mode=after", "rule_skips_api_user=off")
    answer = snow.ask("POST", TABLE, {"short_description": "Pump"})
    [outgoing] = answer.calls_first
    assert payload(outgoing)["operation"] == "insert"
    assert snow.instance.due() == []
    snow.instance.outbound.put_back(outgoing)
    assert snow.instance.due() == [outgoing], "whoever cannot make the call gives it back"
    assert len(snow.instance.webhooks()) == 1


def test_item_73_a_cancelled_write_has_still_run_its_after_rule() -> None:
    snow = calling("rule_mode=after", "rule_skips_api_user=off", "slow=90")
    answer = snow.ask("POST", TABLE, {"short_description": "Pump"})
    assert (answer.status, len(answer.calls_first)) == (500, 1)


@pytest.mark.parametrize("status", [None, 400, 401, 429, 500])
def test_item_74_nothing_is_ever_sent_again(status: int | None) -> None:
    snow = calling()
    snow.written()
    [outgoing] = calls(snow)
    snow.instance.delivered(outgoing, status, "refused")
    assert calls(snow, 86_400) == []
    assert [(one.status, one.error) for one in snow.instance.webhooks()] == [(status, "refused")]


@pytest.mark.parametrize(("fault", "count"), [("webhook_lost", 0), ("webhook_doubled", 2)])
def test_item_74_events_are_lost_or_sent_twice(fault: str, count: int) -> None:
    snow = calling(f"{fault}*1")
    snow.written()
    sent = calls(snow)
    assert len(sent) == count
    assert len({one.body for one in sent}) == min(count, 1)
    snow.written()
    assert len(calls(snow)) == 1


def test_item_75_the_signature_covers_exactly_the_sent_bytes() -> None:
    snow = calling()
    snow.written('Größe 😀 \u2028 \\ "quoted"', description="zwei\r\nZeilen")
    [outgoing] = calls(snow)
    stamp = header(outgoing, "X-ServiceNow-Timestamp")
    assert stamp == str(int(snow.now_s))
    signed = stamp.encode() + b"." + outgoing.body
    assert header(outgoing, "X-ServiceNow-Signature") == base64.b64encode(mac(signed)).decode()
    assert header(outgoing, "Content-Type") == "application/json; charset=utf-8"
    assert "Größe 😀".encode() in outgoing.body


def test_item_75_without_a_timestamp_the_body_alone_is_signed() -> None:
    snow = calling("webhook_timestamp=off", "webhook_signature=hex")
    snow.written()
    [outgoing] = calls(snow)
    assert header(outgoing, "X-ServiceNow-Timestamp") is None
    assert header(outgoing, "X-ServiceNow-Signature") == mac(outgoing.body).hex()


@pytest.mark.parametrize(
    "fault",
    ["webhook_wrong_key", "webhook_signature_null", "webhook_unsigned", "webhook_old_timestamp", "webhook_altered"],
)
@pytest.mark.parametrize("operation", ["insert", "delete"])
def test_item_75_signatures_go_wrong_in_every_way(fault: str, operation: str) -> None:
    snow = calling()
    sys_id = snow.written()["sys_id"]
    if operation == "delete":
        calls(snow)
        snow.instance.arm(fault)
        snow.instance.delete_as(AGENT, sys_id)
    else:
        snow.instance.arm(fault)
    [outgoing] = calls(snow)
    stamp = str(header(outgoing, "X-ServiceNow-Timestamp"))
    good = base64.b64encode(mac(stamp.encode() + b"." + outgoing.body)).decode()
    signature = header(outgoing, "X-ServiceNow-Signature")
    match fault:
        case "webhook_old_timestamp":
            assert signature == good
            assert snow.now_s - int(stamp) >= 3600
        case "webhook_unsigned":
            assert signature is None
        case "webhook_signature_null":
            assert signature == "null"
        case _:
            assert signature is not None
            assert signature != good
            assert json.loads(outgoing.body)


def test_item_76_the_payload_is_the_pages_or_the_extended_one() -> None:
    snow = calling("webhook_payload=page")
    row = snow.written(assigned_to=AGENT_SYS_ID)
    [outgoing] = calls(snow)
    assert payload(outgoing).keys() == PAGE
    assert payload(outgoing)["assigned_to"] == "Beth Anglin"
    assert payload(outgoing)["updated_on"] == row["sys_updated_on"]
    snow.instance.set_switch("webhook_payload", "extended")
    snow.instance.set_switch("webhook_notes", value=True)
    snow.instance.note_as(AGENT, row["sys_id"], "seen")
    [outgoing] = calls(snow)
    said = payload(outgoing)
    assert said.keys() == PAGE | EXTRA | MINIMAL | {"work_notes"}
    assert (said["operation"], said["sys_mod_count"], said["updated_by"]) == ("update", "1", AGENT)
    assert [(note["text"], note["author"]) for note in said["work_notes"]] == [("seen", AGENT)]


def test_item_77_the_rule_leaves_out_the_api_user_or_not() -> None:
    snow = calling()
    sys_id = snow.create()["sys_id"]
    snow.echo(sys_id, urgency="1")
    assert calls(snow) == []
    snow.instance.set_switch("rule_skips_api_user", value=False)
    snow.echo(sys_id, urgency="2")
    assert [payload(one)["updated_by"] for one in calls(snow)] == [USER]


def test_item_78_a_delete_says_little_and_a_delete_rule_may_be_missing() -> None:
    snow = calling()
    first, second = snow.written(), snow.written()
    calls(snow)
    snow.instance.delete_as(AGENT, first["sys_id"])
    [outgoing] = snow.instance.due()
    assert payload(outgoing).keys() == MINIMAL
    assert (payload(outgoing)["operation"], payload(outgoing)["number"]) == ("delete", first["number"])
    snow.instance.set_switch("rule_operations", "no-delete")
    snow.instance.delete_as(AGENT, second["sys_id"])
    assert calls(snow) == []


def test_item_78_calls_are_late_and_overtake_one_another() -> None:
    orders = set()
    for seed in range(6):
        snow = calling("webhook_reordered=20", seed=seed)
        sys_id = snow.written()["sys_id"]
        snow.wait(1)
        snow.instance.due()
        snow.instance.edit_as(AGENT, sys_id, {"urgency": "1"})
        orders.add(tuple(payload(one)["operation"] for one in calls(snow)))
    assert orders == {("insert", "update"), ("update", "insert")}
    snow = calling("webhook_delay=30")
    snow.written()
    assert calls(snow, 1) == []
    assert calls(snow, 28) == []
    assert len(calls(snow, 5)) == 1


def test_item_78_an_event_comes_for_a_record_that_the_api_user_cannot_read() -> None:
    snow = calling()
    snow.instance.account(USER).hidden["incident"] = "category=secret"
    sys_id = snow.written(category="secret")["sys_id"]
    assert [payload(one)["sys_id"] for one in calls(snow)] == [sys_id]
    assert snow.ask("GET", f"{TABLE}/{sys_id}").status == 404


def test_item_79_a_clone_has_the_same_sys_ids_and_another_name() -> None:
    said = []
    for name in ("prod", "test"):
        snow = Snow(name=name, incidents=5, webhook_url=URL, webhook_secret=SECRET)
        row = next(one for one in snow.instance.incidents() if one["active"] == "true")
        snow.instance.note_as(AGENT, row["sys_id"], "hello")
        [outgoing] = calls(snow)
        said.append((payload(outgoing)["sys_id"], payload(outgoing)["instance_name"]))
    assert said[0][0] == said[1][0]
    assert [name for _, name in said] == ["prod", "test"]


def test_logged_calls_can_be_replayed_byte_for_byte() -> None:
    snow = calling()
    snow.written()
    snow.written()
    first = calls(snow)
    event_id = payload(first[0])["event_id"]
    assert snow.instance.replay_webhooks(event_id) == 1
    [again] = snow.instance.due()
    assert (again.body, again.headers) == (first[0].body, first[0].headers)
    assert snow.instance.replay_webhooks() == 3
    snow.instance.set_webhook("", "")
    snow.written()
    assert len(calls(snow)) == 3


def test_a_receiver_without_a_secret_gets_unsigned_calls() -> None:
    snow = Snow(webhook_url=URL)
    snow.written()
    [outgoing] = calls(snow)
    assert header(outgoing, "X-ServiceNow-Signature") is None
    assert basic("a", "b")[0] not in dict(outgoing.headers)
