"""The knife: cuts the power at an exact moment of the daemon's work, the n-th time that this moment comes."""

from collections.abc import Callable
from pathlib import Path

from tests.simulation.plan import Cut
from tests.simulation.way import Exchange


class Knife:
    """Watches the disk, the way and ServiceNow for the moment of one ``Cut``, and calls ``strike`` then."""

    def __init__(self, cut: Cut, strike: Callable[[], None]) -> None:
        self.cut = cut
        self._strike = strike
        self._tag = f'"type":"{cut.event}"'.encode() if cut.event else b'"events":'
        self._met = self._unsynced = 0

    def disk(self, call: str, block: bytes) -> None:
        """Hear of the disk: a block was written, or all is synced."""
        if call == "written":
            self._unsynced += block.count(self._tag)
            if self.cut.phase == "written" and self._met + self._unsynced >= self.cut.nth and self._unsynced:
                self._strike()
            return
        self._met, self._unsynced = self._met + self._unsynced, 0
        if self.cut.phase == "synced" and self._met >= self.cut.nth:
            self._strike()

    def used(self, path: Path) -> None:
        """Hear that a file is used."""
        if self.cut.phase == "snapshot" and "snapshot" in path.name:
            self._count()

    def left(self, exchange: Exchange) -> None:
        """Hear of a request that has left."""
        if self.cut.phase == "left" and exchange.writes:
            self._count()

    def committed(self) -> None:
        """Hear that ServiceNow has done something of ours, whose answer nobody has seen yet."""
        if self.cut.phase == "committed":
            self._count()

    def _count(self) -> None:
        self._met += 1
        if self._met >= self.cut.nth:
            self._strike()
