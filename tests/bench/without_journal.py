"""``syncd serve`` as it is, over a disk that forgets: what the doors cost when nothing has to be made durable.

The composition root names its real disk and threads once each; here they are a disk whose appends go nowhere and calls
that are made at once instead of in a thread, since what they wait for is not there.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import trio

from syncd import daemon
from syncd.__main__ import main
from syncd.seams import SystemDisk, SystemFile

T = TypeVar("T")
Args = TypeVarTuple("Args")


class ForgetfulFile(SystemFile):
    """Takes everything, keeps nothing."""

    def write(self, block: bytes) -> int:
        return len(block)

    def sync(self) -> None:
        """Nothing is there to be synced."""


class ForgetfulDisk(SystemDisk):
    """The real one, but for what is appended."""

    def open_append(self, path: Path, *, create: bool = False) -> SystemFile:
        return ForgetfulFile(super().open_append(path, create=create)._fd)

    def sync_folder(self, folder: Path) -> None:
        """Nothing new is in it."""


class NoThreads:
    """Work that is done where it is asked for."""

    async def run(self, call: Callable[[*Args], T], *args: *Args) -> T:
        await trio.lowlevel.checkpoint()
        return call(*args)


if __name__ == "__main__":
    vars(daemon).update(SystemDisk=ForgetfulDisk, ThreadWork=NoThreads)
    main(sys.argv[1:])
