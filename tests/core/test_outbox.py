"""Which links are written, and in what order."""

import math
from typing import Final

from msgspec.structs import replace

from syncd.core.model import Incident, Link, OutboxEntry
from syncd.core.outbox import due_links, next_due_at_s
from syncd.core.queues import AGED_S, Outbox
from syncd.core.state import State

NOW_S: Final = 1000.0


def queue(*entries: tuple[str, str, float, float]) -> State:
    """A State with these entries: link, severity, waiting since, next try; both times before now."""
    state = State()
    blank = Incident("", "default", "t", "", "SEV-1", "open", 0.0, 0.0, "ann")
    for name, severity, waited_s, next_in_s in entries:
        state.incidents[name] = replace(blank, id=name, severity=severity)
        entry = OutboxEntry(NOW_S - waited_s, "t", next_at_s=NOW_S + next_in_s)
        state.links[name] = Link(name, "int_1", name, 0.0, outbox=entry)
        state.outbox.setdefault("int_1", Outbox()).put(name, severity, [entry], NOW_S)
    return state


def order(state: State, limit: int = 10, without: frozenset[str] = frozenset()) -> list[str]:
    return [link.id for link in due_links(state, "int_1", NOW_S, limit, without=without)]


def test_high_severity_goes_first_and_then_what_has_waited_longer() -> None:
    state = queue(("a", "SEV-3", 5, 0), ("b", "SEV-1", 1, 0), ("c", "SEV-1", 4, 0), ("d", "SEV-2", 9, 0))
    assert order(state) == ["c", "b", "d", "a"]


def test_what_has_waited_30_s_goes_by_age_before_any_severity() -> None:
    state = queue(("a", "SEV-4", AGED_S, 0), ("b", "SEV-1", 1, 0), ("c", "SEV-4", AGED_S + 5, 0))
    assert order(state) == ["c", "a", "b"]


def test_only_due_entries_go_at_most_so_many_and_none_that_is_being_written() -> None:
    state = queue(("a", "SEV-1", 1, 0), ("b", "SEV-1", 2, 0.1), ("c", "SEV-1", 3, -5), ("d", "SEV-1", 4, 0))
    assert order(state) == ["d", "c", "a"]
    assert order(state, limit=2) == ["d", "c"]
    assert order(state, without=frozenset({"d"})) == ["c", "a"]
    assert due_links(state, "int_2", NOW_S, 10, without=frozenset()) == []


def test_the_next_time_leaves_out_what_is_being_written_and_what_is_due_already() -> None:
    state = queue(("a", "SEV-1", 1, -5), ("b", "SEV-1", 2, 3), ("c", "SEV-1", 3, 7))
    assert next_due_at_s(state, "int_1", NOW_S, without=frozenset()) == NOW_S + 3
    assert next_due_at_s(state, "int_1", NOW_S, without=frozenset({"a", "b"})) == NOW_S + 7
    assert next_due_at_s(state, "int_2", NOW_S, without=frozenset()) == math.inf
