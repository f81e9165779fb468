"""The worlds find bugs: each of these, planted in the daemon, is found within a few seeds."""

from collections.abc import Callable

import pytest
import trio
from msgspec.structs import replace

from syncd.actors import breaker, reading, sender
from syncd.core import beside, deciding, hints, links, sending
from syncd.core.events import SendStarted
from syncd.core.model import FieldBase, Link
from syncd.journal.writer import Journal
from tests.simulation.plan import draw
from tests.simulation.soak import failure
from tests.simulation.troubles import TROUBLES

SEEDS_MAX = 20

Plant = Callable[[pytest.MonkeyPatch], None]


def acknowledges_before_it_is_durable(patch: pytest.MonkeyPatch) -> None:
    async def settled(_: Journal) -> None:
        await trio.lowlevel.checkpoint()

    patch.setattr(Journal, "settled", settled)


def repeats_creates_without_looking(patch: pytest.MonkeyPatch) -> None:
    for module in (sending, beside):
        patch.setattr(module, "looks_up", lambda _: False)


def moves_the_base_when_it_sends(patch: pytest.MonkeyPatch) -> None:
    after_started = links.after_started

    def planted(link: Link, event: SendStarted) -> Link:
        link = after_started(link, event)
        sent = event.attempt.sent.items()
        moved = {name: replace(link.base.get(name, FieldBase()), platform=value) for name, value in sent}
        return replace(link, base=link.base | moved)

    patch.setattr(links, "after_started", planted)


def forgets_who_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(deciding, "_conflict", lambda *_: None)


def believes_older_pictures(patch: pytest.MonkeyPatch) -> None:
    for module in (sending, hints):
        patch.setattr(module, "is_stale", lambda *_: False)


def writes_on_old_reads(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sender, "FRESH_S", 1e9)


def does_not_wait_when_told_to(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(breaker.Breaker, "_close_for", lambda *_: None)


def never_pauses_on_refused_credentials(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(breaker, "REFUSALS_UNTIL_PAUSED", 1_000_000)


def does_not_look_for_new_records_at_start(patch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> int:
        await trio.lowlevel.checkpoint()
        return 0

    patch.setattr(reading.Reader, "_look_for_new", nothing)


PLANTED: tuple[tuple[Plant, str], ...] = (  # and the trouble, if any, in which it shows
    (acknowledges_before_it_is_durable, ""),
    (repeats_creates_without_looking, "create_commits_then_reset"),
    (moves_the_base_when_it_sends, ""),
    (forgets_who_lost, ""),
    (believes_older_pictures, "stale_read"),
    (writes_on_old_reads, "slow"),
    (does_not_wait_when_told_to, "unauthorized_401"),
    (never_pauses_on_refused_credentials, "unauthorized_401"),
    (does_not_look_for_new_records_at_start, ""),
)


@pytest.mark.parametrize(("plant", "trouble"), PLANTED)
def test_a_planted_bug_is_found(plant: Plant, trouble: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    names = [one.name for one in TROUBLES]
    seeds = range(names.index(trouble), 1000, len(names)) if trouble else range(1000)
    found = (failure(draw("days", seed)) for seed in seeds[:SEEDS_MAX])
    assert any("AssertionError" in error for error in found), f"a daemon that {plant.__name__} lived through all of it"
