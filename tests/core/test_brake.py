"""The brake: how many links a run may close, clear or park without being asked."""

import pytest

from syncd.core.brake import Weight, limit, verdict


@pytest.mark.parametrize(("links", "most"), [(0, 10), (1, 10), (50, 10), (54, 10), (55, 11), (100, 20), (10_000, 2000)])
def test_ten_links_or_a_fifth_of_them_whichever_is_more(links: int, most: int) -> None:
    assert limit(links) == most


@pytest.mark.parametrize("weight", ["clears", "closes", "parks", "hides", "unseen"])
def test_one_more_than_that_stops_the_run_whatever_is_done_to_them(weight: Weight) -> None:
    weights: dict[str, Weight] = {f"link-{number}": weight for number in range(20)}
    assert verdict(weights, 100) == ""
    reason = verdict(weights | {"one-more": weight}, 100)
    assert "21 of 100 links" in reason
    assert reason.endswith("it may do that to 20")


def test_different_things_add_up_and_harmless_ones_do_not_count() -> None:
    weights: dict[str, Weight] = {f"a-{number}": "closes" for number in range(6)}
    weights |= {f"b-{number}": "parks" for number in range(5)}
    weights |= {f"c-{number}": "" for number in range(500)}
    assert "close 6 and park, as its record is not shown any more, 5 of 20 links" in verdict(weights, 20)
