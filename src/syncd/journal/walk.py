"""The reading rule: walk over the bytes of one segment, and say what stands behind its last whole frame.

There is one copy of the journal, so "torn" and "damaged" are different words. *Torn* is what a crash leaves of a
group that nobody was promised: it may be cut off. *Damaged* is everything else, and is never repaired by guessing.
The tail is torn if

1. it is shorter than a frame header,
2. it is all zero,
3. its frame has a valid header, and ends behind the end of the file (a write cut short), or
4. it is all zero from a 512-byte sector boundary inside its frame on (power was lost before those sectors were
   written).

A valid frame header inside the bytes that 3 would cut off shows that something went missing before it: damaged.
Frames must increase in position and continue the chain. Whether a segment may be torn at all is the reader's
business: only the last one may. This module reads bytes only, never a file.
"""

from array import array
from pathlib import Path
from typing import Literal
from zlib import crc32

from msgspec import Struct

from syncd.errors import JournalRefused
from syncd.journal.codec import (
    CHAIN_BYTES,
    CRITICAL,
    FORMAT,
    FRAME_FIELDS,
    FRAME_HEADER_BYTES,
    FRAME_MAGIC,
    FRAME_VERSION,
    NUMBER,
    RECORD,
    SEGMENT_FIELDS,
    SEGMENT_HEADER_BYTES,
    SEGMENT_MAGIC,
    SegmentHeader,
    segment_header_bytes,
)

SECTOR_BYTES = 512
_ZEROS_BLOCK_BYTES = 4096

_DAMAGED_HINT = (
    "nothing was changed; put the file back from a backup, or see 'When the journal is refused' in docs/journal.md"
)

Block = bytes | bytearray | memoryview


class Fault(Struct, frozen=True, gc=False):
    """What stands at ``offset`` instead of a frame; ``position``: the last whole record before it, 0 for none.

    ``newer``: the bytes are whole, but from a later version of this program.
    """

    kind: Literal["torn", "damaged", "newer"]
    offset: int
    position: int
    problem: str


class JournalDamaged(JournalRefused):
    """Where the journal stops making sense.

    ``position``: the last whole record before ``offset`` of the file ``path``.
    """

    def __init__(self, path: Path, fault: Fault) -> None:
        if fault.kind == "newer":
            what, hint = "was written by a newer syncd", "start the version that wrote it; nothing was changed"
        else:
            what, hint = "is damaged", _DAMAGED_HINT
        message = f"{path} {what}: at byte {fault.offset}, after position {fault.position}: {fault.problem}"
        super().__init__(message, hint=hint)
        self.path = path
        self.offset = fault.offset
        self.position = fault.position
        self.kind = fault.kind


class Walked(Struct):
    """The whole frames from where a walk began. ``offset``, ``position``, ``chain``: where it ended.

    ``offsets`` and ``positions`` are parallel and leave out skipped frames; ``fault`` None: it ended at the end.
    """

    offsets: "array[int]"  # quoted: Python 3.11 cannot subscript array
    positions: "array[int]"
    offset: int
    position: int
    chain: int
    fault: Fault | None = None


def walk(block: Block, offset: int, position: int, chain: int) -> Walked:
    """Walk frames from ``offset``, behind the record ``position`` and its ``chain``, to the end or the first fault."""
    view = memoryview(block)
    end = len(view)
    offsets, positions = array("Q"), array("Q")
    fault: Fault | None = None
    while offset < end:
        if end - offset < FRAME_HEADER_BYTES:
            fault = Fault("torn", offset, position, f"{end - offset} bytes, shorter than a frame header")
            break
        magic, version, kind, payload_bytes, next_position = FRAME_FIELDS.unpack_from(view, offset)
        fields_crc = crc32(view[offset : offset + FRAME_FIELDS.size])
        if magic != FRAME_MAGIC or NUMBER.unpack_from(view, offset + FRAME_FIELDS.size)[0] != fields_crc:
            fault = _at_bad_header(view, offset, position)
            break
        if version != FRAME_VERSION or (kind != RECORD and kind & CRITICAL):
            fault = Fault("newer", offset, position, f"frame version {version}, kind {kind:#04x}")
            break
        if next_position <= position:
            fault = Fault("damaged", offset, position, f"position {next_position} where a higher one must follow")
            break
        body = offset + FRAME_HEADER_BYTES
        stop = body + payload_bytes + CHAIN_BYTES
        if stop > end:
            fault = _at_short_frame(view, offset, stop, position)
            break
        next_chain = crc32(view[body : stop - CHAIN_BYTES], crc32(view[offset : offset + FRAME_FIELDS.size], chain))
        if NUMBER.unpack_from(view, stop - CHAIN_BYTES)[0] != next_chain:
            fault = _at_bad_frame(view, offset, stop, position, next_chain)
            break
        if kind == RECORD:
            offsets.append(offset)
            positions.append(next_position)
        offset, position, chain = stop, next_position, next_chain
    return Walked(offsets, positions, offset, position, chain, fault)


def walk_segment(block: Block, expected: SegmentHeader) -> Walked:
    """Walk a whole segment, which has to begin with the ``expected`` header."""
    fault = _segment_header_fault(memoryview(block), expected)
    if fault is not None:
        return Walked(array("Q"), array("Q"), 0, expected.first_position - 1, expected.chain, fault)
    return walk(block, SEGMENT_HEADER_BYTES, expected.first_position - 1, expected.chain)


def _segment_header_fault(view: memoryview, expected: SegmentHeader) -> Fault | None:
    wanted = segment_header_bytes(expected)
    position = expected.first_position - 1
    found = bytes(view[:SEGMENT_HEADER_BYTES])
    if found == wanted:
        return None
    if len(found) >= 10 and found[:8] == SEGMENT_MAGIC and (version := int.from_bytes(found[8:10], "little")) != FORMAT:
        return Fault("newer", 0, position, f"format version {version}; this program reads {FORMAT}")
    # A segment gets its frames only after its header was synced, so a header that a crash tore stands alone.
    if len(view) < SEGMENT_HEADER_BYTES and wanted.startswith(found):
        return Fault("torn", 0, position, f"{len(view)} of the {SEGMENT_HEADER_BYTES} bytes of a segment header")
    if len(view) <= SEGMENT_HEADER_BYTES and not found.strip(b"\0"):
        return Fault("torn", 0, position, "an all-zero segment header")
    if len(found) < SEGMENT_HEADER_BYTES or found[:8] != SEGMENT_MAGIC:
        return Fault("damaged", 0, position, "no segment header")
    _, _, zero, segment, first_position = SEGMENT_FIELDS.unpack_from(found)
    chain = NUMBER.unpack_from(found, SEGMENT_HEADER_BYTES - CHAIN_BYTES)[0]
    if zero or found != segment_header_bytes(SegmentHeader(segment, first_position, chain)):
        return Fault("damaged", 0, position, "the segment header fails its checksum")
    return Fault(
        "damaged",
        0,
        position,
        f"the header of segment {segment} from position {first_position} with chain {chain:08x}, where segment "
        f"{expected.segment} from position {expected.first_position} with chain {expected.chain:08x} must follow",
    )


def _at_bad_header(view: memoryview, offset: int, position: int) -> Fault:
    if not view[-1]:
        zeros = _zeros_from(view, offset)
        if zeros == offset:
            return Fault("torn", offset, position, f"{len(view) - offset} bytes, all zero")
        boundary = _boundary_from(zeros, offset)
        written = bytes(view[offset : min(boundary, offset + len(FRAME_MAGIC))])
        if boundary < min(offset + FRAME_HEADER_BYTES, len(view)) and FRAME_MAGIC.startswith(written):
            return Fault("torn", offset, position, f"a frame header that is all zero from byte {boundary} on")
    return Fault("damaged", offset, position, "no valid frame header")


def _at_short_frame(view: memoryview, offset: int, stop: int, position: int) -> Fault:
    later = _header_behind(view, offset + FRAME_HEADER_BYTES, position)
    if later is not None:
        return Fault("damaged", offset, position, f"a frame that runs into the one at byte {later}")
    return Fault("torn", offset, position, f"a frame of {stop - offset} bytes of which {len(view) - offset} are there")


def _at_bad_frame(view: memoryview, offset: int, stop: int, position: int, chain: int) -> Fault:
    if not view[-1]:
        boundary = _boundary_from(_zeros_from(view, offset), offset)
        # With the boundary inside the chain the payload is all there, so what is left of the chain must agree with it.
        written = bytes(view[stop - CHAIN_BYTES : max(boundary, stop - CHAIN_BYTES)])
        if boundary < min(stop, len(view)) and NUMBER.pack(chain).startswith(written):
            return Fault("torn", offset, position, f"a frame that is all zero from byte {boundary} on")
    return Fault("damaged", offset, position, "a frame that fails its checksum")


def _zeros_from(view: memoryview, offset: int) -> int:
    """Where the zeros at the end begin, not before ``offset``."""
    end = len(view)
    while end > offset:
        begin = max(offset, end - _ZEROS_BLOCK_BYTES)
        left = len(bytes(view[begin:end]).rstrip(b"\0"))
        end = begin + left
        if left:
            break
    return end


def _boundary_from(zeros: int, offset: int) -> int:
    """The first sector boundary at or after ``zeros`` and after ``offset``."""
    return -(-max(zeros, offset + 1) // SECTOR_BYTES) * SECTOR_BYTES


def _header_behind(view: memoryview, begin: int, position: int) -> int | None:
    """The offset of a valid header of a later record, if there is one at or after ``begin``."""
    rest = bytes(view[begin:])
    found = rest.find(FRAME_MAGIC)
    while 0 <= found <= len(rest) - FRAME_HEADER_BYTES:
        fields = rest[found : found + FRAME_FIELDS.size]
        later = FRAME_FIELDS.unpack(fields)[4]
        if NUMBER.unpack_from(rest, found + FRAME_FIELDS.size)[0] == crc32(fields) and later > position:
            return begin + found
        found = rest.find(FRAME_MAGIC, found + 1)
    return None
