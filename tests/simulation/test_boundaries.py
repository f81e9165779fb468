"""Killed around every record of a delivery, and around every effect in ServiceNow: one effect, and nothing lost.

Not drawn but enumerated: one scripted history, in which every kind of record is written that matters, cut at each of
its moments in turn (``plan.Cut`` says which moments there are).
"""

from collections import Counter
from functools import cache
from typing import Final

import pytest
from msgspec.structs import replace

from tests.simulation.plan import Cut, Deed, Plan, Spell
from tests.simulation.stories import run

HISTORY: Final = Plan(
    "script",
    1,
    settings={},
    switches={"webhook_timestamp": "on"},
    deeds=(
        Deed(1.0, "declare", value="declared here", second="SEV-3"),
        Deed(3.0, "create", value="created there"),
        Deed(5.0, "platform", 0, "title", "edited here"),
        Deed(7.0, "external", 1, "description", "edited there"),
        Deed(9.0, "both", 0, "description", "at the same time there", "at the same time here"),
        Deed(12.0, "resolve", 1, "status", "Workaround provided"),
        Deed(15.0, "platform", 1, "title", "forbidden"),
        Deed(18.0, "platform", 1, "title", "allowed"),
        Deed(22.0, "platform", 0, "severity", "SEV-1"),
        Deed(25.0, "crossing", 0, "title", "crossing there", "crossing here"),
    ),
    spells=(Spell("abort_rule", 14.0, 17.0), Spell("patch_commits_then_reset", 21.5, 22.5)),
    lasts_s=30.0,
)
ON_DISK: Final = (
    *("SendStarted", "SendSettled", "SendFailed", "Observed", "Merged", "LinkOpened", "LinkJoined", "DeadLettered"),
    *("IncidentDeclared", "IncidentEdited", "Hinted", "HintsSettled"),
)
ON_THE_WAY: Final = ("left", "committed")
HALF_WRITTEN: Final = 2  # seeds: what is left of a record that was not synced is a matter of chance
ENOUGH: Final = 5


@cache
def moments() -> Counter[str]:
    """How often each moment comes in the history, uncut."""
    met = Counter[str]()
    run(HISTORY, met)
    return met


def cut(phase: str, event: str, nth: int, seed: int) -> bool:
    """Live through the history with one cut; whether its moment came."""
    met = Counter[str]()
    run(replace(HISTORY, seed=seed, cuts=(Cut(0.0, phase, event, nth),)), met)
    return met[f"cut {phase}"] == 1


@pytest.mark.parametrize("event", ON_DISK)
@pytest.mark.parametrize("phase", ["written", "synced"])
def test_killed_before_or_after_a_record_is_durable(phase: str, event: str) -> None:
    times = moments()[f"{event} in time"]
    assert times >= 1, f"no {event} in this history"
    for nth in range(1, times + 1):
        assert cut(phase, event, nth, HISTORY.seed), f"the power was not cut at {event} {nth}"
        for seed in range(2, HALF_WRITTEN + 1 if phase == "written" else 2):
            cut(phase, event, nth, seed)


@pytest.mark.parametrize("phase", ON_THE_WAY)
def test_killed_before_a_request_arrives_or_after_it_took_effect(phase: str) -> None:
    times = moments()["our write"]
    assert times >= ENOUGH
    for nth in range(1, times + 1):
        assert cut(phase, "", nth, HISTORY.seed), f"the power was not cut at request {nth}"
