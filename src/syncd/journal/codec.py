"""The bytes of the journal: segment headers and frames. Owns the format, and reads and writes no file.

    segment = header, frame, frame, ...
    header  = magic "syncd-jl"(8) format(u16) zero(u16) segment(u32) first position(u64) | crc(u32) | chain(u32)
    frame   = magic(2) version(u8) kind(u8) payload bytes(u32) position(u64) | crc(u32) | payload | chain(u32)

All numbers are little-endian and every crc is zlib's CRC-32. A frame's own crc covers the 16 bytes before it, so that
a length can be trusted before its payload is read: that is what tells a write cut short from a flipped bit. The chain
of a frame is ``crc32(payload, crc32(those 16 bytes, chain before))``. It leaves the crc out, because a CRC over bytes
that end in their own CRC is a constant, and the header would drop out of the chain. The header of a segment ends in
the chain of the segment before it, so the four bytes before any frame are always the chain that the frame continues.

The high bit of ``kind`` means critical: a reader that does not know such a frame must refuse the journal, and skips an
unknown one without the bit. The payload of a record is the msgspec JSON of ``core.events.Record``.
"""

from struct import Struct as Layout
from zlib import crc32

import msgspec
from msgspec import Struct

from syncd.core.events import Record
from syncd.errors import TooLarge

FORMAT = 1
SEGMENT_MAGIC = b"syncd-jl"
SEGMENT_HEADER_BYTES = 32

FRAME_VERSION = 1
FRAME_MAGIC = b"\xf5\xd1"  # the first byte occurs in no UTF-8, so no payload holds it
FRAME_HEADER_BYTES = 20
CHAIN_BYTES = 4
CRITICAL = 0x80
RECORD = CRITICAL | 0x01

PAYLOAD_BYTES_MAX = 16 * 2**20  # far above any request body; keeps one record from filling a segment

SEGMENT_FIELDS = Layout("<8sHHIQ")
FRAME_FIELDS = Layout("<2sBBIQ")
NUMBER = Layout("<I")

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Record)


class SegmentHeader(Struct, frozen=True):
    """``first_position``: no record in this segment has a lower one.

    ``chain``: that of the segment before, 0 in the first.
    """

    segment: int
    first_position: int
    chain: int


def segment_header_bytes(header: SegmentHeader) -> bytes:
    """The first 32 bytes of a segment."""
    fields = SEGMENT_FIELDS.pack(SEGMENT_MAGIC, FORMAT, 0, header.segment, header.first_position)
    chain = NUMBER.pack(header.chain)
    return fields + NUMBER.pack(crc32(chain, crc32(fields))) + chain


def encode_record(record: Record) -> bytes:
    """The payload. Raises ``TooLarge`` above 16 MiB, and what msgspec raises for a value that is no JSON."""
    payload = _encoder.encode(record)
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise TooLarge(
            f"one change of {len(payload)} bytes; the journal takes at most {PAYLOAD_BYTES_MAX}",
            hint="split the change into smaller ones",
        )
    return payload


def decode_record(payload: bytes | memoryview) -> Record:
    """The record. Raises ``msgspec.DecodeError`` for an event that this version does not know."""
    return _decoder.decode(payload)


def frame_bytes(payload: bytes, position: int, chain: int, kind: int = RECORD) -> tuple[bytes, int]:
    """The frame that continues ``chain``, and the chain after it."""
    fields = FRAME_FIELDS.pack(FRAME_MAGIC, FRAME_VERSION, kind, len(payload), position)
    next_chain = crc32(payload, crc32(fields, chain))
    return b"".join((fields, NUMBER.pack(crc32(fields)), payload, NUMBER.pack(next_chain))), next_chain


def chain_before(block: bytes | bytearray | memoryview, offset: int) -> int:
    """The chain that a frame at ``offset`` continues."""
    (chain,) = NUMBER.unpack_from(block, offset - CHAIN_BYTES)
    return int(chain)


def payload_at(block: bytes | memoryview, offset: int) -> memoryview:
    """The payload of a whole frame that a walk has found good."""
    size_bytes = FRAME_FIELDS.unpack_from(block, offset)[3]
    return memoryview(block)[offset + FRAME_HEADER_BYTES : offset + FRAME_HEADER_BYTES + size_bytes]


def frame_size_bytes(block: bytes | memoryview, offset: int) -> int:
    """How long the frame at ``offset`` says it is, unverified."""
    return FRAME_HEADER_BYTES + int(FRAME_FIELDS.unpack_from(block, offset)[3]) + CHAIN_BYTES


def stated_segment_header(block: bytes) -> SegmentHeader:
    """What the first 32 bytes of a segment say, unverified: comparing the bytes of the answer verifies them."""
    _, _, _, segment, first_position = SEGMENT_FIELDS.unpack_from(block)
    return SegmentHeader(segment, first_position, chain_before(block, SEGMENT_HEADER_BYTES))
