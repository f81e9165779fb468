"""Rows of `im`: help, and a command to a running daemon, against importing the parser that it is built on."""

import compileall
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.bench.processes import ROOT, daemon, declare, running
from tests.bench.results import Noise, Row

RUNS = 5  # in each round
IM = str(Path(sys.executable).parent / "im")
BASE = [sys.executable, "-c", "import cyclopts"]
COMMANDS = {"im --help": [IM, "--help"], "im incident list": [IM, "incident", "list"]}


def took_s(command: list[str], environ: Mapping[str, str]) -> float:
    """From the start of a process to its end."""
    begun = time.perf_counter()
    subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


def rows(folder: Path, rounds: int, noise: Noise) -> Iterator[Row]:
    compileall.compile_dir(ROOT / "src", quiet=1)  # as it is installed
    base: list[float] = []
    ours: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with running(daemon(folder / "daemon"), "/ready") as one:
        declare(one, 20)
        environ = os.environ | {"INCIDENTS_SOCKET": str(folder / "daemon" / "syncd.sock")}
        for _ in range(rounds):
            noise.look()
            runs: list[list[float]] = [[] for _ in range(len(COMMANDS) + 1)]
            for _ in range(RUNS):
                for command, times in zip((BASE, *COMMANDS.values()), runs, strict=True):
                    times.append(took_s(command, environ))
            base.append(statistics.median(runs[0]))
            for name, times in zip(COMMANDS, runs[1:], strict=True):
                ours[name].append(statistics.median(times))
    for name, times in ours.items():
        yield Row(
            name=f"{name} / import cyclopts",
            measured=f"{statistics.median(times) * 1e3:.0f} ms",
            baseline=f"{statistics.median(base) * 1e3:.0f} ms",
            ratios=[one / other for one, other in zip(times, base, strict=True)],
            goal=1.4,
            is_at_least=False,
            remark=f"{rounds * RUNS} runs of each",
        )
