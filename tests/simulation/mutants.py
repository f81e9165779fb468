"""Bugs to be planted in the daemon, one at a time, and how many seeds it takes to find each: ``make mutants``.

A quiet simulator is evidence only if it is not quiet about these. Each is a change of how the daemon behaves, made in
the process; the names say what it does wrong. Bounded in seeds and time; ends with 1 if one was not found.
"""

import argparse
import itertools
import logging
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import pytest
import trio
from msgspec import UNSET, Struct
from msgspec.structs import replace

from syncd.actors import breaker, reading, sender
from syncd.core import beside, deciding, hints, links, looks, outbox, sending, untold, worknotes
from syncd.core.events import AnswerKept, Event, Merged, Record, SendStarted
from syncd.core.merge import Decision, Policy, halves_after
from syncd.core.model import FieldBase, Halves, Link, NoteEntry
from syncd.journal import writer
from syncd.journal.codec import encode_record
from syncd.journal.writer import Journal
from syncd.systems import accounts, logins
from tests.simulation.kinds import draw
from tests.simulation.soak import failure
from tests.simulation.troubles import TROUBLES

Plant = Callable[[pytest.MonkeyPatch], None]

SEEDS_MAX: Final = 2000
NEVER: Final = 1e9


class Mutant(Struct, frozen=True):
    """A planted bug. ``kind``: the worlds in which it can show; ``trouble``: the one, if any, that brings it out.

    ``is_shy``: it takes more seeds than the default run has for it.
    """

    plant: Plant
    kind: str = "days"
    trouble: str = ""
    is_shy: bool = False

    @property
    def name(self) -> str:
        """What it does wrong."""
        return self.plant.__name__


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


def takes_its_own_late_writes_for_edits(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(deciding, "late_write", lambda *_: None)


def takes_a_hidden_field_for_an_empty_one(patch: pytest.MonkeyPatch) -> None:
    observation = hints.Read

    class Planted(observation):  # type: ignore[valid-type, misc] # a Struct like the one it stands for
        def __post_init__(self) -> None:
            for seen in self.rows:
                seen.columns.setdefault("description", "")

    patch.setattr(reading, "Read", Planted)


def forgets_who_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(deciding, "_conflict", lambda *_: None)


def _not_on_disk(patch: pytest.MonkeyPatch, without: Callable[[Event], Event | None]) -> None:
    def planted(record: Record) -> bytes:
        kept = tuple(event for one in record.events if (event := without(one)) is not None)
        return encode_record(replace(record, events=kept))

    patch.setattr(writer, "encode_record", planted)


def keeps_conflicts_in_memory_only(patch: pytest.MonkeyPatch) -> None:
    _not_on_disk(patch, lambda event: replace(event, conflicts=()) if isinstance(event, Merged) else event)


def keeps_first_answers_in_memory_only(patch: pytest.MonkeyPatch) -> None:
    _not_on_disk(patch, lambda event: None if isinstance(event, AnswerKept) else event)


def sends_the_newest_note_first(patch: pytest.MonkeyPatch) -> None:
    def newest(link: Link | None) -> NoteEntry | None:
        return link.notes[-1] if link is not None and link.state == "active" and link.notes else None

    for module in (outbox, worknotes):
        patch.setattr(module, "first_note", newest)


def repeats_notes_without_looking(patch: pytest.MonkeyPatch) -> None:
    def forgets(link: Link | None) -> NoteEntry | None:
        entry = first_note(link)
        return entry and replace(entry, in_flight=None, unsettled=None)

    first_note = outbox.first_note
    patch.setattr(worknotes, "must_look", lambda *_: False)
    prepare = worknotes.prepare_note

    def planted(*given: object, **more: object) -> object:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(worknotes, "first_note", forgets)
            return prepare(*given, **more)  # type: ignore[arg-type]

    patch.setattr(worknotes, "prepare_note", planted)


def believes_older_pictures(patch: pytest.MonkeyPatch) -> None:
    for module in (sending, hints):
        patch.setattr(module, "is_stale", lambda *_: False)


def writes_on_old_reads(patch: pytest.MonkeyPatch) -> None:
    for name in ("FRESH_S", "RECORDED_S_MAX"):
        patch.setattr(sender, name, NEVER)


def does_not_wait_when_told_to(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(breaker.Breaker, "_close_for", lambda *_: None)
    patch.setattr(accounts.Account, "be_quiet", lambda *_: None)


def never_pauses_on_refused_credentials(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(logins, "PROBE_AFTER_S", logins.ONCE_MORE_AFTER_S)


def tries_refused_credentials_at_every_start(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(logins.Logins, "were_refused", lambda *_: None)


def forgets_what_it_was_told_when_settings_change(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(accounts.Accounts, "terms", lambda *_: accounts.Terms(accounts.Account(), accounts.Rate()))


def does_not_look_for_new_records(patch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> bool:
        await trio.lowlevel.checkpoint()
        return True

    patch.setattr(reading.Reader, "walk_new", nothing)


def settles_the_loser_and_forgets_to_write(patch: pytest.MonkeyPatch) -> None:
    def planted(decision: Decision, now: str, raw: str, half: Halves) -> Halves:
        after = halves_after(decision, now, raw, half)
        return replace(after, platform=now) if after.platform is UNSET else after

    patch.setattr(deciding, "halves_after", planted)


def _judges_by(patch: pytest.MonkeyPatch, changed: Mapping[str, object]) -> None:
    policy_for = deciding.policy_for

    def planted(*given: Any) -> Policy:
        return replace(policy_for(*given), **changed)

    patch.setattr(deciding, "policy_for", planted)


def spreads_against_the_direction(patch: pytest.MonkeyPatch) -> None:
    _judges_by(patch, {"inbound": True, "outbound": True})


def lets_anybody_edit_what_is_owned(patch: pytest.MonkeyPatch) -> None:
    _judges_by(patch, {"exclusive": False})


def forgets_what_stayed_where_it_was(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(untold, "is_lost_with", lambda *_: False)


def settles_as_equal_on_an_old_picture(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(looks, "shows_since", lambda *_: True)


MUTANTS: Final = (
    Mutant(acknowledges_before_it_is_durable),
    Mutant(writes_on_old_reads, trouble="slow"),
    Mutant(moves_the_base_when_it_sends),
    Mutant(takes_its_own_late_writes_for_edits, is_shy=True),
    Mutant(takes_a_hidden_field_for_an_empty_one, trouble="hidden_field", is_shy=True),
    Mutant(repeats_creates_without_looking, trouble="create_commits_then_reset"),
    Mutant(keeps_conflicts_in_memory_only),
    Mutant(keeps_first_answers_in_memory_only, is_shy=True),
    Mutant(sends_the_newest_note_first, "people"),
    Mutant(repeats_notes_without_looking, "people"),
    Mutant(forgets_who_lost),
    Mutant(believes_older_pictures, trouble="stale_read"),
    Mutant(does_not_wait_when_told_to, trouble="unauthorized_401"),
    Mutant(never_pauses_on_refused_credentials, trouble="unauthorized_401"),
    Mutant(tries_refused_credentials_at_every_start, trouble="unauthorized_401"),
    Mutant(forgets_what_it_was_told_when_settings_change, "rules"),
    Mutant(does_not_look_for_new_records),
    Mutant(settles_the_loser_and_forgets_to_write),
    Mutant(spreads_against_the_direction, "rules"),
    Mutant(lets_anybody_edit_what_is_owned, "rules"),
    Mutant(forgets_what_stayed_where_it_was, "rules"),
    Mutant(settles_as_equal_on_an_old_picture, "rules", is_shy=True),
)


class Hunt(Struct, frozen=True):
    """How a mutant was found: with which seed, after how many, and by what; ``seeds`` 0: it was not."""

    name: str
    kind: str
    seed: int = 0
    seeds: int = 0
    error: str = ""
    tried: int = 0


def hunt(mutant: Mutant, seeds: Iterable[int], until: float = NEVER) -> Hunt:
    """Live through worlds with the bug planted until a promise is found broken."""
    tried = 0
    with pytest.MonkeyPatch.context() as patch:
        mutant.plant(patch)
        for seed in seeds:
            tried += 1
            error = failure(draw(mutant.kind, seed))
            if "AssertionError" in error:
                return Hunt(mutant.name, mutant.kind, seed, tried, error, tried)
            if time.monotonic() > until:
                break
    return Hunt(mutant.name, mutant.kind, tried=tried)


def likely_seeds(mutant: Mutant, count: int) -> Iterable[int]:
    """Seeds whose turn is the mutant's trouble."""
    names = [one.name for one in TROUBLES]
    first, step = (names.index(mutant.trouble), len(names)) if mutant.trouble else (0, 1)
    return itertools.islice(itertools.count(first, step), count)


def _hunt(given: tuple[int, int, float]) -> Hunt:
    logging.disable(logging.CRITICAL)
    number, seeds, minutes = given
    return hunt(MUTANTS[number], range(seeds), time.monotonic() + minutes * 60)


def main() -> int:
    """Hunt them all; 1 if one was not found."""
    parser = argparse.ArgumentParser("mutants", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS_MAX, help=f"at most for each (default {SEEDS_MAX})")
    parser.add_argument("--minutes", type=float, default=10.0, help="at most for each (default 10)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--only", default="", help="those with this in their name")
    given = parser.parse_args()
    chosen = [number for number, one in enumerate(MUTANTS) if given.only in one.name]
    missed = 0
    with multiprocessing.get_context("spawn").Pool(given.workers, maxtasksperchild=1) as pool:
        for found in pool.imap(_hunt, [(number, given.seeds, given.minutes) for number in chosen]):
            missed += not found.seeds
            how = f"{found.seeds:5} seeds  {found.error[:90]}" if found.seeds else f"NOT FOUND in {found.tried} seeds"
            print(f"{found.name:42} {found.kind:7} {how}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} found")
    return min(1, missed)


if __name__ == "__main__":
    sys.exit(main())
