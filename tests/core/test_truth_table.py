"""docs/sync.md says what the code decides: its truth table is made from ``decide`` and compared here."""

from typing import get_args

import pytest

from syncd.core import conflicts, mapping
from syncd.core.merge import Reason
from tests.core import truth_table


def test_the_page_has_the_table_of_today() -> None:
    page = truth_table.PAGE.read_text(encoding="utf-8")
    assert truth_table.with_table(page) == page, "run: make docs"


def test_joined_rows_say_exactly_what_each_combination_says() -> None:
    cases, told = truth_table.cases(), 0
    for row, outcome in truth_table.rows():
        for case, decided in cases.items():
            if all(word in have for word, have in zip(case, row, strict=True)):
                told += 1
                assert decided == outcome, case
    assert told == len(cases)


def test_the_page_names_every_reason_and_a_conflict_says_each_in_words() -> None:
    page = truth_table.PAGE.read_text(encoding="utf-8")
    for reason in get_args(Reason):
        assert f"`{reason}`" in page
    assert set(conflicts.RULES) == set(get_args(Reason)) - {"unreadable", "read-again"}  # which make no conflict


def test_the_page_s_default_owners_are_those_of_the_code() -> None:
    page = truth_table.PAGE.read_text(encoding="utf-8")
    _, _, rest = page.partition("## Who owns a field")
    rows = [line.split("|") for line in rest.partition("\n## ")[0].splitlines() if line.startswith("| `")]
    assert {row[1].strip(" `"): row[2].strip() for row in rows} == mapping.DEFAULT_OWNER


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="truth table"):
        truth_table.with_table("# a page")
