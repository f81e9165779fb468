"""A disk in memory that forgets what was not synced, and fails on request; and threads that are none.

The model is pessimistic where file systems are. A crash keeps of each file what was synced, plus any prefix of what
was done since, the last write of it cut at any byte or zero-filled from a sector boundary on; and of each folder any
subset of what was done since its last sync. A failed sync loses what it should have written for good: a later one
reports success and keeps the loss, as Linux does. A disk that crashed, or whose process was killed, answers its old
owner with errors only.
"""

import errno
import os
from collections.abc import Callable, Iterator
from itertools import chain, combinations, product
from pathlib import Path
from random import Random
from typing import Literal, TypeVar, TypeVarTuple

import trio

from syncd.errors import AlreadyRunning

T = TypeVar("T")
Args = TypeVarTuple("Args")

SECTOR_BYTES = 512

CUTS = 6  # of one write, in ``crash_states``

Fault = int | Literal["short"]
Order = Literal["ordered", "any"]


class _Inode:
    """A file's bytes: as processes see them (``seen``), as synced (``kept``), and what was done in between."""

    def __init__(self, kept: bytes = b"") -> None:
        self.seen = bytearray(kept)
        self.kept = kept
        self.undone: list[bytes | int] = []  # bytes: appended; a number: cut to this size
        self.lost: tuple[int, int] | None = None  # from, to: clean in the page cache, and not on the disk

    def append(self, block: bytes) -> None:
        self.seen += block
        self.undone.append(block)

    def truncate(self, size_bytes: int) -> None:
        del self.seen[size_bytes:]
        self.seen.extend(bytes(size_bytes - len(self.seen)))
        self.undone.append(size_bytes)
        if self.lost is not None and size_bytes <= self.lost[0]:
            self.lost = None

    def sync(self) -> None:
        kept = bytearray(self.seen)
        if self.lost is not None:
            begin, end = self.lost
            kept[begin:end] = bytes(end - begin)
        self.kept = bytes(kept)
        self.undone.clear()

    def fail_sync(self) -> None:
        if len(self.kept) < len(self.seen):
            self.lost = (len(self.kept), len(self.seen))
        self.undone.clear()

    def crash_states(self) -> Iterator[bytes]:
        """What may be left beyond what was synced: any prefix of what was done, and its last write cut."""
        survived = bytearray(self.kept)
        for done in self.undone:
            if isinstance(done, int):
                del survived[done:]
            else:
                for size_bytes in range(0, len(done), max(4, len(done) // CUTS)):
                    yield bytes(survived + done[:size_bytes])
                for written in range(-len(survived) % SECTOR_BYTES, len(done), SECTOR_BYTES):
                    yield bytes(survived + done[:written] + bytes(len(done) - written))
                survived += done
            yield bytes(survived)

    def after_crash(self, rng: Random) -> bytes:
        survived = bytearray(self.kept)
        steps = rng.randint(0, len(self.undone))
        for done in self.undone[:steps]:
            if isinstance(done, int):
                del survived[done:]
            else:
                survived += done
        cut = self.undone[steps] if steps < len(self.undone) else b""
        if isinstance(cut, bytes) and cut:
            survived += _partly_written(cut, len(survived), rng)
        return bytes(survived)


def _partly_written(block: bytes, offset: int, rng: Random) -> bytes:
    if rng.random() < 0.5:
        return block[: rng.randrange(len(block))]
    boundaries = [0, *range(-offset % SECTOR_BYTES, len(block), SECTOR_BYTES)]
    written = rng.choice(boundaries)
    return block[:written] + bytes(len(block) - written)


class SimDisk:
    """An in-memory ``Disk``.

    ``faults`` maps the number of a call, from 1, to an errno, or to "short" for a short write. ``calls`` names each
    call made so far; after ``dies_at`` of them every call fails, until somebody takes what is left from ``crash``.
    ``space_bytes`` is what may still be appended before ``ENOSPC``; ``syncs_after_failure`` must stay 0.
    ``watch`` hears of each block at the moment it is "written", and, with no block, when all is "synced"; ``on_call``
    hears of each use of a file, before it.
    """

    def __init__(self, rng: Random | None = None) -> None:
        self.rng = rng or Random(0)
        self.faults: dict[int, Fault] = {}
        self.calls: list[tuple[str, Path]] = []
        self.space_bytes: int | None = None
        self.dies_at: int | None = None
        self.syncs_after_failure = 0
        self.is_gone = False
        self.watch: Callable[[str, bytes], None] | None = None
        self.on_call: Callable[[Path], None] | None = None
        self._folders: set[Path] = {Path("/")}
        self._names: dict[Path, _Inode] = {}
        self._kept_names: dict[Path, _Inode] = {}
        self._undone: dict[Path, list[dict[Path, _Inode | None]]] = {}
        self._locks: set[Path] = set()

    # The medium, for tests.

    def crash(self) -> "SimDisk":
        """The power goes. The disk as the next life finds it; this one is gone for whoever still holds it."""
        names = dict(self._kept_names)
        for undone in self._undone.values():
            for change in undone:
                if self.rng.random() < 0.5:
                    _apply(change, names)
        kept = {id(inode): _Inode(inode.after_crash(self.rng)) for inode in names.values()}
        return self._next_life({path: kept[id(inode)] for path, inode in names.items()})

    def crash_states(self, order: Order) -> Iterator["SimDisk"]:
        """Every disk that a power loss at this moment may leave, if folders keep their changes in this ``order``."""
        choices = [list(_survivors(undone, order)) for undone in self._undone.values()]
        for chosen in product(*choices):
            names = dict(self._kept_names)
            for change in chain(*chosen):
                _apply(change, names)
            at_rest = {id(inode): inode.kept for inode in names.values()}
            states = [at_rest]
            for inode in {id(inode): inode for inode in names.values()}.values():
                states += [at_rest | {id(inode): block} for block in inode.crash_states()]
            for blocks in states:
                after = self._next_life({path: _Inode(blocks[id(inode)]) for path, inode in names.items()})
                after.rng = Random(0)
                yield after

    def kill(self) -> "SimDisk":
        """The process is killed: its locks go, the page cache stays. This disk is gone for whoever still holds it."""
        after = self._next_life(self._names)
        after._kept_names = self._kept_names
        after._undone = self._undone
        return after

    def put(self, path: Path, block: bytes) -> None:
        """Place a file, durably, behind everybody's back."""
        self._folders.update(path.parents)
        self._names[path] = self._kept_names[path] = _Inode(block)

    def remove(self, path: Path) -> None:
        """Remove a file, durably, behind everybody's back."""
        self._names.pop(path, None)
        self._kept_names.pop(path, None)

    def files(self) -> dict[Path, bytes]:
        """Every file as processes see it."""
        return {path: bytes(inode.seen) for path, inode in sorted(self._names.items())}

    def _next_life(self, names: dict[Path, _Inode]) -> "SimDisk":
        self.is_gone = True
        after = SimDisk(self.rng)
        after._folders = set(self._folders)
        after._names = dict(names)
        after._kept_names = dict(names)
        after.space_bytes = self.space_bytes
        after.watch = self.watch
        after.on_call = self.on_call
        return after

    def check(self, call: str, path: Path) -> Literal["short"] | None:
        """Count a call, and raise what was asked for; for ``SimFile``, too."""
        if self.on_call is not None and not self.is_gone:
            self.on_call(path)
        if self.is_gone or (self.dies_at is not None and len(self.calls) >= self.dies_at):
            self.is_gone = True
            raise OSError(errno.EIO, "this disk belongs to another life", str(path))
        self.calls.append((call, path))
        fault = self.faults.get(len(self.calls))
        if fault is None or fault == "short":
            return fault
        raise OSError(fault, os.strerror(fault), str(path))

    # The seam.

    def make_folder(self, folder: Path) -> None:
        self.check("make_folder", folder)
        self._folders.update((folder, *folder.parents))

    def names(self, folder: Path) -> list[str]:
        self.check("names", folder)
        paths = (*self._names, *self._folders)
        return sorted({path.name for path in paths if path.parent == folder and path != folder})

    def read(self, path: Path, offset: int = 0, size_bytes: int = -1) -> bytes:
        self.check("read", path)
        stop = None if size_bytes < 0 else offset + size_bytes
        return bytes(self._inode(path).seen[offset:stop])

    def size(self, path: Path) -> int:
        self.check("size", path)
        return len(self._inode(path).seen)

    def open_append(self, path: Path, *, create: bool = False) -> "SimFile":
        self.check("create" if create else "open", path)
        if create:
            if path in self._names:
                raise FileExistsError(errno.EEXIST, "exists", str(path))
            if path.parent not in self._folders:
                raise FileNotFoundError(errno.ENOENT, "no such folder", str(path))
            self._change(path.parent, {path: _Inode()})
        return SimFile(self, path, self._inode(path))

    def rename(self, source: Path, target: Path) -> None:
        self.check("rename", source)
        self._change(target.parent, {target: self._inode(source), source: None})

    def unlink(self, path: Path) -> None:
        self.check("unlink", path)
        self._inode(path)
        self._change(path.parent, {path: None})

    def sync_folder(self, folder: Path) -> None:
        self.check("sync_folder", folder)
        for change in self._undone.pop(folder, []):
            _apply(change, self._kept_names)

    def lock(self, path: Path) -> None:
        self.check("lock", path)
        if path in self._locks:
            raise AlreadyRunning(path, "1")
        self._locks.add(path)

    def _inode(self, path: Path) -> _Inode:
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        return self._names[path]

    def _change(self, folder: Path, change: dict[Path, _Inode | None]) -> None:
        _apply(change, self._names)
        self._undone.setdefault(folder, []).append(change)


def _survivors(
    undone: list[dict[Path, _Inode | None]], order: Order
) -> Iterator[tuple[dict[Path, _Inode | None], ...]]:
    """The changes of a folder that outlive a power loss: the first so many, or any of them."""
    for count in range(len(undone) + 1):
        if order == "ordered":
            yield tuple(undone[:count])
        else:
            yield from combinations(undone, count)


def _apply(change: dict[Path, _Inode | None], names: dict[Path, _Inode]) -> None:
    for path, inode in change.items():
        if inode is None:
            names.pop(path, None)
        else:
            names[path] = inode


class SimFile:
    """A file of a ``SimDisk``, open for appending."""

    def __init__(self, disk: SimDisk, path: Path, inode: _Inode) -> None:
        self._disk = disk
        self._path = path
        self._inode = inode

    def write(self, block: bytes) -> int:
        fault = self._disk.check("write", self._path)
        room = self._disk.space_bytes
        taken = len(block) // 2 if fault == "short" else len(block)
        if room is not None:
            taken = min(taken, room)
            if block and not taken:
                raise OSError(errno.ENOSPC, "No space left on device", str(self._path))
            self._disk.space_bytes = room - taken
        self._inode.append(bytes(block[:taken]))
        if self._disk.watch is not None:
            self._disk.watch("written", bytes(block[:taken]))
        return taken

    def sync(self) -> None:
        if self._inode.lost is not None:
            self._disk.syncs_after_failure += 1
        try:
            self._disk.check("sync", self._path)
        except OSError:
            if not self._disk.is_gone:
                self._inode.fail_sync()
            raise
        self._inode.sync()
        if self._disk.watch is not None:
            self._disk.watch("synced", b"")

    def truncate(self, size_bytes: int) -> None:
        self._disk.check("truncate", self._path)
        if self._disk.space_bytes is not None:
            self._disk.space_bytes += len(self._inode.seen) - size_bytes
        self._inode.truncate(size_bytes)

    def close(self) -> None:
        self._disk.check("close", self._path)


class SimWork:
    """``Work`` without threads: the call runs in place, between two short virtual pauses, and is never abandoned."""

    def __init__(self, rng: Random | None = None, pause_s_max: float = 0.0) -> None:
        self._rng = rng
        self._pause_s_max = pause_s_max

    async def run(self, call: Callable[[*Args], T], *args: *Args) -> T:
        await trio.lowlevel.checkpoint()
        with trio.CancelScope(shield=True):
            await self._pause()
            answer = call(*args)
            await self._pause()
        return answer

    async def _pause(self) -> None:
        if self._rng is not None and self._pause_s_max > 0:
            await trio.sleep(self._rng.random() * self._pause_s_max)
        else:
            await trio.lowlevel.checkpoint()
