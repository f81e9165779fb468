"""Which group may go along with an assignee, and what the groups say about a refusal."""

import pytest

from syncd.core.groups import NAMES_SHOWN, Group, along, in_words, is_about_the_person, is_cleared, reroute
from syncd.core.model import Attempt, Failure, Reroute

NETWORK, SOFTWARE = Group("g1", "Network"), Group("g2", "Software")
REFUSED = Failure("refused", "Operation Failed", 403, "aborted by Business Rule 'Members only'")


def attempt(fields: tuple[str, ...] = ("assigned_to",), **columns: str) -> Attempt:
    sent = dict.fromkeys(fields, "beth")
    return Attempt(1, "update", sent, {"assigned_to": "b1", **columns}, 0.0)


def test_the_only_group_of_a_refused_assignee_goes_along() -> None:
    assert reroute(attempt(), {"assignment_group": "g2"}, [NETWORK]) == Reroute("b1", "g1", "Network", "g2")
    assert reroute(attempt(), {"assignment_group": ""}, [NETWORK]) == Reroute("b1", "g1", "Network")


@pytest.mark.parametrize(
    ("columns", "record", "groups"),
    [
        ({}, {"assignment_group": "g2"}, None),
        ({}, {"assignment_group": "g2"}, []),
        ({}, {"assignment_group": "g3"}, [NETWORK, SOFTWARE]),
        ({}, {"assignment_group": "g1"}, [NETWORK]),
        ({}, {}, [NETWORK]),
        ({"assignment_group": "g1"}, {"assignment_group": "g2"}, [NETWORK]),
    ],
    ids=["not known", "none", "two", "in it already", "hidden", "tried already"],
)
def test_no_group_goes_along_where_there_is_any_doubt(
    columns: dict[str, str], record: dict[str, str], groups: list[Group] | None
) -> None:
    assert reroute(attempt(("assigned_to",), **columns), record, groups) is None


def test_a_group_goes_along_with_the_person_it_was_found_for_and_with_nobody_else() -> None:
    wanted = Reroute("b1", "g1", "Network")
    assert along(wanted, "b1") == {"assignment_group": "g1"}
    assert along(wanted, "d1") == {}
    assert along(None, "b1") == {}


def test_a_refusal_is_about_the_person_if_nothing_else_was_sent_and_our_rights_are_not_its_cause() -> None:
    assert is_about_the_person(attempt(), REFUSED)
    assert not is_about_the_person(attempt(("assigned_to", "title")), REFUSED)
    assert not is_about_the_person(Attempt(1, "update", {"assigned_to": ""}, {"assigned_to": ""}, 0.0), REFUSED)
    assert not is_about_the_person(attempt(), Failure("refused", "", 403, "ACL Exception Update Failed"))


def test_an_assignee_is_cleared_if_the_record_shows_nobody_and_one_was_sent() -> None:
    assert is_cleared(attempt(), {"assigned_to": ""})
    assert not is_cleared(attempt(), {"assigned_to": "d1"})
    assert not is_cleared(attempt(), {})
    assert not is_cleared(Attempt(1, "update", {"assigned_to": ""}, {"assigned_to": ""}, 0.0), {"assigned_to": ""})


def test_the_words_name_the_groups_as_far_as_they_are_known() -> None:
    outside = {"assignment_group": "g3"}
    both = "'beth' is not in the record's assignment group; 'beth' is in 'Network', 'Software'"
    assert in_words([NETWORK, SOFTWARE], outside, "beth") == both
    assert in_words([NETWORK], {"assignment_group": ""}, "beth").startswith("the record has no assignment group;")
    assert in_words([], outside, "beth").endswith("'beth' is in no group at all")
    many = [Group(f"n{number}", f"N{number}") for number in range(NAMES_SHOWN + 1)]
    assert in_words(many, outside, "beth").endswith("'N9' and others")
    assert in_words(None, outside, "beth") == in_words([NETWORK], {"assignment_group": "g1"}, "beth") == ""
    assert in_words([NETWORK], {}, "beth") == ""
