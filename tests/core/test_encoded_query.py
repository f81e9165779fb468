"""A row that certainly does not match a query is found, and one that may match is not accused."""

import pytest

from syncd.core.encoded_query import parse, unchecked_fault

ROW = {
    "active": "true",
    "priority": "3",
    "state": "2",
    "short_description": "Café is down",
    "opened_at": "2026-11-20 10:00:00",
    "category": "",
    "assignment_group.name": "Network",
}


@pytest.mark.parametrize(
    "query",
    [
        "active=true",
        "active=1",
        "priority=3^state=2",
        "priority=1^ORpriority=3",
        "priority=1^ORpriority=2^NQstate=2",
        "priority<4^priority>=3",
        "priorityIN1,3",
        "priorityNOT IN1,2",
        "priority!=1",
        "priorityBETWEEN1@3",
        "short_descriptionLIKEcafe",
        "short_descriptionSTARTSWITHCAFÉ",
        "short_descriptionENDSWITHdown",
        "short_description=cafe is down",
        "short_descriptionNOT LIKEprinter",
        "categoryISEMPTY^stateISNOTEMPTY",
        "category=",
        "category!=network",
        "categoryNOT LIKEnetwork",
        "opened_at>2026-11-01 00:00:00",
        "opened_at>2026-11-20",
        "opened_at<=2026-11-20",
        "opened_at<2026-11-20 02:00:00",
        "opened_at=2026-11-20 02:00:00",
        "assignment_group.name=network",
        "stateANYTHING",
        "opened_atRELATIVEGT@day@ago@1",
        "u_unknown=7",
        "category=NULL",
        "short_description!=NULL",
        "short_descriptionLIKEc%down",
        "short_descriptionSTARTSWITHc%is",
        "short_descriptionLIKEa^^b^ORactive=true",
    ],
)
def test_a_row_that_may_match_is_not_accused(query: str) -> None:
    assert parse(query).contradiction(ROW) == ""


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("active=false", "active=false"),
        ("priority=1^state=2", "priority=1"),
        ("state=2^priority=1^ORpriority=2", "priority=1 or priority=2"),
        ("priority=1^NQstate=6", "priority=1, state=6"),
        ("priority>3", "priority>3"),
        ("priorityIN1,2", "priorityIN1,2"),
        ("priorityNOT IN3", "priorityNOT IN3"),
        ("priority!=3", "priority!=3"),
        ("priorityBETWEEN4@5", "priorityBETWEEN4@5"),
        ("short_descriptionLIKEprinter", "short_descriptionLIKEprinter"),
        ("short_descriptionNOT LIKEcafe", "short_descriptionNOT LIKEcafe"),
        ("categoryISNOTEMPTY", "categoryISNOTEMPTY"),
        ("category>3", "category>3"),
        ("stateISEMPTY", "stateISEMPTY"),
        ("opened_at>2026-11-23 00:00:00", "opened_at>2026-11-23 00:00:00"),
        ("opened_at<2026-11-01", "opened_at<2026-11-01"),
        ("opened_at=2026-10-01 00:00:00", "opened_at=2026-10-01 00:00:00"),
    ],
)
def test_a_row_that_does_not_match_is_found_with_the_condition_it_misses(query: str, words: str) -> None:
    assert parse(query).contradiction(ROW) == words


def test_the_columns_of_a_query_are_known_each_once() -> None:
    assert parse("a=1^ORa=2^b.cISEMPTY^NQdRELATIVEGT@x").columns == ("a", "b.c", "d")


@pytest.mark.parametrize("query", ["opened_atRELATIVEGT@day@ago@1", "opened_atONToday", "!x=3", "Active=true", ""])
def test_what_cannot_be_checked_is_named_with_the_way_out(query: str) -> None:
    fault = unchecked_fault(query)
    assert fault is not None
    assert "write" in fault
    assert unchecked_fault("active=true^ORstateIN1,2") is None
