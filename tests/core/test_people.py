"""Reading who is assigned, comparing two names of one person, and judging a look-up."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from syncd.core.lens import DEFAULT_LENS
from syncd.core.people import (
    NAME_LETTERS_MAX,
    Candidate,
    Person,
    canonical_person,
    chosen,
    columns_to_ask,
    fault_of_name,
    person_meant,
    raw_person,
)

meaning, put, raw_of = DEFAULT_LENS.meaning, DEFAULT_LENS.put, DEFAULT_LENS.raw_of
shows, unmapped, written = DEFAULT_LENS.shows, DEFAULT_LENS.unmapped, DEFAULT_LENS.written
BETH = {"assigned_to": "b1", "assigned_to.user_name": "beth.anglin", "assigned_to.email": "Beth@Example.com"}
ANNA = {"assigned_to": "a1", "assigned_to.user_name": "anna", "assigned_to.email": ""}
NOBODY = {"assigned_to": "", "assigned_to.user_name": "", "assigned_to.email": ""}
GONE = {"assigned_to": "c1", "assigned_to.user_name": "", "assigned_to.email": ""}


def raw(record: dict[str, str]) -> str:
    half = raw_of("assigned_to", record)
    assert isinstance(half, str)
    return half


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        (BETH, "Beth@Example.com"),
        (ANNA, "anna"),
        (NOBODY, ""),
        ({"assigned_to": ""}, ""),
        ({}, UNSET),
        ({"assigned_to": "b1"}, UNSET),
        ({"assigned_to": "b1", "assigned_to.user_name": "beth"}, "beth"),
        (GONE, UNSET),
        (ANNA | {"assigned_to.user_name": "two\nlines"}, UNSET),
        (ANNA | {"assigned_to.user_name": "x" * (NAME_LETTERS_MAX + 1)}, UNSET),
    ],
)
def test_a_record_names_a_person_by_email_address_then_user_name(record: dict[str, str], shown: object) -> None:
    assert meaning("assigned_to", raw_of("assigned_to", record)) == shown


def test_a_person_whose_row_is_gone_is_shown_to_a_person_and_one_who_is_hidden_is_not() -> None:
    assert unmapped("assigned_to", GONE) == " <> c1"
    assert unmapped("assigned_to", {"assigned_to": "c1"}) is None


@pytest.mark.parametrize("said", ["beth.anglin", "BETH.anglin", "Beth@Example.com", "beth@example.com"])
def test_of_two_ways_to_name_one_person_the_platforms_stays(said: str) -> None:
    assert meaning("assigned_to", raw(BETH), said) == said
    assert put({"assigned_to": said}, BETH) == {}


@pytest.mark.parametrize(
    "said", ["beth", "beth.anglin@example.com", "b1", "beth.anglin ", "Beth Anglin", "bėth.anglin"]
)
def test_what_only_resembles_a_name_is_somebody_else(said: str) -> None:
    assert meaning("assigned_to", raw(BETH), said) == "Beth@Example.com"
    assert put({"assigned_to": said}, BETH) == {"assigned_to": said}


def test_a_name_that_begins_another_is_no_cut_of_it() -> None:
    assert not shows("assigned_to", raw(ANNA), "annabel")
    assert shows("assigned_to", raw(ANNA), "anna")
    assert shows("title", "Mail is", "Mail is down")


def test_clearing_writes_an_empty_reference_and_only_where_somebody_is() -> None:
    assert put({"assigned_to": ""}, BETH) == {"assigned_to": ""}
    assert put({"assigned_to": ""}, NOBODY) == {}
    assert written("assigned_to", "") == raw(NOBODY)
    assert written("assigned_to", "anna") is UNSET


def test_both_laws_hold_for_every_pair_of_people() -> None:
    for before, after in product((BETH, ANNA, NOBODY), repeat=2):
        for said in ("Beth@Example.com", "beth.anglin") if after is BETH else ("anna",) if after is ANNA else ("",):
            columns = put({"assigned_to": said}, before)
            stored = after if columns else before  # the look-up finds the person that the name is of
            assert meaning("assigned_to", raw(stored), said) == said
            assert put({"assigned_to": said}, stored) == {}


@given(st.text(), st.text(), st.text(min_size=1), st.text())
def test_reading_never_fails_and_is_stable(user_name: str, email: str, sys_id: str, said: str) -> None:
    record = {"assigned_to": sys_id, "assigned_to.user_name": user_name, "assigned_to.email": email}
    half = raw_person(record)
    assert isinstance(half, str)
    once = person_meant(half, said)
    if isinstance(once, str) and once:
        assert person_meant(half, once) == once


@given(st.text())
def test_the_form_for_comparing_is_found_in_one_pass_and_folds_ascii_only(text: str) -> None:
    once = canonical_person(text)
    assert canonical_person(once) == once
    assert once == text or text.isascii()


@pytest.mark.parametrize(
    "text",
    ["a^active=false", "a@b^ORsys_idISNOTEMPTY", "two\nlines", "a\rb", "javascript:gs.getUserID()", "", "x" * 201],
)
def test_what_could_change_a_query_never_reaches_one(text: str) -> None:
    assert fault_of_name(text) is not None


def test_an_address_may_also_be_a_user_name_and_a_user_name_is_no_address() -> None:
    assert columns_to_ask("ann@example.com") == ("email", "user_name")
    assert columns_to_ask("ann") == ("user_name",)
    assert fault_of_name("o'brien+night@example.com") is None


ANN = Candidate("a1", "ann@example.com", is_active=True)


@pytest.mark.parametrize(
    ("found", "person"),
    [
        ([ANN], Person("a1")),
        ([Candidate("a1", "Ann@Example.com", is_active=True)], Person("a1")),
        ([], None),
        ([Candidate("a1", "ann@example.org", is_active=True)], None),
        ([Candidate("", "ann@example.com", is_active=True)], None),
        ([ANN, Candidate("a2", "anne@example.com", is_active=True)], Person("a1")),
        (
            [ANN, Candidate("a2", "ANN@example.com", is_active=True)],
            Person(problem="more than one person has the e-mail address 'ann@example.com'"),
        ),
        (
            [Candidate("a1", "ann@example.com", is_active=False)],
            Person(problem="the person with the e-mail address 'ann@example.com' is not active any more"),
        ),
    ],
)
def test_only_one_active_person_of_exactly_that_name_is_chosen(found: list[Candidate], person: Person | None) -> None:
    assert chosen("ann@example.com", "email", found) == person
