"""Checklist items 50 to 56: clocks, late commits, competing writers, auto-close and deletion."""

import pytest

from syncd.simulator.accounts import ITIL_ROLES
from syncd.simulator.clock import local_text, utc_text
from tests.simulator.snow import AGENT, RESOLVED, TABLE, USER, Snow, body_of, refusal_of

DAY_S = 86_400
GONE = (404, "No Record found", "Record doesn't exist or ACL restricts the record retrieval")


def test_item_50_the_instances_clock_is_off_and_drifts() -> None:
    snow = Snow(clock_offset_s=-30.0, clock_drift=0.01)
    assert snow.create()["sys_created_on"] == "2026-09-21 14:12:50"
    snow.wait(1000)
    assert snow.create()["sys_created_on"] == "2026-09-21 14:29:40"
    assert snow.ask("GET").header("date") == "Mon, 21 Sep 2026 14:29:40 GMT"


def test_item_50_people_without_a_zone_see_the_instances_default() -> None:
    row = Snow(zone="America/Los_Angeles", users={"agent": "x"}).instance
    assert row.kernel.accounts.actor(AGENT).zone == "America/Los_Angeles"
    assert row.kernel.accounts.actor("agent").zone == "GMT"
    with pytest.raises(ValueError, match="America/Los_Angeles"):
        Snow(zone="Mars/Olympus")


@pytest.mark.parametrize(
    ("zone", "stamp", "local"),
    [
        ("America/Los_Angeles", "2026-03-08 09:59:59", "2026-03-08 01:59:59"),
        ("America/Los_Angeles", "2026-03-08 10:00:00", "2026-03-08 03:00:00"),
        ("America/Los_Angeles", "2026-11-01 09:00:00", "2026-11-01 01:00:00"),
        ("Europe/Berlin", "2026-10-25 00:59:59", "2026-10-25 02:59:59"),
        ("Europe/Berlin", "2026-10-25 01:00:00", "2026-10-25 02:00:00"),
        ("Asia/Kolkata", "2026-01-01 00:00:00", "2026-01-01 05:30:00"),
        ("GMT", "2026-01-01 00:00:00", "2026-01-01 00:00:00"),
        ("Asia/Tokyo", "9999-12-31 23:59:59", "9999-12-31 23:59:59"),
    ],
)
def test_item_50_stamps_are_shown_in_the_zone_of_the_user(zone: str, stamp: str, local: str) -> None:
    assert local_text(stamp, zone) == local


def test_a_local_time_outside_of_the_calendar_is_an_error() -> None:
    assert utc_text("2026-07-01 12:00:00", "America/New_York") == "2026-07-01 16:00:00"
    with pytest.raises(ValueError, match="1 to 9999"):
        utc_text("9999-12-31 23:59:59", "America/New_York")


def test_item_51_a_late_commit_appears_behind_rows_that_are_stamped_later() -> None:
    snow = Snow()
    slow, quick = snow.written("slow")["sys_id"], snow.written("quick")["sys_id"]
    snow.wait(60)
    snow.instance.edit_as(AGENT, slow, {"urgency": "1"}, late_s=10)
    snow.wait(2)
    snow.instance.edit_as(AGENT, quick, {"urgency": "1"})
    later = "sys_updated_on>2026-09-21 14:14:00"
    assert snow.titles(later) == ["quick"]
    snow.wait(8)
    assert snow.titles(later) == ["quick", "slow"]
    row = snow.instance.record(slow)
    assert (row["sys_updated_on"], row["sys_mod_count"]) == ("2026-09-21 14:14:20", "1")


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_item_51_a_slow_request_is_answered_when_it_becomes_visible(method: str) -> None:
    snow = Snow()
    sys_id = snow.written()["sys_id"]
    snow.instance.arm("late_commit", 20, times=1)
    path = TABLE if method == "POST" else f"{TABLE}/{sys_id}"
    answer = snow.ask(method, path, {"urgency": "1"} if method != "DELETE" else None, login=("admin", "admin"))
    assert (answer.status, answer.delay_s) == ({"POST": 201, "PATCH": 200, "DELETE": 204}[method], 20)
    if method == "PATCH":
        assert (body_of(answer)["result"]["urgency"], body_of(answer)["result"]["sys_mod_count"]) == ("1", "1")
    snow.wait(19)
    assert [row["urgency"] for row in snow.instance.incidents()] == ["3"]
    snow.wait(1)
    after = {"POST": ["3", "1"], "PATCH": ["1"], "DELETE": []}[method]
    assert [row["urgency"] for row in snow.instance.incidents()] == after


def test_item_51_a_late_write_to_a_record_that_was_deleted_is_lost() -> None:
    snow = Snow()
    sys_id = snow.written()["sys_id"]
    snow.instance.edit_as(AGENT, sys_id, {"urgency": "1"}, late_s=5)
    snow.instance.delete_as("admin", sys_id)
    snow.wait(5)
    assert snow.instance.incidents() == []


def test_item_52_the_last_write_of_a_field_wins_and_preconditions_are_ignored() -> None:
    snow = Snow()
    sys_id = snow.written()["sys_id"]
    for fields in ({"description": "one"}, {"urgency": "1"}, {"description": "two"}):
        headers = (("If-Match", '"never"'), ("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"))
        assert snow.ask("PATCH", f"{TABLE}/{sys_id}", fields, headers=headers).status == 200
    row = snow.instance.record(sys_id)
    assert (row["description"], row["urgency"], row["sys_mod_count"]) == ("two", "1", "3")


def test_item_52_two_overlapping_writes_of_different_fields_both_survive() -> None:
    snow = Snow()
    sys_id = snow.written()["sys_id"]
    snow.instance.edit_as(AGENT, sys_id, {"description": "slow"}, late_s=5)
    snow.echo(sys_id, category="network")
    snow.wait(5)
    row = snow.instance.record(sys_id)
    assert (row["description"], row["category"], row["sys_mod_count"]) == ("slow", "network", "2")


def test_item_53_more_rows_than_one_page_share_a_stamp() -> None:
    snow = Snow()
    for number in range(12):
        snow.written(f"row {number}")
    stamp = "2026-09-21 14:13:20"
    order = "ORDERBYsys_updated_on^ORDERBYsys_id"
    seen: list[str] = []
    while True:
        after = f"sys_updated_on>{stamp}^NQsys_updated_on={stamp}^sys_id>{seen[-1] if seen else ''}^{order}"
        page = snow.rows(after, limit="5", no_count="true")
        if not page:
            break
        seen += [row["sys_id"] for row in page]
    assert len(seen) == len(set(seen)) == 12


def test_item_54_writes_may_leave_the_stamps_skip_the_rules_or_date_back() -> None:
    snow = Snow()
    row = snow.written()
    snow.instance.set_webhook("http://127.0.0.1:9/hook", "s")
    snow.wait(60)
    quiet = snow.instance.edit_as(AGENT, row["sys_id"], {"description": "quiet"}, has_stamps=False)
    assert (quiet["sys_updated_on"], quiet["sys_mod_count"]) == (row["sys_updated_on"], "0")
    answer = snow.ask("PATCH", f"{TABLE}/{row['sys_id']}", {"category": "network"}, suppress_auto_sys_field="true")
    assert body_of(answer)["result"]["sys_mod_count"] == "0"
    snow.wait(60)
    assert len(snow.instance.due()) == 1, "the agent's write ran its rule, the API user's did not"
    ruleless = snow.instance.edit_as(AGENT, row["sys_id"], {"impact": "1"}, has_rules=False)
    assert (ruleless["priority"], ruleless["sys_mod_count"]) == ("5", "1")
    snow.wait(60)
    assert snow.instance.due() == []
    old = snow.echo(row["sys_id"], description="old", sys_updated_on="2020-01-01 00:00:00", sys_updated_by="import")
    assert (old["sys_updated_on"], old["sys_updated_by"], old["sys_mod_count"]) == (
        "2020-01-01 00:00:00",
        "import",
        "2",
    )
    snow.instance.set_switch("admin_only_sys_fields", value=True)
    assert snow.echo(row["sys_id"], description="x", sys_updated_on="2019-01-01 00:00:00")["sys_updated_by"] == USER


@pytest.mark.parametrize(("measured", "closed_after_days"), [("resolved_at", 2), ("last_update", 3)])
def test_item_55_the_system_closes_what_was_resolved_long_ago(measured: str, closed_after_days: int) -> None:
    snow = Snow(faults=("autoclose_days=1.5", f"autoclose_from={measured}"))
    sys_id = snow.written(**RESOLVED)["sys_id"]
    snow.wait(DAY_S)
    snow.instance.note_as(AGENT, sys_id, "still fine?")
    days = 1
    while snow.instance.record(sys_id)["state"] != "7":
        snow.wait(DAY_S)
        days += 1
        assert days < 5
    row = snow.instance.record(sys_id)
    assert (days, row["sys_updated_by"], row["active"]) == (closed_after_days, "system", "false")
    assert row["closed_at"]


def test_item_55_a_record_that_may_not_be_closed_does_not_stop_the_job() -> None:
    snow = Snow(faults=("close_policy=off",))
    stuck = snow.written(state="6")["sys_id"]
    good = snow.written(**RESOLVED)["sys_id"]
    snow.instance.set_switch("close_policy", value=True)
    snow.instance.set_switch("autoclose_days", 1)
    snow.wait(2 * DAY_S)
    assert [snow.instance.record(sys_id)["state"] for sys_id in (stuck, good)] == ["6", "7"]


def test_item_56_a_deleted_record_and_a_hidden_one_look_the_same() -> None:
    snow = Snow()
    deleted, hidden = snow.written(work_notes="x")["sys_id"], snow.written("secret")["sys_id"]
    number = snow.instance.record(deleted)["number"]
    snow.instance.delete_as(AGENT, deleted)
    snow.instance.account(USER).hidden["incident"] = f"sys_id={hidden}"
    for sys_id in (deleted, hidden):
        for method in ("GET", "PATCH", "DELETE"):
            assert refusal_of(snow.ask(method, f"{TABLE}/{sys_id}", {"urgency": "1"})) == GONE
    assert snow.rows() == []
    [row] = snow.rows(f"documentkey={deleted}", table="sys_audit_delete")
    assert (row["tablename"], row["display_value"], row["sys_created_by"]) == ("incident", number, AGENT)
    assert snow.rows(f"element_id={deleted}", table="sys_journal_field") == []
    snow.instance.account(USER).roles = ITIL_ROLES - {"audit_viewer"}
    assert snow.rows(table="sys_audit_delete") == []
