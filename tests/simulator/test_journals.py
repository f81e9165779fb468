"""Checklist items 44 to 49: work notes and comments."""

import pytest

from tests.simulator.snow import AGENT, USER, Snow


def test_item_44_notes_append_and_show_newest_first_in_the_zone_of_the_reader() -> None:
    snow = Snow(zone="America/Los_Angeles")
    user = snow.instance.kernel.accounts.user_row(USER)
    assert user is not None
    user["time_zone"] = ""
    sys_id = snow.create(work_notes="deploy suspected")["sys_id"]
    snow.wait(60)
    snow.instance.note_as(AGENT, sys_id, "rolled back")
    snow.wait(60)
    echo = snow.echo(sys_id, comments="fixed soon")
    assert (echo["work_notes"], echo["comments"], echo["comments_and_work_notes"]) == ("", "", "")
    shown = snow.get(sys_id, display_value="all")
    notes = (
        "2026-09-21 07:14:20 - Beth Anglin (Work notes)\nrolled back\n\n"
        "2026-09-21 07:13:20 - svc.sync (Work notes)\ndeploy suspected\n\n"
    )
    comment = "2026-09-21 07:15:20 - svc.sync (Additional comments)\nfixed soon\n\n"
    assert shown["work_notes"] == {"display_value": notes, "value": ""}
    assert snow.get(sys_id, display_value="true")["comments"] == comment
    assert shown["comments_and_work_notes"]["display_value"] == comment + notes


def test_item_45_each_entry_is_a_row_even_when_text_and_second_are_the_same() -> None:
    snow = Snow()
    sys_id = snow.create()["sys_id"]
    for _ in range(2):
        snow.echo(sys_id, work_notes="same")
    rows = snow.rows(f"element_id={sys_id}^elementINwork_notes,comments", table="sys_journal_field")
    assert len({row["sys_id"] for row in rows}) == 2
    wanted = {"name": "incident", "element": "work_notes", "element_id": sys_id, "value": "same"}
    for row in rows:
        assert wanted.items() <= row.items()
        assert (row["sys_created_on"], row["sys_created_by"]) == ("2026-09-21 14:13:20", USER)


def test_item_46_a_note_raises_count_and_stamp() -> None:
    snow = Snow()
    sys_id = snow.written()["sys_id"]
    snow.wait(60)
    echo = snow.echo(sys_id, work_notes="seen")
    assert (echo["sys_mod_count"], echo["sys_updated_on"], echo["sys_updated_by"]) == ("1", "2026-09-21 14:14:20", USER)


def test_item_47_without_the_role_the_journal_table_is_empty_but_display_values_are_not() -> None:
    snow = Snow()
    sys_id = snow.create(work_notes="seen")["sys_id"]
    assert len(snow.rows(table="sys_journal_field")) == 1
    snow.instance.account(USER).roles -= {"audit_viewer"}
    assert snow.rows(table="sys_journal_field") == []
    assert "seen" in snow.get(sys_id, display_value="true")["work_notes"]


def test_item_48_notes_with_blank_lines_and_false_headers_are_served_as_they_are() -> None:
    snow = Snow(incidents=25)
    text = "first\n\n2026-01-01 10:00:00 - Somebody Else (Work notes)\nquoted\n\n\n<b>${x}</b> [code]ü😀[/code]"
    sys_id = snow.create(work_notes=text)["sys_id"]
    [row] = snow.rows(f"element_id={sys_id}", table="sys_journal_field")
    assert row["value"] == text
    assert text in snow.get(sys_id, display_value="true")["work_notes"]
    assert snow.rows("valueLIKESomebody Else (Work notes)^element_id!=x", table="sys_journal_field", limit="5")


@pytest.mark.parametrize(("fault", "count"), [(False, 1), (True, 2)])
def test_item_49_a_duplicating_rule_stores_a_note_twice(fault: bool, count: int) -> None:
    snow = Snow()
    if fault:
        snow.instance.arm("notes_doubled")
    sys_id = snow.create(work_notes="once")["sys_id"]
    assert [row["value"] for row in snow.instance.notes(sys_id)] == ["once"] * count
    assert snow.instance.record(sys_id)["sys_mod_count"] == "0"
