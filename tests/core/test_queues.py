"""A look at a queue says what a look at everything in it would say, however it came to be."""

import math
from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from syncd.core.model import SEVERITIES, NoteEntry, OutboxEntry
from syncd.core.queues import AGED_S, Line, Outbox

Waiting: TypeAlias = tuple[str, list[NoteEntry | OutboxEntry]]  # a severity, and what may go next

names = st.sampled_from([f"link-{number}" for number in range(12)])
steps_s = st.sampled_from((0.0, 0.0, 0.5, 3.0, AGED_S))
pauses_s = st.one_of(st.none(), st.sampled_from((0.0, 0.0, 1.0, 15.0, 60.0)))
puts = st.tuples(names, st.sampled_from(SEVERITIES), steps_s, pauses_s, pauses_s)
drops = st.tuples(names)


def naive_due(links: dict[str, Waiting], at_s: float, without: frozenset[str], limit: int) -> list[str]:
    """Look at all of them."""
    ranks = []
    for name, (severity, entries) in links.items():
        since_s = min((one.since_s for one in entries if one.next_at_s <= at_s), default=math.inf)
        aged = since_s <= at_s - AGED_S
        if since_s < math.inf and name not in without:
            ranks.append((not aged, "" if aged else severity, since_s, name))
    return [name for *_, name in sorted(ranks)[:limit]]


@given(
    st.lists(st.one_of(puts, drops), max_size=60),
    steps_s,
    st.frozensets(names, max_size=3),
    st.integers(0, 14),
)
def test_an_outbox_says_what_a_look_at_every_link_says(
    history: list[tuple[str, str, float, float | None, float | None] | tuple[str]],
    wait_s: float,
    without: frozenset[str],
    limit: int,
) -> None:
    outbox, links, now_s = Outbox(), dict[str, Waiting](), 1000.0
    for step in history:
        if len(step) == 1:
            outbox.drop(step[0])
            links.pop(step[0], None)
            continue
        name, severity, passes_s, note_s, write_s = step
        now_s += passes_s
        before = {type(one): one.since_s for one in links[name][1]} if name in links else {}
        entries: list[NoteEntry | OutboxEntry] = []
        if note_s is not None:
            entries.append(NoteEntry("note-1", before.get(NoteEntry, now_s), "t", next_at_s=now_s + note_s))
        if write_s is not None:
            entries.append(OutboxEntry(before.get(OutboxEntry, now_s), "t", next_at_s=now_s + write_s))
        links[name] = (severity, entries)
        outbox.put(name, severity, entries, now_s)
    now_s += wait_s
    assert set(outbox) == set(links)
    assert len(outbox) == len(links)
    assert outbox.due(now_s, without, limit) == naive_due(links, now_s, without, limit)
    waiting = [one for name, (_, entries) in links.items() if name not in without for one in entries]
    later = [one.next_at_s for one in waiting if one.next_at_s > now_s]
    assert outbox.next_at_s(now_s, without) == min(later, default=math.inf)


def test_what_was_due_once_goes_although_the_clock_was_set_back() -> None:
    outbox = Outbox()
    outbox.put("a", "SEV-1", [OutboxEntry(1000.0, "t", next_at_s=1000.0)], 1000.0)
    outbox.put("b", "SEV-1", [OutboxEntry(1000.0, "t", next_at_s=1015.0)], 1000.0)
    assert outbox.due(500.0, frozenset(), 10) == ["a"]
    assert outbox.next_at_s(500.0, frozenset()) == 1015.0


@given(st.lists(st.tuples(names, st.one_of(st.none(), st.integers(0, 5))), max_size=60))
def test_a_line_is_always_in_the_order_of_its_places(history: list[tuple[str, int | None]]) -> None:
    line, places = Line[str, tuple[int, str]](), dict[str, tuple[int, str]]()
    for name, number in history:
        if number is None:
            line.drop(name)
            places.pop(name, None)
        else:
            line.put(name, (number, name))
            places[name] = (number, name)
    assert line.order == sorted(places.values())
    assert line.places == places


class Counting(frozenset[str]):
    """Counts how often it is asked: once for each entry that a look has come to."""

    asked = 0

    def __contains__(self, name: object) -> bool:
        self.asked += 1
        return super().__contains__(name)


def test_a_look_comes_to_a_few_entries_however_many_wait() -> None:
    outbox = Outbox()
    for number in range(20_000):
        since_s = 1000.0 + number / 1000
        name = f"link-{number}"
        entry = OutboxEntry(since_s, "t", next_at_s=since_s + 15.0 * (number % 2))
        outbox.put(name, SEVERITIES[number % 4], [entry], since_s)
    active = Counting(outbox.due(1021.0, frozenset(), 5))
    due = outbox.due(1021.0, active, 20)
    assert len(set(due) - active) == 20
    outbox.next_at_s(1021.0, active)
    assert active.asked <= 20 + len(active) + 1
