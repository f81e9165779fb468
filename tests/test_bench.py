"""The bench stands on sound things: its verdicts, its peer, its past. Nothing is timed here; `make bench` does."""

import json
from pathlib import Path

import pytest
import trio

from syncd.journal.writer import Journal
from syncd.seams import SystemClock, SystemDisk, ThreadWork
from tests.bench.history import INTEGRATION, busy_past
from tests.bench.peer import Table
from tests.bench.results import HEAD, Form, Row, percentile, rendered


@pytest.mark.parametrize(
    ("ratios", "goal", "is_at_least", "verdict"),
    [
        ([1.3, 1.2, 9.0], 1.25, True, "met"),
        ([1.1, 1.2, 9.0], 1.25, True, "missed"),
        ([1.1, 1.2, 9.0], 1.25, False, "met"),
        ([1.3, 1.2, 9.0], 1.25, False, "missed"),
        ([1.0], None, True, "-"),
    ],
)
def test_the_median_is_judged(ratios: list[float], goal: float | None, is_at_least: bool, verdict: str) -> None:
    row = Row(name="a", measured="1", baseline="2", ratios=ratios, goal=goal, is_at_least=is_at_least)
    assert row.verdict == verdict
    forms: tuple[Form, ...] = ("table", "markdown")
    for form in forms:
        shown = rendered([row], form)
        assert all(word in shown for word in HEAD)
        assert verdict in shown


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 51.0, 100.0, 100.0]


def test_the_peer_shows_what_was_written_and_counts_it() -> None:
    table = Table()
    made = table.answer("POST", "/api/now/v2/table/incident", b'{"short_description":"a","impact":"1"}', 1.0)
    sys_id = json.loads(json.dumps(made))["result"]["sys_id"]
    table.answer("PATCH", f"/api/now/v2/table/incident/{sys_id}?x=1", b'{"short_description":"b"}', 2.0)
    read = table.answer("GET", f"/api/now/v2/table/incident?sysparm_query=sys_idIN{sys_id},{'f' * 32}", b"", 3.0)
    rows = json.loads(json.dumps(read))["result"]
    assert [(row["short_description"], row["sys_mod_count"]) for row in rows] == [
        ("b", "3"),
        ("Checkout latency fffffff", "1"),
    ]
    assert rows[0]["priority"] == "2"
    taken = json.loads(json.dumps(table.answer("POST", "/bench/take", b"", 4.0)))
    assert taken["methods"] == {"POST": 1, "PATCH": 1, "GET": 1}
    assert taken["writes"] == [[2.0, sys_id, "b"]]
    assert table.methods == {}


def test_the_past_is_one_that_a_daemon_would_start_on(tmp_path: Path) -> None:
    past = busy_past(2)
    past.write(tmp_path / "state")

    async def replayed() -> Journal:
        return await Journal.open(SystemDisk(), tmp_path / "state", SystemClock(), ThreadWork())

    state = trio.run(replayed).state
    assert state.position == len(past.payloads)
    assert [link.state for link in state.links.values()] == ["active", "active"]
    assert [incident.title for incident in state.incidents.values()] == [
        f"Checkout latency, told 1 of {number}" for number in range(2)
    ]
    assert not state.outbox.get(INTEGRATION)
    assert not state.hints.get(INTEGRATION)
    assert not state.dirty.get(INTEGRATION)
