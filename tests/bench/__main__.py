"""Run the bench: ``python -m tests.bench``, which is `make bench`. Progress goes to stderr, the table to stdout."""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from tests.bench import accept, both_ways, commit, mechanical, memory, replay, requests, restart, start
from tests.bench.processes import ROOT
from tests.bench.results import Noise, Row, rendered

Family = Callable[[Path, int, Noise], Iterator[Row]]

FAMILIES: dict[str, Family] = {
    "accept": accept.rows,
    "commit": commit.rows,
    "replay": replay.rows,
    "both-ways": both_ways.rows,
    "memory": memory.rows,
    "requests": requests.rows,
    "start": start.rows,
    "restart": restart.rows,
    "peers": mechanical.rows,
}
ASKED_FOR = ("peers", "restart")  # they need more than a checkout has, or minutes and gigabytes
FOLDER = ROOT / ".bench"  # in the checkout, because a temporary folder may be in memory, where nothing is ever synced


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    parser.add_argument("--only", action="append", choices=FAMILIES, help="a row family; may be given again")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each ratio, interleaved (5)")
    parser.add_argument("--format", choices=["table", "markdown", "json"], default="table")
    given = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=FOLDER))
    rows: list[Row] = []
    noise = Noise()
    begun = time.monotonic()
    try:
        for name in given.only or [one for one in FAMILIES if one not in ASKED_FOR]:
            print(f"{time.monotonic() - begun:4.0f} s  {name}", file=sys.stderr, flush=True)
            (folder / name).mkdir()
            rows += FAMILIES[name](folder / name, given.rounds, noise)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{time.monotonic() - begun:4.0f} s  done", file=sys.stderr)
    if given.format == "json":
        print(msgspec.json.encode({"rows": rows, "noise_ms": noise.loops_ms}).decode())
    else:
        print(f"{rendered(rows, given.format)}\n\n{noise.text()}; {given.rounds} rounds, medians")
    return 0


if __name__ == "__main__":
    sys.exit(main())
