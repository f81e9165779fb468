"""Walk a long file of frames in pieces: bounded in memory, and with a rest between them for whoever wants one.

For what is closed: segments behind which the journal went on, the part of a segment that a snapshot covers, snapshots.
Nothing in it can be torn, so whatever is wrong there is damage.
"""

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from syncd.journal.codec import payload_at
from syncd.journal.walk import Fault, JournalDamaged, Walked, walk
from syncd.seams import Disk

PIECE_BYTES = 2**20


class Piece(Struct, frozen=True):
    """Whole frames: ``walked`` is about ``block``, which begins at byte ``offset`` of the file."""

    offset: int
    block: bytes
    walked: Walked

    def payloads(self) -> Iterator[memoryview]:
        """What is in its frames."""
        return (payload_at(self.block, offset) for offset in self.walked.offsets)


def pieces(
    disk: Disk, path: Path, offset: int, end: int, position: int, chain: int, piece_bytes: int = PIECE_BYTES
) -> Iterator[Piece]:
    """The frames from ``offset``, behind ``position`` and its ``chain``, to ``end``, where one has to end.

    Raises ``JournalDamaged``.
    """
    while offset < end:
        size_bytes = piece_bytes
        while True:
            block = disk.read(path, offset, min(size_bytes, end - offset))
            walked = walk(block, 0, position, chain)
            if walked.fault is None or walked.offset > 0 or offset + size_bytes >= end:
                break
            size_bytes *= 2  # a frame larger than that, unless it is damaged
        if walked.offset == 0:
            fault = walked.fault or Fault("damaged", 0, position, "the end of the file, too early")
            raise JournalDamaged(path, Fault(fault.kind, offset + fault.offset, fault.position, fault.problem))
        yield Piece(offset, block, walked)
        offset, position, chain = offset + walked.offset, walked.position, walked.chain
