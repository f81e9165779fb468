"""Worlds by the thousand, from the command line: ``make soak``. Bounded in seeds and time; ends with 1 if one failed.

A failing seed is told in one line that shows it again. ``--shrink`` cuts its plan down to what still fails.
"""

import argparse
import itertools
import logging
import multiprocessing
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tests.simulation.kinds import DRAWN, draw
from tests.simulation.plan import Plan
from tests.simulation.stories import run

KINDS: Final = tuple(DRAWN)
TELL_S: Final = 10.0
ALIKE_LETTERS: Final = 28  # two failures whose text begins alike are one
EXAMPLES: Final = """examples:
  make soak                                        2000 seeds of every kind, from 1000 on, at most 30 minutes
  make soak ARGS="--kind days --first 5000 --seeds 20000 --minutes 60"
  make soak ARGS="--only days:17"                  one seed again, with its trace
  make soak ARGS="--only days:17 --shrink"         ... and the smallest part of its plan that still fails
  make soak ARGS="--plan failing.json"             a plan as it was printed, or cut down by hand
"""


class Outcome(Struct, frozen=True):
    """How one seed went; ``error`` is empty when all was well."""

    kind: str
    seed: int
    error: str
    met: dict[str, int]


def live(kind_and_seed: tuple[str, int]) -> Outcome:
    """Live through one seed, in a process of its own or in this one."""
    kind, seed = kind_and_seed
    met = Counter[str]()
    return Outcome(kind, seed, failure(draw(kind, seed), met), met)


def failure(plan: Plan, met: Counter[str] | None = None) -> str:
    """What a plan ends in: empty when all is well, else the first error, in a line."""
    try:
        run(plan, met)
    except Exception as error:  # noqa: BLE001 whatever it is, the seed has failed
        first: BaseException = error
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        return " ".join(f"{type(first).__name__}: {first}".split())
    return ""


def shrunk(plan: Plan) -> Plan:
    """The smallest part of a failing plan that still fails in the same way: deeds, spells and cuts are left out."""
    way = failure(plan)[:ALIKE_LETTERS]
    while True:
        smaller = next((one for one in _smaller(plan) if failure(one)[:ALIKE_LETTERS] == way), None)
        if smaller is None:
            return plan
        plan = smaller
        sys.stderr.write(f"{len(plan.deeds)} deeds, {len(plan.spells)} spells, {len(plan.cuts)} cuts\n")


def _smaller(plan: Plan) -> Iterator[Plan]:
    for field in ("cuts", "spells", "deeds"):
        values = getattr(plan, field)
        size = len(values)
        while size:
            for start in range(0, len(values), size):
                yield replace(plan, **{field: (*values[:start], *values[start + size :])})
            size //= 2
    for name in plan.switches:
        yield replace(plan, switches={key: value for key, value in plan.switches.items() if key != name})
    for name in plan.settings:
        yield replace(plan, settings={key: value for key, value in plan.settings.items() if key != name})


def soak(kinds: list[str], first: int, seeds: int, minutes: float, workers: int) -> int:
    """Live through many seeds, tell how it goes, and return how many failed."""
    began, told = time.monotonic(), time.monotonic()
    done, failed, met = 0, 0, Counter[str]()
    wanted = itertools.chain.from_iterable(((kind, seed) for kind in kinds) for seed in range(first, first + seeds))
    with multiprocessing.get_context("spawn").Pool(workers, _quiet) as pool:
        for outcome in pool.imap_unordered(live, wanted, chunksize=4):
            done += 1
            met.update(outcome.met)
            if outcome.error:
                failed += 1
                print(
                    f'FAILED  make soak ARGS="--only {outcome.kind}:{outcome.seed}"  {outcome.error[:300]}', flush=True
                )
            now = time.monotonic()
            if now - told >= TELL_S:
                told = now
                print(f"{done} worlds, {failed} failed, {done / (now - began):.1f} a second", flush=True)
            if now - began >= minutes * 60:
                print(f"stopped after {minutes:g} minutes", flush=True)
                pool.terminate()
                break
    took_s = time.monotonic() - began
    print(f"{done} worlds, {failed} failed, in {took_s:.0f} s, {done / took_s:.1f} a second")
    print("met:", ", ".join(f"{name} {count}" for name, count in met.most_common()))
    return failed


def _quiet() -> None:
    logging.disable(logging.CRITICAL)


def again(plan: Plan, *, is_shrunk: bool) -> int:
    """Live through one plan and show what went wrong; returns how many failed."""
    if is_shrunk and failure(plan):
        plan = shrunk(plan)
        print(plan.line)
    try:
        done = run(plan)
    except Exception:  # noqa: BLE001 it is shown
        traceback.print_exc()
        return 1
    print(f"{plan.kind}:{plan.seed} is well: {done.steps} steps, {done.digest}")
    return 0


def main() -> int:
    """Read the command line; the exit code."""
    parser = argparse.ArgumentParser(
        "soak", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kind", choices=KINDS, action="append", help="which worlds (default: all)")
    parser.add_argument("--first", type=int, default=1000, help="the first seed (default 1000)")
    parser.add_argument("--seeds", type=int, default=2000, help="how many of each kind (default 2000)")
    parser.add_argument("--minutes", type=float, default=30.0, help="stop after this time (default 30)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--only", metavar="KIND:SEED", help="one seed, with its trace")
    parser.add_argument("--plan", type=Path, help="one plan, as JSON in a file")
    parser.add_argument("--shrink", action="store_true", help="with --only or --plan: cut the plan down first")
    given = parser.parse_args()
    if given.only or given.plan:
        if given.plan:
            plan = msgspec.json.decode(given.plan.read_bytes(), type=Plan)
        else:
            kind, _, seed = given.only.partition(":")
            if kind not in DRAWN or not seed.isdigit():
                parser.error(f"--only {given.only}: write KIND:SEED, with one of the kinds {', '.join(KINDS)}")
            plan = draw(kind, int(seed))
        return again(plan, is_shrunk=given.shrink)
    _quiet()
    return min(1, soak(given.kind or list(KINDS), given.first, given.seeds, given.minutes, given.workers))


if __name__ == "__main__":
    sys.exit(main())
