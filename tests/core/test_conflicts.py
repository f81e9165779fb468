"""A conflict tells which rule decided or holds, in words, with what it rested on."""

import pytest
from msgspec.structs import replace

from syncd.core import conflicts
from syncd.core.events import IntegrationDeleted
from syncd.core.model import OwnershipRule, Strategy
from tests.core.picture import AT_S, INT, apply, picture

OWNED = OwnershipRule("platform", 3)


def rule(reason: str, strategy: Strategy = "manual-review", **times: float) -> str:
    state = picture()
    told = {"reason": reason, "strategy": strategy, "window": "5s", "ownership": OWNED}
    told |= {f"{name}_s": AT_S + at_s for name, at_s in times.items()}
    one = replace(state.conflicts["conflict-1"], **told)
    return conflicts.view(state, one).rule or ""


@pytest.mark.parametrize("reason", ["held-for-review", "owner"])
def test_it_says_when_nobody_can_tell_which_edit_was_later(reason: str) -> None:
    assert rule(reason, platform_at=0, external_from=-1, external_at=1).endswith(
        "; the stamps cannot tell which edit was later"
    )
    assert "the stamps" not in rule(reason, platform_at=2, external_from=-1, external_at=1)
    assert "the stamps" not in rule(reason, platform_at=-2, external_from=-1, external_at=1)


def test_a_record_of_before_that_knows_no_span_does_not_guess() -> None:
    assert "the stamps" not in rule("held-for-review", platform_at=0, external_from=-AT_S, external_at=1)


def test_the_later_edit_stands_outside_the_window_whatever_the_strategy() -> None:
    start = "window 5s, owner platform (priority 3): "
    assert rule("later-edit", "ownership-priority") == (
        f"ownership-priority, {start}the edits lie outside the window, so the later one stands"
    )
    assert rule("later-edit", "last-write-wins") == f"last-write-wins, {start}the later edit stands"


def test_it_names_its_integration_as_long_as_there_is_one() -> None:
    state = picture()
    one = state.conflicts["conflict-1"]
    assert conflicts.view(state, one).integration == "prod"
    apply(state, IntegrationDeleted(INT))
    assert conflicts.view(state, state.conflicts["conflict-1"]).integration == INT
