"""Which changes count as announced, and from when on a change counts as not."""

import pytest

from syncd.core.coverage import FAIR_S, WINDOW_S, Announcements, Coverage, troubles
from syncd.core.events import Hinted
from syncd.core.polling import Polling


def all_linked(_: str) -> bool:
    return True


def figures(one: Announcements, at_s: float) -> tuple[int, int]:
    told = one.coverage(at_s, all_linked)
    return told.announced, told.unannounced


@pytest.mark.parametrize("told_at_s", [99.0, 101.0, 100.0 + FAIR_S - 1])
@pytest.mark.parametrize("count", [7, 8, None])
def test_a_change_that_a_webhook_names_before_or_soon_after_it_is_found_is_announced(
    told_at_s: float, count: int | None
) -> None:
    one = Announcements(0.0)
    moments = sorted([(100.0, "found"), (told_at_s, "told")])
    for at_s, what in moments:
        if what == "found":
            one.found(at_s, "r1", 7)
        else:
            one.told(at_s, "r1", count)
    assert figures(one, 100.0 + FAIR_S) == (1, 0)


def test_nothing_counts_as_unannounced_before_a_fair_while_is_over() -> None:
    one = Announcements(0.0)
    one.found(100.0, "r1", 7)
    assert figures(one, 100.0 + FAIR_S - 1) == (0, 0)
    assert figures(one, 100.0 + FAIR_S) == (0, 1)


def test_a_webhook_of_an_older_count_or_another_record_or_long_ago_announces_nothing() -> None:
    one = Announcements(0.0)
    one.told(10.0, "r1", 6)
    one.told(10.0, "r2", 9)
    one.told(10.0, "r3", None)
    one.found(100.0, "r1", 7)
    one.found(100.0, "r3", 7)
    assert figures(one, 200.0) == (3, 2)


def test_a_change_is_counted_once_however_often_it_is_told_or_found() -> None:
    one = Announcements(0.0)
    for at_s in (10.0, 11.0, 12.0):
        one.told(at_s, "r1", 6)
        one.found(at_s, "r2", 3)
        one.found(at_s, "r2", 2)
    assert figures(one, 200.0) == (1, 1)


def test_figures_are_of_the_last_hour_or_since_somebody_listens() -> None:
    one = Announcements(50.0)
    one.told(100.0, "r1", 1)
    one.found(100.0, "r2", 1)
    assert one.coverage(200.0, all_linked) == Coverage(1, 1, 50.0, 100.0)
    later = one.coverage(100.0 + WINDOW_S + 1, all_linked)
    assert (later.announced, later.unannounced, later.since_s) == (0, 0, 101.0)


def test_records_that_are_not_linked_are_of_no_concern() -> None:
    one = Announcements(0.0)
    one.told(10.0, "r1", 1)
    one.found(10.0, "r2", 1)
    assert one.coverage(100.0, lambda name: False).share is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"sys_id": "r1", "sys_mod_count": 7}', (1, 0)),
        ('{"sys_id": "r1", "sys_mod_count": "7", "updated_by": "beth"}', (1, 0)),
        ('{"sys_id": "r1"}', (1, 0)),
        ('{"sys_id": "r1", "sys_mod_count": {}}', (1, 0)),
        ('{"sys_id": "r1", "sys_mod_count": 7, "updated_by": "svc.sync"}', (0, 1)),
        ("", (0, 1)),
    ],
)
def test_our_own_writes_and_our_own_hints_announce_nothing(body: str, expected: tuple[int, int]) -> None:
    one = Announcements(0.0)
    one.found(100.0, "r1", 7)
    one.hear(101.0, Hinted("int_1", "r1", None, body=body), "svc.sync")
    assert figures(one, 200.0) == expected


@pytest.mark.parametrize(
    ("coverage", "is_polled", "told"),
    [
        (Coverage(97, 3, 1.0), False, False),
        (Coverage(80, 20, 1.0), False, True),
        (Coverage(80, 20, 1.0, last_at_s=60.0), True, True),
        (Coverage(80, 20, 1.0, last_at_s=40.0), True, False),  # of the time before it was polled
        (Coverage(1, 2, 1.0), False, False),
        (Coverage(0, 20, 1.0), False, True),
        (Coverage(0, 20, 1.0), True, False),
        (Coverage(), False, False),
    ],
)
def test_it_is_worth_telling_when_many_are_missed_unless_polls_stand_in_for_webhooks(
    coverage: Coverage, is_polled: bool, told: bool
) -> None:
    polls = Polling(2.0, 2.0, "", since_s=50.0) if is_polled else None
    assert bool(list(troubles(coverage, "prod", polls))) is told
