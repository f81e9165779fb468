"""Both positions of the switches for what is only assumed of ServiceNow: items 27, 28, 31, 36, 46, 51 and 58."""

import pytest

from tests.simulator.snow import AGENT, AGENT_SYS_ID, TABLE, Snow, body_of

ADMIN = ("admin", "admin")


@pytest.mark.parametrize(("position", "level", "priority"), [("base", "3", "5"), ("customer", "2", "3")])
def test_item_27_new_defaults_are_the_base_systems_or_a_customers(position: str, level: str, priority: str) -> None:
    snow = Snow(faults=(f"new_defaults={position}",))
    row = snow.create()
    assert [row[name] for name in ("impact", "urgency", "priority")] == [level, level, priority]
    assert snow.create(impact="1", urgency="1")["priority"] == "1"
    if position == "customer":
        assert snow.create(impact="3", urgency="3")["priority"] == "5"


@pytest.mark.parametrize(("position", "wins"), [("state", "2"), ("incident_state", "3")])
def test_item_28_state_conflict_is_won_by_either_field(position: str, wins: str) -> None:
    snow = Snow(faults=(f"state_conflict={position}",))
    created = snow.create(state="2", incident_state="3", hold_reason="4")
    assert (created["state"], created["incident_state"]) == (wins, wins)
    echo = snow.echo(snow.create()["sys_id"], state="2", incident_state="3")
    assert (echo["state"], echo["incident_state"]) == (wins, wins)


def test_item_28_state_conflict_concerns_the_caller_and_not_a_rule() -> None:
    snow = Snow(faults=("state_conflict=incident_state", "assign_starts_work"))
    echo = snow.echo(snow.create(state="3")["sys_id"], state="1", incident_state="1", assigned_to=AGENT_SYS_ID)
    assert (echo["state"], echo["incident_state"]) == ("2", "2")


@pytest.mark.parametrize(("position", "shown"), [("value", "4"), ("blank", "")])
def test_item_31_unknown_label_is_the_value_or_blank(position: str, shown: str) -> None:
    snow = Snow(faults=(f"unknown_label={position}",))
    sys_id = snow.create(state="4")["sys_id"]
    assert snow.get(sys_id, display_value="true")["state"] == shown
    assert snow.get(sys_id, display_value="all")["state"] == {"display_value": shown, "value": "4"}
    assert snow.get(sys_id)["state"] == "4"


@pytest.mark.parametrize(("position", "stored"), [("display", ""), ("always", AGENT_SYS_ID)])
def test_item_36_reference_names_resolve_in_display_input_only_or_always(position: str, stored: str) -> None:
    snow = Snow(faults=(f"reference_names={position}",))
    cell = snow.create(assigned_to="Beth Anglin")["assigned_to"]
    assert (cell["value"] if cell else "") == stored
    assert snow.create(assigned_to="Ana Ruiz")["assigned_to"] == "", "two people have that name"
    assert snow.create(assigned_to="Nobody Known")["assigned_to"] == ""


@pytest.mark.parametrize(("position", "stored"), [("keep", "f" * 32), ("blank", "")])
def test_item_36_dangling_references_are_kept_or_blanked(position: str, stored: str) -> None:
    snow = Snow(faults=(f"dangling_references={position}",))
    cell = snow.create(assigned_to="f" * 32)["assigned_to"]
    assert (cell["value"] if cell else "") == stored


@pytest.mark.parametrize(("position", "count", "stamp"), [("on", "1", "14:14:20"), ("off", "0", "14:13:20")])
def test_item_46_note_stamps_move_or_stay(position: str, count: str, stamp: str) -> None:
    snow = Snow(faults=(f"note_stamps={position}",))
    sys_id = snow.written()["sys_id"]
    snow.wait(60)
    echo = snow.echo(sys_id, work_notes="seen")
    assert (echo["sys_mod_count"], echo["sys_updated_on"]) == (count, f"2026-09-21 {stamp}")
    assert [note["value"] for note in snow.instance.notes(sys_id)] == ["seen"]
    echo = snow.echo(sys_id, work_notes="both", urgency="2")
    assert (int(echo["sys_mod_count"]), echo["sys_updated_on"]) == (int(count) + 1, "2026-09-21 14:14:20")


@pytest.mark.parametrize(("position", "stamp"), [("start", "14:14:20"), ("commit", "14:14:40")])
def test_item_51_late_update_stamp_is_that_of_the_start_or_of_the_commit(position: str, stamp: str) -> None:
    snow = Snow(faults=(f"late_update_stamp={position}",))
    byhand, over_api = snow.written()["sys_id"], snow.written()["sys_id"]
    snow.wait(60)
    snow.instance.arm("late_commit", 20, times=1)
    answer = snow.patch(over_api, urgency="1")
    assert body_of(answer)["result"]["sys_updated_on"] == f"2026-09-21 {stamp}"
    snow.instance.edit_as(AGENT, byhand, {"urgency": "1"}, late_s=20)
    snow.wait(19)
    assert {row["urgency"] for row in snow.instance.incidents()} == {"3"}
    snow.wait(1)
    assert {row["sys_updated_on"] for row in snow.instance.incidents()} == {f"2026-09-21 {stamp}"}
    assert {row["urgency"] for row in snow.instance.incidents()} == {"1"}


@pytest.mark.parametrize("suffix", ["500", "reset", "504_html"])
@pytest.mark.parametrize(("verb", "method"), [("patch", "PATCH"), ("delete", "DELETE")])
@pytest.mark.parametrize("position", ["kept", "undone"])
def test_item_58_failed_writes_are_kept_or_undone(position: str, verb: str, method: str, suffix: str) -> None:
    snow = Snow(faults=(f"failed_writes={position}", f"{verb}_commits_then_{suffix}*1"))
    row = snow.written()
    answer = snow.ask(method, f"{TABLE}/{row['sys_id']}", {"urgency": "1", "work_notes": "x"}, login=ADMIN)
    assert (answer.status, answer.is_reset) == {"500": (500, False), "reset": (0, True), "504_html": (504, False)}[
        suffix
    ]
    if position == "undone":
        assert snow.instance.incidents() == [row]
        assert snow.instance.notes(row["sys_id"]) == []
    else:
        assert snow.instance.incidents() != [row]
    assert snow.ask(method, f"{TABLE}/{row['sys_id']}", {"urgency": "2"}, login=ADMIN).status == (
        404 if (position, verb) == ("kept", "delete") else 204 if verb == "delete" else 200
    )


def test_item_58_failed_writes_that_are_undone_call_no_webhook_and_creates_are_not_concerned() -> None:
    snow = Snow(faults=("failed_writes=undone", "rule_skips_api_user=off"), webhook_url="http://127.0.0.1:9/hook")
    row = snow.written()
    snow.wait(10)
    assert len(snow.instance.due()) == 1
    for verb in ("patch", "create"):
        snow.instance.arm(f"{verb}_commits_then_500")
    assert snow.patch(row["sys_id"], urgency="1").status == 500
    snow.wait(10)
    assert snow.instance.due() == []
    assert snow.ask("POST", TABLE, {"short_description": "second"}).status == 500
    assert len(snow.instance.incidents()) == 2
