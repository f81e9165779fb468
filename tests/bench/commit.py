"""Rows of group commit: the journal under 64 waiters, against one fdatasync a record, and one SQLite transaction a row.

All three put the same bytes on the same disk. The journal's side is the whole of ``transact``: decide, fold, frame,
chain, write, sync and wake.
"""

import os
import sqlite3
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import trio

from syncd.core.events import Change, Hinted
from syncd.core.state import State
from syncd.journal.codec import encode_record, frame_bytes
from syncd.journal.reader import iterate
from syncd.journal.writer import Journal
from syncd.seams import SystemClock, SystemDisk, ThreadWork
from tests.bench.results import Noise, Row

WAITERS = 64
SECONDS = 1.0
BODY = '{"sys_id":"9d385017c611228701d22104cc95c371","operation":"update","short_description":"' + "x" * 250 + '"}'


def decide(_state: State, _at_s: float) -> Change[None]:
    """A record of the size that a webhook makes, about 500 bytes."""
    event = Hinted("itg-BENCH", "9d385017c611228701d22104cc95c371", None, "id 9f8e7d6c5b4a39281706", BODY)
    return Change("default", (event,), result=None)


async def transact(folder: Path, waiters: int, seconds: float = SECONDS) -> tuple[float, list[float]]:
    """Records a second, and how long each took, with so many callers at once."""
    journal = await Journal.open(SystemDisk(), folder, SystemClock(), ThreadWork())
    latencies_s: list[float] = []

    async def call() -> None:
        while trio.current_time() < until:
            begun = trio.current_time()
            await journal.transact(decide, by="bench", trace="BENCHBENCH")
            latencies_s.append(trio.current_time() - begun)

    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        begun = trio.current_time()
        until = begun + seconds
        async with trio.open_nursery() as callers:
            for _ in range(waiters):
                callers.start_soon(call)
        took_s = trio.current_time() - begun
        journal.close()
    return len(latencies_s) / took_s, latencies_s


def sync_each(path: Path, frame: bytes) -> float:
    """Records a second, with one write and one fdatasync for each."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    count, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < SECONDS:
        os.write(fd, frame)
        os.fdatasync(fd)
        count += 1
    took_s = time.perf_counter() - begun
    os.close(fd)
    path.unlink()
    return count / took_s


def insert_each(path: Path, payload: bytes) -> float:
    """Rows a second, with a transaction for each."""
    base = sqlite3.connect(path, isolation_level=None)
    base.execute("PRAGMA journal_mode=WAL")
    base.execute("PRAGMA synchronous=FULL")
    base.execute("CREATE TABLE records (position INTEGER PRIMARY KEY, payload BLOB)")
    count, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < SECONDS:
        base.execute("INSERT INTO records (payload) VALUES (?)", (payload,))
        count += 1
    took_s = time.perf_counter() - begun
    base.close()
    return count / took_s


def rows(folder: Path, rounds: int, noise: Noise) -> Iterator[Row]:
    grouped, synced, inserted = [], [], []
    frame, payload = b"", b""
    for number in range(rounds):
        noise.look()
        state_dir = folder / f"journal{number}"
        grouped.append(trio.run(transact, state_dir, WAITERS)[0])
        if not payload:
            record = next(iterate(SystemDisk(), state_dir))
            payload = encode_record(record)
            frame = frame_bytes(payload, record.position, 0)[0]
        synced.append(sync_each(folder / f"log{number}", frame))
        inserted.append(insert_each(folder / f"base{number}", payload))
    for name, others in (("one fdatasync a record", synced), ("SQLite WAL FULL, a row each", inserted)):
        yield Row(
            name=f"group commit, {WAITERS} waiters / {name}",
            measured=f"{statistics.median(grouped):.0f}/s",
            baseline=f"{statistics.median(others):.0f}/s",
            ratios=[one / other for one, other in zip(grouped, others, strict=True)],
            goal=10,
            remark=f"{len(payload)}-byte records",
        )
