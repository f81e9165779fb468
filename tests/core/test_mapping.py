"""The lens laws over every record, against a ServiceNow of this test's own that derives the priority itself."""

from collections.abc import Iterator
from itertools import product
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from syncd.core.lens import DEFAULT_LENS
from syncd.core.mapping import (
    PRIORITY_OF_PAIR,
    canonical_text,
    canonical_title,
    close_data,
    transition_defaults,
)
from syncd.core.model import SEVERITIES, STATUSES, SYNCED_FIELDS, TITLE_LETTERS_MAX

# ServiceNow's own tables, written down a second time: docs/servicenow.md, "States" and "Priority".
MATRIX: Final = {"11": "1", "12": "2", "13": "3", "21": "2", "22": "3", "23": "4", "31": "3", "32": "4", "33": "5"}
STATE_MEANS: Final = {
    "1": "open",
    "2": "open",
    "3": "mitigated",
    "4": "mitigated",
    "5": "mitigated",
    "6": "resolved",
    "7": "closed",
    "8": "canceled",
}
PRIORITY_MEANS: Final = {"1": "SEV-1", "2": "SEV-2", "3": "SEV-3", "4": "SEV-4", "5": "SEV-4"}
STATES: Final = ("1", "2", "3", "4", "5", "6", "7", "8", "0", "9", "-5", "New", "")
PRIORITIES: Final = ("1", "2", "3", "4", "5", "0", "6", "")
DIGITS: Final = ("1", "2", "3", "")

Columns = dict[str, str]
get, put, meaning, raw_of = DEFAULT_LENS.get, DEFAULT_LENS.put, DEFAULT_LENS.meaning, DEFAULT_LENS.raw_of
unmapped, written = DEFAULT_LENS.unmapped, DEFAULT_LENS.written


def records() -> Iterator[Columns]:
    """Every state x priority x impact x urgency x hold reason, also the priorities that no matrix gives."""
    for state, priority, impact, urgency, hold_reason in product(STATES, PRIORITIES, DIGITS, DIGITS, ("", "1")):
        yield {
            "state": state,
            "priority": priority,
            "impact": impact,
            "urgency": urgency,
            "hold_reason": hold_reason,
            "short_description": "Mail is down",
            "description": "Since noon",
        }


def stored(record: Columns, columns: Columns) -> Columns:
    """What ServiceNow makes of a write: the columns as given, and the priority derived anew."""
    after = record | columns
    if "impact" in columns or "urgency" in columns:
        after["priority"] = MATRIX.get(after["impact"] + after["urgency"], after["priority"])
    return after


def test_writing_back_what_was_read_writes_nothing() -> None:
    for record in records():
        shown = {field: value for field, value in get(record).items() if isinstance(value, str)}
        assert put(shown, record) == {}


def test_what_was_written_is_what_is_read_and_nothing_else_changes_its_meaning() -> None:
    for record in records():
        before = get(record)
        for field, value in [*(("severity", one) for one in SEVERITIES), *(("status", one) for one in STATUSES)]:
            after = get(stored(record, put({field: value}, record)))
            assert after == {**before, field: value}, (record, field, value)


def test_severity_and_status_written_together_are_both_read_back() -> None:
    for severity, status in product(SEVERITIES, STATUSES):
        for record in records():
            wanted = {"severity": severity, "status": status}
            after = get(stored(record, put(wanted, record)))
            assert (after["severity"], after["status"]) == (severity, status)


def test_priority_and_the_states_of_old_models_are_never_written() -> None:
    for record in records():
        for severity, status in zip((*SEVERITIES, "SEV-1"), STATUSES, strict=True):
            columns = put({"severity": severity, "status": status}, record)
            assert "priority" not in columns
            assert columns.get("state") not in {"4", "5"}


def test_each_state_and_priority_means_what_the_documentation_says() -> None:
    for record in records():
        shown = get(record)
        assert shown["status"] == STATE_MEANS.get(record["state"], UNSET)
        assert shown["severity"] == PRIORITY_MEANS.get(record["priority"], UNSET)


def test_our_matrix_is_servicenows() -> None:
    assert {impact + urgency: priority for (impact, urgency), priority in PRIORITY_OF_PAIR.items()} == MATRIX


@pytest.mark.parametrize("state", ["1", "2"])
def test_new_and_in_progress_both_stay_while_the_incident_is_open(state: str) -> None:
    assert put({"status": "open"}, {"state": state}) == {}


@pytest.mark.parametrize(("pair", "severity"), [("11", "SEV-1"), ("13", "SEV-3"), ("31", "SEV-3"), ("33", "SEV-4")])
def test_a_pair_that_already_gives_the_severity_is_kept(pair: str, severity: str) -> None:
    record = {"impact": pair[0], "urgency": pair[1], "priority": "1" if severity != "SEV-1" else "2"}
    assert put({"severity": severity}, record) == {"impact": pair[0], "urgency": pair[1]}


def test_an_unknown_state_says_nothing_and_is_shown_to_a_person() -> None:
    for state in ("0", "9", "-5", "New", ""):
        record = {"state": state}
        assert meaning("status", raw_of("status", record)) is UNSET
        assert unmapped("status", record) == state


def test_what_is_absent_is_neither_empty_nor_unmapped() -> None:
    assert get({}) == dict.fromkeys(SYNCED_FIELDS, UNSET)
    assert all(unmapped(field, {}) is None for field in SYNCED_FIELDS)
    assert get({"description": ""})["description"] == ""


def test_leaving_hold_clears_its_reason_and_staying_keeps_it() -> None:
    on_hold = {"state": "3", "hold_reason": "1"}
    assert put({"status": "open"}, on_hold) == {"state": "2", "hold_reason": ""}
    assert put({"status": "mitigated"}, on_hold) == {}
    assert put({"status": "mitigated"}, {"state": "2"}) == {"state": "3"}


@pytest.mark.parametrize("status", STATUSES)
def test_the_raw_status_of_a_new_write_means_that_status(status: str) -> None:
    assert meaning("status", written("status", status)) == status


@pytest.mark.parametrize("severity", SEVERITIES)
def test_the_raw_severity_of_a_new_write_is_what_servicenow_derives(severity: str) -> None:
    columns = put({"severity": severity}, {})
    assert written("severity", severity) == MATRIX[columns["impact"] + columns["urgency"]]
    assert meaning("severity", written("severity", severity)) == severity


@given(st.text())
def test_text_is_canonical_after_one_pass(text: str) -> None:
    once = canonical_text(text)
    assert canonical_text(once) == once
    assert "\r" not in once
    assert once == once.rstrip()


@given(st.text())
def test_a_title_is_one_trimmed_line_of_at_most_500_letters(text: str) -> None:
    once = canonical_title(text)
    assert canonical_title(once) == once
    assert "\n" not in once
    assert once == once.strip()
    assert len(once) <= TITLE_LETTERS_MAX


@given(st.text(min_size=TITLE_LETTERS_MAX - 3, max_size=TITLE_LETTERS_MAX + 40))
def test_a_long_title_is_canonical_after_one_pass(text: str) -> None:
    once = canonical_title(text)
    assert canonical_title(once) == once
    assert len(once) <= TITLE_LETTERS_MAX


@given(st.text(), st.text())
def test_text_obeys_both_laws(wanted: str, there: str) -> None:
    wanted = canonical_text(wanted)
    record = {"description": there, "short_description": there}
    for field, value in (("description", wanted), ("title", canonical_title(wanted) or "x")):
        assert get(record | put({field: value}, record))[field] == value
    shown = {field: value for field, value in get(record).items() if isinstance(value, str)}
    assert put(shown, record) == {}


@given(st.dictionaries(st.sampled_from(["state", "priority", "impact", "short_description", "x"]), st.text()))
def test_reading_never_fails_on_what_servicenow_sends(record: Columns) -> None:
    shown = get(record)
    assert put({"severity": "SEV-2", "status": "closed", "title": "t", "description": "d"}, record) is not None
    assert shown["severity"] in {*SEVERITIES, UNSET}
    assert shown["status"] in {*STATUSES, UNSET}


def test_only_line_ends_and_trailing_space_do_not_count_as_a_difference() -> None:
    record = {"description": "one\r\ntwo \r\n"}
    assert put({"description": "one\ntwo"}, record) == {}
    assert put({"description": "one\n two"}, record) == {"description": "one\n two"}


def test_an_empty_title_says_nothing_since_an_incident_must_have_one() -> None:
    assert get({"short_description": "  \r\n"})["title"] is UNSET


FLAT: Final = {
    "caller_id": "bob",
    "category": "network",
    "close_code": "Solution provided",
    "close_notes": "done",
    "hold_reason": "4",
}


@pytest.mark.parametrize(
    ("transition", "columns"),
    [
        ("create", {"caller_id": "bob", "category": "network"}),
        ("hold", {"hold_reason": "4"}),
        ("resolve", {"close_code": "Solution provided", "close_notes": "done"}),
        ("close", {"close_code": "Solution provided", "close_notes": "done"}),
        ("cancel", {"close_code": "Solution provided", "close_notes": "done"}),
    ],
)
def test_flat_defaults_go_with_the_transition_they_are_for(transition: str, columns: Columns) -> None:
    assert transition_defaults(FLAT, transition) == columns


def test_defaults_nested_by_transition_come_before_flat_ones() -> None:
    defaults = FLAT | {"cancel": {"close_code": "No resolution provided", "u_why": "x"}, "create": {"caller_id": "amy"}}
    assert transition_defaults(defaults, "cancel") == {
        "close_code": "No resolution provided",
        "close_notes": "done",
        "u_why": "x",
    }
    assert transition_defaults(defaults, "create") == {"caller_id": "amy", "category": "network"}
    assert transition_defaults(defaults, "resolve") == {"close_code": "Solution provided", "close_notes": "done"}


@pytest.mark.parametrize("status", ["resolved", "closed", "canceled"])
def test_the_incidents_own_words_come_before_the_records_and_those_before_the_defaults(status: str) -> None:
    record = {"close_code": "User error"}
    assert close_data(status, record, FLAT, "Known error", None) == {"close_code": "Known error", "close_notes": "done"}
    assert close_data(status, record, FLAT, None, "see wiki") == {"close_notes": "see wiki"}
    assert close_data(status, record, {}, None, None) == {}
    assert close_data(status, {}, FLAT, None, None) == {"close_code": "Solution provided", "close_notes": "done"}


def test_hold_takes_its_default_reason_and_no_close_data_and_open_takes_nothing() -> None:
    assert close_data("mitigated", {}, FLAT, "Known error", "see wiki") == {"hold_reason": "4"}
    assert close_data("mitigated", {"hold_reason": "1"}, FLAT, None, None) == {}
    assert close_data("open", {}, FLAT, "Known error", "see wiki") == {}
