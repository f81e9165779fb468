import json
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.edges.cli.client import Json
from syncd.edges.cli.render import (
    COLUMNS_MAX,
    age,
    cells,
    clip,
    facts,
    plain,
    pretty_json,
    safe,
    table,
    tree,
    when,
    wrap,
)
from tests.edges.cli.conftest import NOW_S

HOSTILE = "\x1b]0;owned\x07\x9b2J\u202egnp.exe\u2066\r\n\t\u200b\ufeff\U000e0041"
unlike = st.text(st.characters(), max_size=60)  # every character, surrogates too


@given(unlike)
def test_safe_text_has_no_character_that_a_terminal_obeys(text: str) -> None:
    shown = safe(text)
    assert shown == safe(shown)
    assert not any(ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 for letter in shown)
    assert not any(letter in shown for letter in "\u061c\u200e\u200f\u202a\u202e\u2066\u2069\u2028\ufeff")


def test_hostile_letters_are_shown_as_escapes() -> None:
    assert safe(HOSTILE) == "\\x1b]0;owned\\x07\\x9b2J\\u202egnp.exe\\u2066\\r\\n\\t\\u200b\\ufeff\\U000e0041"


def test_letters_of_all_scripts_and_joined_emoji_stay() -> None:
    for text in ("Zürich überlastet", "データベース", "نظام متوقف", "👩\u200d🚒 läuft", "می\u200cخواهم"):
        assert safe(text) == text


@given(st.lists(st.tuples(unlike, unlike, unlike), min_size=1, max_size=4), st.booleans())
def test_a_table_fits_whatever_is_in_it(rows: list[tuple[str, str, str]], wraps: bool) -> None:
    wide = [[text * 5 for text in row] for row in rows]
    lines = table(["ID", "WIDE WIDE WIDE", "TITLE"], wide, wraps=wraps).split("\n")
    assert all(cells(line) <= COLUMNS_MAX for line in lines)
    assert len(lines) == len(rows) + 1 or (wraps and len(lines) > len(rows))


def test_the_last_column_gives_way_before_an_id() -> None:
    shown = table(["ID", "TITLE"], [["INC-4Q7ZK2M9XD", "word " * 50]])
    head, row = shown.split("\n")
    assert head == "ID              TITLE"
    assert row.startswith("INC-4Q7ZK2M9XD  word word")
    assert row.endswith("…")
    assert cells(row) <= 100


def test_columns_line_up_under_wide_letters() -> None:
    _, first, second = table(["A", "B"], [["データ", "x"], ["abcdef", "y"]]).split("\n")
    assert (first, second) == ("データ  x", "abcdef  y")


def test_nothing_is_a_dash() -> None:
    assert table(["A", "B"], [[None, ""]]) == "A  B\n-  -"


@given(unlike.map(safe), st.integers(2, 40))
def test_wrapping_loses_only_blanks(text: str, width: int) -> None:
    lines = wrap(text, width)
    assert all(cells(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert cells(clip(text, width)) <= width


@given(st.lists(st.tuples(unlike, unlike | st.none()), max_size=5))
def test_facts_fit_too(pairs: list[tuple[str, str | None]]) -> None:
    assert all(cells(line) <= COLUMNS_MAX for line in facts([(k * 3, v and v * 9) for k, v in pairs]).split("\n"))


def test_facts_keep_the_lines_of_a_description() -> None:
    assert facts([("id", "1"), ("text", "a\r\nb\x1b")]) == "id    1\ntext  a\n      b\\x1b"


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        ("2026-11-24T09:14:03Z", "2026-11-24 09:14:03Z (3 s ago)"),
        ("2026-11-24T10:14:03.123456+01:00", "2026-11-24 09:14:03Z (3 s ago)"),
        ("2026-11-24T09:14:06.400000Z", "2026-11-24 09:14:06Z (now)"),
        ("2026-11-24T09:00:00Z", "2026-11-24 09:00:00Z (14 min ago)"),
        ("2026-11-23T09:00:00Z", "2026-11-23 09:00:00Z (24 h ago)"),
        ("2026-11-01T09:00:00Z", "2026-11-01 09:00:00Z (23 d ago)"),
        ("2026-11-24T10:14:08Z", "2026-11-24 10:14:08Z (in 1 h)"),
        ("2026-11-24T09:14:03", "2026-11-24T09:14:03"),  # no offset: not ours to guess
        ("yesterday", "yesterday"),
        ("9999-99-99T99:99:99Z", "9999-99-99T99:99:99Z"),
        (None, None),
    ],
)
def test_times_are_said_with_their_age(at: str | None, shown: str | None) -> None:
    assert when(at, NOW_S) == shown


def test_a_plain_value_is_what_a_person_would_write() -> None:
    values: list[Json] = [None, "", [], {}, False, 0, 1.5, ["a"], [1], {"a": 1}]
    assert [plain(value, NOW_S) for value in values] == [
        None,
        None,
        None,
        None,
        "no",
        "0",
        "1.5",
        "a",
        "[1]",
        '{"a":1}',
    ]


def test_a_narrow_column_gets_the_age_alone() -> None:
    assert age("2026-11-24T09:14:03Z", NOW_S) == "3 s ago"
    assert age("soon", NOW_S) == "soon"


def test_any_json_becomes_facts() -> None:
    value: Json = {
        "state": "down",
        "reasons": ["a", "b"],
        "queue": {"outbox": 3, "oldest_age_s": 2.5, "at": "2026-11-24T09:14:03Z"},
        "none": None,
        "list": [{"a": 1}, {"a": True}],
        "empty": {},
    }
    assert list(tree(value, NOW_S)) == [
        ("state", "down"),
        ("reasons", "a, b"),
        ("queue.outbox", "3"),
        ("queue.oldest_age_s", "2.5"),
        ("queue.at", "2026-11-24 09:14:03Z (3 s ago)"),
        ("none", None),
        ("list[0].a", "1"),
        ("list[1].a", "yes"),
        ("empty", None),
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(json_values)
def test_pretty_json_means_the_same_and_is_harmless(value: object) -> None:
    text = pretty_json(json.dumps(value, ensure_ascii=False).encode())
    assert json.loads(text) == value
    assert safe(text.replace("\n", "")) == text.replace("\n", "")


def test_pretty_json_keeps_numbers_as_they_are() -> None:
    text = pretty_json(b'{"a":1.10,"b":12345678901234567890123,"c":"\xc3\xbc\xe2\x80\xae\xf3\xa0\x81\x81"}')
    assert '"a": 1.10' in text
    assert '"b": 12345678901234567890123' in text
    assert '"c": "ü\\u202e\\udb40\\udc41"' in text
    assert cast("dict[str, str]", json.loads(text))["c"] == "ü\u202e\U000e0041"
