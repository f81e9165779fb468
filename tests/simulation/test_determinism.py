"""The same seed is the same world, in every process and under every hash seed."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SEEDS = [str(seed) for seed in range(1000, 1020)]


def digests(hash_seed: str) -> str:
    environ = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.simulation.stories", *SEEDS]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_seed_gives_one_trace_in_two_processes_with_different_hash_seeds() -> None:
    first = digests("1")
    assert len(first.splitlines()) == len(SEEDS)
    assert len({line.split()[1] for line in first.splitlines()}) == len(SEEDS)  # and another seed another one
    assert digests("2") == first
