"""The indices follow from the rest, whatever a snapshot says of them."""

import pytest

from syncd.core.capture import capture
from syncd.core.indices import DERIVED, derive
from tests.core.promises import check_work_lists
from tests.core.test_capture import all_of, lived, restored


def test_what_a_snapshot_does_not_have_of_them_or_has_wrongly_is_made_anew() -> None:
    """As an earlier version wrote it, which did not know an index yet, or kept another one."""
    state = lived(3).state
    before = all_of(state)
    for name in DERIVED:
        getattr(state, name).clear()
    state.links_of["INC-404"] = ("nobody",)
    state.link_of_record["int_1", "r404"] = "nobody"
    again = restored(capture(state))
    assert all_of(again) == before
    check_work_lists(again)


@pytest.mark.parametrize("seed", range(20))
def test_the_fold_keeps_them_as_they_would_be_made(seed: int) -> None:
    state = lived(seed, acts=60).state
    before = all_of(state)
    derive(state)
    assert all_of(state) == before
