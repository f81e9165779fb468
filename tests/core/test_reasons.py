"""Every reason has words, and docs/sync.md shows them."""

from pathlib import Path
from typing import get_args

from syncd.core.merge import Reason
from syncd.core.reasons import RULES, STANDINGS, UNSYNCED, Settling, Standing, Unsynced, filled

PAGE = (Path(__file__).parents[2] / "docs" / "sync.md").read_text("utf-8")


def test_every_reason_has_words_and_nothing_else_has() -> None:
    assert set(RULES) == set(get_args(Reason)) | set(get_args(Settling))
    assert set(STANDINGS) == set(get_args(Standing))
    assert set(UNSYNCED) == set(get_args(Unsynced))


def test_the_page_shows_the_words_for_every_reason() -> None:
    for name, words in [*RULES.items(), *STANDINGS.items(), *UNSYNCED.items()]:
        assert f"| `{name}` | {words.says} | {filled(words.way_out, {}).replace('|', chr(92) + '|')} |" in PAGE


def test_a_name_that_is_not_at_hand_stays_a_word_in_capitals() -> None:
    assert filled("im conflict show {CONFLICT} of {INC}", {"INC": "INC-1"}) == "im conflict show CONFLICT of INC-1"
