"""The format: what is written is read back, and the chain covers every byte."""

import pytest

from syncd.core.events import DaemonBorn, Record
from syncd.errors import TooLarge
from syncd.journal.codec import (
    FRAME_HEADER_BYTES,
    PAYLOAD_BYTES_MAX,
    SEGMENT_HEADER_BYTES,
    SegmentHeader,
    chain_before,
    decode_record,
    encode_record,
    frame_bytes,
    payload_at,
    segment_header_bytes,
    stated_segment_header,
)
from tests.journal.samples import sample_record


@pytest.mark.parametrize("position", [1, 49, 50, 2**63])
def test_a_record_survives_its_frame(position: int) -> None:
    record = sample_record(position)
    frame, chain = frame_bytes(encode_record(record), record.position, chain=77)
    assert decode_record(payload_at(frame, 0)) == record
    assert chain_before(frame, len(frame)) == chain


def test_a_segment_header_survives_and_ends_in_the_chain() -> None:
    header = SegmentHeader(segment=7, first_position=4711, chain=0xDEADBEEF)
    block = segment_header_bytes(header)
    assert len(block) == SEGMENT_HEADER_BYTES
    assert stated_segment_header(block) == header
    assert chain_before(block, len(block)) == 0xDEADBEEF


def test_the_bytes_of_the_first_format_never_change() -> None:
    """A journal written today is read by every later version: docs/journal.md, "Compatibility"."""
    frame, chain = frame_bytes(b"{}", position=3, chain=1)
    assert frame.hex() == "f5d101810200000003000000000000005783dbee7b7d70febfcd"
    assert chain == 0xCDBFFE70
    header = segment_header_bytes(SegmentHeader(2, 3, 4))
    assert header.hex() == "73796e63642d6a6c01000000020000000300000000000000bd64b38204000000"


def test_position_kind_length_payload_and_the_chain_before_all_enter_the_chain() -> None:
    payload = b'{"a":1}'
    chains = {
        frame_bytes(payload, 1, 0)[1],
        frame_bytes(payload, 2, 0)[1],
        frame_bytes(payload, 1, 1)[1],
        frame_bytes(payload, 1, 0, kind=0x02)[1],
        frame_bytes(b'{"a":2}', 1, 0)[1],
        frame_bytes(b'{"a":1} ', 1, 0)[1],
    }
    assert len(chains) == 6


def test_a_record_above_the_limit_is_refused_with_both_sizes() -> None:
    record = Record(1, "org", 0.0, "agent", "t", (DaemonBorn("x" * PAYLOAD_BYTES_MAX),))
    with pytest.raises(TooLarge, match=rf"1677\d+ bytes.*at most {PAYLOAD_BYTES_MAX}"):
        encode_record(record)


def test_a_frame_costs_24_bytes() -> None:
    assert len(frame_bytes(b"", 1, 0)[0]) == FRAME_HEADER_BYTES + 4 == 24
