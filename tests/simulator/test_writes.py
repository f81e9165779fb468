"""Checklist items 22 to 36: what is stored of what is sent, and what the rules make of it."""

import pytest

from syncd.simulator.rules import AbortRule, DataPolicy
from tests.simulator.snow import (
    AGENT,
    AGENT_SYS_ID,
    NETWORK,
    RESOLVED,
    SOFTWARE,
    TABLE,
    USER,
    Snow,
    body_of,
    refusal_of,
    without,
)

ACL_REFUSAL = (403, "Operation Failed", "ACL Exception Update Failed due to security constraints")
POLICY = "Data Policy Exception: \n\tThe following fields are mandatory: "
MEMBER_OF_SOFTWARE = "5137153cc611227c000bbd1bd8cd2005"
UNKNOWN_SYS_ID = "f" * 32


def test_item_22_unknown_keys_are_ignored() -> None:
    snow = Snow()
    row = snow.create(u_nothing="x")
    assert "u_nothing" not in row
    assert "u_nothing" not in snow.echo(row["sys_id"], u_nothing="y", urgency="1")


def test_item_23_a_field_that_may_not_be_written_keeps_its_value() -> None:
    snow = Snow()
    sys_id = snow.create()["sys_id"]
    snow.instance.account(USER).write_denied |= {("incident", "description"), ("incident", "priority")}
    echo = snow.echo(sys_id, description="mine", impact="1", urgency="1")
    assert (echo["description"], echo["impact"], echo["priority"]) == ("", "1", "5"), "not even by way of a rule"
    assert snow.instance.edit_as(AGENT, sys_id, {"urgency": "2"})["priority"] == "2"


def test_item_23_without_the_incident_role_state_and_description_are_dropped() -> None:
    snow = Snow()
    account = snow.instance.account(USER)
    account.roles -= {"sn_incident_write"}
    echo = snow.create(description="lost", state="2", urgency="1", category="network")
    assert [echo[name] for name in ("description", "state", "urgency", "category")] == ["", "1", "3", "network"]


def test_item_24_a_field_that_may_not_be_read_is_absent_everywhere() -> None:
    snow = Snow()
    snow.instance.account(USER).read_denied.add(("incident", "description"))
    created = snow.create(description="secret")
    answers = [created, snow.get(created["sys_id"]), snow.echo(created["sys_id"], urgency="1"), *snow.rows()]
    answers.append(snow.get(created["sys_id"], fields="sys_id,description", display_value="all"))
    assert not any("description" in answer for answer in answers)
    assert snow.instance.record(created["sys_id"])["description"] == "secret"


@pytest.mark.parametrize(
    ("name", "limit"), [("short_description", 160), ("description", 4000), ("correlation_id", 100)]
)
def test_item_25_text_above_the_limit_is_cut_to_it(name: str, limit: int) -> None:
    snow = Snow()
    sys_id = snow.create()["sys_id"]
    assert snow.echo(sys_id, **{name: "ü" * (limit + 1)})[name] == "ü" * limit
    assert snow.create(**{name: "x" * limit} if name != "short_description" else {})["state"] == "1"


BASE = "111 122 133 212 223 234 313 324 335"


@pytest.mark.parametrize(("impact", "urgency", "priority"), [tuple(one) for one in BASE.split()])
def test_item_26_priority_is_recomputed_from_impact_and_urgency(impact: str, urgency: str, priority: str) -> None:
    snow = Snow()
    row = snow.create(impact=impact, urgency=urgency, priority="3")
    assert row["priority"] == priority
    other = snow.create()
    assert snow.echo(other["sys_id"], impact=impact, urgency=urgency)["priority"] == priority


def test_item_26_a_priority_written_directly_is_overridden_or_kept() -> None:
    snow = Snow()
    row = snow.create()
    echo = snow.echo(row["sys_id"], priority="1")
    assert (echo["priority"], echo["sys_mod_count"]) == ("5", "0")
    snow.instance.set_switch("priority_direct", "kept")
    assert snow.echo(row["sys_id"], priority="1")["priority"] == "1"
    assert snow.echo(row["sys_id"], urgency="2")["priority"] == "4"


def test_item_26_the_matrix_can_be_replaced() -> None:
    snow = Snow()
    snow.instance.rulebook.matrix["3", "3"] = "4"
    assert snow.create()["priority"] == "4"


def test_item_27_a_new_incident_has_these_defaults() -> None:
    snow = Snow()
    row = snow.create()
    wanted = {"state": "1", "impact": "3", "urgency": "3", "priority": "5", "active": "true", "sys_mod_count": "0"}
    assert {name: row[name] for name in wanted} == wanted
    assert (row["sys_created_by"], row["sys_updated_by"], row["opened_at"]) == (USER, USER, "2026-09-21 14:13:20")
    user = snow.instance.kernel.accounts.user_row(USER)
    assert user is not None
    assert row["opened_by"]["value"] == user["sys_id"]
    assert row["number"].startswith("INC")
    assert len(row["number"]) == 10
    assert row["number"][3:].isdecimal()
    assert snow.create()["number"] > row["number"]


@pytest.mark.parametrize("name", ["state", "incident_state"])
def test_item_28_state_and_incident_state_stay_equal(name: str) -> None:
    snow = Snow()
    created = snow.create(**{name: "2"})
    assert (created["state"], created["incident_state"]) == ("2", "2")
    echo = snow.echo(created["sys_id"], **{name: "3"})
    assert (echo["state"], echo["incident_state"]) == ("3", "3")


@pytest.mark.parametrize("state", list("123678"))
def test_item_29_a_closed_or_cancelled_incident_is_not_active(state: str) -> None:
    snow = Snow()
    row = snow.create(**{**RESOLVED, "state": state, "active": "false" if state in "1236" else "true"})
    assert row["active"] == ("true" if state in "1236" else "false")


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        ({}, "Resolution code, Close notes"),
        ({"close_code": "Duplicate"}, "Close notes"),
        ({"close_notes": "Done."}, "Resolution code"),
    ],
)
@pytest.mark.parametrize("state", ["6", "7"])
def test_item_30_resolving_without_close_data_is_refused_and_stores_nothing(
    state: str, fields: dict[str, str], missing: str
) -> None:
    snow = Snow()
    row = snow.create()
    before = dict(snow.instance.record(row["sys_id"]))
    answer = snow.patch(row["sys_id"], state=state, work_notes="resolving", **fields)
    assert refusal_of(answer) == (403, "Operation Failed", POLICY + missing)
    assert snow.instance.record(row["sys_id"]) == before
    assert snow.instance.notes(row["sys_id"]) == []
    assert snow.ask("POST", TABLE, {"state": state, **fields}).status == 403
    assert len(snow.instance.incidents()) == 1


def test_item_31_an_unknown_close_code_is_blanked_and_then_missing() -> None:
    snow = Snow()
    sys_id = snow.create()["sys_id"]
    answer = snow.patch(sys_id, **{**RESOLVED, "close_code": "Solved (Permanently)"})
    assert refusal_of(answer) == (403, "Operation Failed", POLICY + "Resolution code")
    snow.instance.set_switch("close_code_check", "keep")
    assert snow.echo(sys_id, **{**RESOLVED, "close_code": "Solved"})["close_code"] == "Solved"


def test_item_31_an_unknown_state_is_stored_and_shown_as_itself() -> None:
    snow = Snow()
    sys_id = snow.create()["sys_id"]
    assert snow.echo(sys_id, state="4")["state"] == "4"
    assert snow.get(sys_id, display_value="true")["state"] == "4"


def test_item_32_resolving_and_closing_are_stamped_once() -> None:
    snow = Snow()
    sys_id = snow.create()["sys_id"]
    resolved = snow.echo(sys_id, **RESOLVED)
    assert resolved["resolved_at"] == "2026-09-21 14:13:20"
    user = snow.instance.kernel.accounts.user_row(USER)
    assert user is not None
    assert resolved["resolved_by"]["value"] == user["sys_id"]
    snow.wait(60)
    assert snow.echo(sys_id, **RESOLVED) == resolved
    snow.instance.set_switch("close_by_api", "allow")
    closed = snow.echo(sys_id, state="7")
    assert (closed["closed_at"], closed["active"]) == ("2026-09-21 14:14:20", "false")
    assert closed["closed_by"]["value"] == user["sys_id"]
    assert closed["resolved_at"] == resolved["resolved_at"]


def test_reopening_counts_and_clears_the_close_data_only_by_switch() -> None:
    snow = Snow()
    sys_id = snow.create(**RESOLVED)["sys_id"]
    echo = snow.echo(sys_id, state="2")
    assert (echo["reopen_count"], echo["close_code"]) == ("1", "Solution provided")
    snow.instance.set_switch("reopen_clears", value=True)
    snow.echo(sys_id, **RESOLVED)
    echo = snow.echo(sys_id, state="2")
    assert (echo["reopen_count"], echo["close_code"], echo["resolved_at"]) == ("2", "", "")


@pytest.mark.parametrize("state", ["7", "8"])
def test_item_33_a_closed_record_refuses_or_ignores_writes(state: str) -> None:
    snow = Snow()
    sys_id = snow.written(**{**RESOLVED, "state": state})["sys_id"]
    before = dict(snow.instance.record(sys_id))
    for fields in ({"description": "late"}, {"work_notes": "late"}, {"state": "2"}):
        assert refusal_of(snow.patch(sys_id, **fields)) == ACL_REFUSAL
    snow.instance.set_switch("closed_write", "ignore")
    assert snow.echo(sys_id, description="late")["description"] == ""
    assert snow.instance.record(sys_id) == before
    snow.instance.set_switch("closed_notes", "allow")
    assert snow.echo(sys_id, work_notes="late")["sys_mod_count"] == "1"
    answer = snow.ask("PATCH", f"{TABLE}/{sys_id}", {"description": "late"}, login=("admin", "admin"))
    assert body_of(answer)["result"]["description"] == "late"


@pytest.mark.parametrize("name", ["state", "incident_state"])
def test_item_34_closing_is_allowed_refused_or_ignored(name: str) -> None:
    snow = Snow()
    sys_id = snow.create(**RESOLVED)["sys_id"]
    snow.instance.set_switch("close_by_api", "refuse")
    assert refusal_of(snow.patch(sys_id, **{name: "7"})) == ACL_REFUSAL
    snow.instance.set_switch("close_by_api", "ignore")
    assert snow.echo(sys_id, **{name: "7"})["state"] == "6"
    snow.instance.set_switch("close_by_api", "allow")
    assert snow.echo(sys_id, **{name: "7"})["state"] == "7"


def test_item_35_a_group_change_that_leaves_a_foreign_assignee_is_aborted() -> None:
    snow = Snow()
    sys_id = snow.create(assignment_group=NETWORK, assigned_to=AGENT_SYS_ID)["sys_id"]
    status, message, detail = refusal_of(snow.patch(sys_id, assignment_group=SOFTWARE))
    assert (status, message) == (403, "Operation Failed")
    start = "Operation against file 'incident' was aborted by Business Rule 'Abort changes on group^"
    assert str(detail).startswith(start)
    assert snow.echo(sys_id, assignment_group=SOFTWARE, assigned_to="")["assigned_to"] == ""
    snow.echo(sys_id, assignment_group=NETWORK, assigned_to=AGENT_SYS_ID)
    moved = snow.echo(sys_id, assignment_group=SOFTWARE, assigned_to=MEMBER_OF_SOFTWARE)
    assert moved["assigned_to"]["value"] == MEMBER_OF_SOFTWARE
    assert moved["reassignment_count"] == "3"
    snow.instance.set_switch("abort_on_group", value=False)
    assert snow.echo(sys_id, assignment_group=NETWORK)["assignment_group"]["value"] == NETWORK


def test_an_assignee_outside_the_group_is_kept_refused_by_a_rule_or_cleared() -> None:
    snow = Snow()
    sys_id = snow.create(assignment_group=SOFTWARE)["sys_id"]
    assert snow.echo(sys_id, assigned_to=AGENT_SYS_ID)["assigned_to"]["value"] == AGENT_SYS_ID
    snow.echo(sys_id, assigned_to="")
    snow.instance.set_switch("outside_assignee", "refuse")
    status, _, detail = refusal_of(snow.patch(sys_id, assigned_to=AGENT_SYS_ID))
    assert status == 403
    assert "'Assignee must be in the group^" in str(detail)
    both = snow.echo(sys_id, assigned_to=AGENT_SYS_ID, assignment_group=NETWORK)
    assert (both["assigned_to"]["value"], both["assignment_group"]["value"]) == (AGENT_SYS_ID, NETWORK)
    snow.instance.set_switch("outside_assignee", "blank")
    assert snow.echo(sys_id, assignment_group=SOFTWARE)["assigned_to"] == "", "a group change clears him"


def test_item_36_a_reference_by_name_resolves_only_as_display_input() -> None:
    snow = Snow()

    def written(name: str, input_display_value: str = "false") -> object:
        answer = snow.ask("POST", TABLE, {"assigned_to": name}, input_display_value=input_display_value)
        assert answer.status == 201
        cell = body_of(answer)["result"]["assigned_to"]
        return cell["value"] if cell else ""

    assert written("Beth Anglin") == ""
    assert written("Beth Anglin", input_display_value="true") == AGENT_SYS_ID
    assert written("Ana Ruiz", input_display_value="true") == "", "two people have that name"
    assert written("Nobody Known", input_display_value="true") == ""
    assert written(AGENT_SYS_ID) == AGENT_SYS_ID
    assert written(UNKNOWN_SYS_ID) == UNKNOWN_SYS_ID
    snow.instance.set_switch("dangling_references", "blank")
    assert written(UNKNOWN_SYS_ID) == ""


def test_display_input_takes_labels_and_local_times() -> None:
    snow = Snow(zone="Europe/Berlin")
    user = snow.instance.kernel.accounts.user_row(USER)
    assert user is not None
    user["time_zone"] = ""
    body = {"state": "In Progress", "due_date": "2026-12-01 10:00:00"}
    answer = body_of(snow.ask("POST", TABLE, body, input_display_value="true"))["result"]
    assert (answer["state"], answer["due_date"]) == ("2", "2026-12-01 09:00:00")


def test_item_37_a_patch_without_effect_changes_no_stamp_and_starts_no_rule() -> None:
    snow = Snow()
    snow.instance.set_webhook("http://127.0.0.1:9/hook", "s")
    snow.instance.set_switch("rule_skips_api_user", value=False)
    row = snow.written(description="same")
    snow.wait(60)
    assert len(snow.instance.due()) == 1
    for fields in ({"description": "same", "urgency": "3"}, {"priority": "1"}, {"work_notes": ""}, {}):
        echo = snow.echo(row["sys_id"], **fields)
        assert [echo[name] for name in ("sys_updated_on", "sys_updated_by", "sys_mod_count")] == [
            row["sys_updated_on"],
            AGENT,
            "0",
        ]
    snow.wait(60)
    assert snow.instance.due() == []


def test_item_38_an_effective_patch_counts_and_stamps() -> None:
    snow = Snow()
    row = snow.written()
    snow.wait(60.9)
    echo = snow.echo(row["sys_id"], urgency="2")
    assert (echo["sys_mod_count"], echo["sys_updated_on"], echo["sys_updated_by"]) == ("1", "2026-09-21 14:14:20", USER)
    stamps = ("sys_updated_on", "sys_updated_by", "sys_mod_count", "urgency", "priority")
    assert without(snow.instance.record(row["sys_id"]), *stamps) == without(row, *stamps)


def test_item_39_a_customer_has_data_policies_and_abort_rules_of_his_own() -> None:
    snow = Snow()
    snow.instance.rulebook.policies.append(DataPolicy(("2",), ("category", "work_notes")))
    snow.instance.rulebook.aborts.append(AbortRule("No urgency 1", "urgency=1"))
    sys_id = snow.create()["sys_id"]
    missing = refusal_of(snow.patch(sys_id, state="2", category=""))
    assert missing == (403, "Operation Failed", f"{POLICY}Category, Work notes")
    assert snow.echo(sys_id, state="2", work_notes="started")["state"] == "2"
    status, _, detail = refusal_of(snow.patch(sys_id, urgency="1"))
    assert status == 403
    assert "'No urgency 1^" in str(detail)


def test_item_40_a_rewrite_rule_shows_in_the_echo() -> None:
    snow = Snow()
    snow.instance.set_switch("title_prefix", "[P] ")
    snow.instance.set_switch("assign_starts_work", value=True)
    row = snow.create("Pump")
    assert row["short_description"] == "[P] Pump"
    echo = snow.echo(row["sys_id"], assigned_to=AGENT_SYS_ID, short_description="Valve")
    assert (echo["short_description"], echo["state"], echo["incident_state"]) == ("[P] Valve", "2", "2")


def test_item_41_an_assignment_rule_fills_the_assignee_when_the_priority_rises() -> None:
    snow = Snow()
    sys_id = snow.create()["sys_id"]
    assert snow.echo(sys_id, impact="1")["assigned_to"] == ""
    snow.instance.set_switch("assign_on_priority", AGENT)
    assert snow.echo(sys_id, urgency="1")["assigned_to"]["value"] == AGENT_SYS_ID


def test_item_42_the_callers_comment_ends_awaiting_caller() -> None:
    snow = Snow()
    caller = snow.instance.kernel.accounts.user_row("joe.employee")
    assert caller is not None
    sys_id = snow.written(state="3", hold_reason="1", caller_id=caller["sys_id"])["sys_id"]
    assert snow.instance.note_as(AGENT, sys_id, "ping", "comments")["state"] == "3"
    assert snow.instance.note_as("joe.employee", sys_id, "to myself")["state"] == "3"
    row = snow.instance.note_as("joe.employee", sys_id, "it works now", "comments")
    assert (row["state"], row["incident_state"], row["hold_reason"]) == ("2", "2", "")


@pytest.mark.parametrize(("state", "travels"), [("2", True), ("3", True), ("6", True), ("7", False), ("8", False)])
def test_item_43_a_parents_state_goes_to_its_children(state: str, travels: bool) -> None:
    snow = Snow()
    parent = snow.written("parent", impact="1")["sys_id"]
    child = snow.written("child", parent_incident=parent)["sys_id"]
    fields = {**RESOLVED, "state": state, "hold_reason": "4" if state == "3" else ""}
    snow.instance.edit_as(AGENT, parent, {"state": "1", "urgency": "2"})
    assert snow.instance.record(child)["state"] == "1"
    snow.instance.set_switch("cascade_to_children", value=True)
    snow.instance.edit_as(AGENT, parent, fields)
    after = snow.instance.record(child)
    assert after["state"] == (state if travels else "1")
    assert after["close_notes"] == ("Done." if travels else "")


def test_item_43_awaiting_caller_stays_with_the_parent() -> None:
    snow = Snow(faults=("cascade_to_children=on",))
    parent = snow.written("parent")["sys_id"]
    child = snow.written("child", parent_incident=parent)["sys_id"]
    snow.instance.edit_as(AGENT, parent, {"state": "3", "hold_reason": "1"})
    assert snow.instance.record(child)["state"] == "1"


def test_a_number_column_keeps_no_words_and_half_a_surrogate_is_not_stored() -> None:
    snow = Snow()
    row = body_of(snow.ask("POST", TABLE, b'{"reassignment_count": "many", "description": "a\\ud83d b"}'))["result"]
    assert (row["reassignment_count"], row["description"]) == ("", "a? b")


def test_a_write_to_another_table_is_refused() -> None:
    snow = Snow()
    answer = snow.ask("POST", "/api/now/table/sys_user", {"name": "x"})
    assert refusal_of(answer) == (403, "Operation Failed", "ACL Exception Insert Failed due to security constraints")
    sys_id = snow.create()["sys_id"]
    assert refusal_of(snow.ask("DELETE", f"{TABLE}/{sys_id}"))[2] == (
        "ACL Exception Delete Failed due to security constraints"
    )
    snow.instance.account(USER).refused_methods.add("PATCH")
    assert snow.patch(sys_id, urgency="1").status == 403
    assert snow.ask("GET", f"{TABLE}/{sys_id}").status == 200
