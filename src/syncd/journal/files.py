"""Which files the journal is, what they are called, and the small one beside it: the watermark.

    <state>/journal/00000001.log ...   the segments, and nothing else
    <state>/watermark                  how far the journal was known to reach: a shorter one was cut by somebody else
    <state>/lock                       held by the one process that may write
    <state>/life.json                  how the daemon last ended, for people (``syncd/lives.py``)
    <state>/snapshot-000000000004711   State as of position 4711 (``snapshot.py``)
    <state>/torn-00000003-4711         what a crash left behind byte 4711 of segment 3, kept for a person to look at

The watermark is replaced atomically (temporary file, sync, rename, sync of the folder), so no crash leaves half of
one. One that cannot be read is therefore damage, and refused like any other; a missing one only means that nothing is
known.
"""

import re
from pathlib import Path
from zlib import crc32

import msgspec
from msgspec import Struct

from syncd.errors import JournalRefused
from syncd.seams import Disk

WATERMARK_FORMAT = 1

_SEGMENT_NAME = re.compile(r"[0-9]{8}\.log")


class Watermark(Struct, frozen=True):
    """The journal holds ``position`` (0: none yet), and its frame ends at ``offset`` of ``segment`` with ``chain``."""

    segment: int
    offset: int
    position: int
    chain: int


class _StoredWatermark(Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    watermark: Watermark
    crc: int


def journal_folder(folder: Path) -> Path:
    """``<state>/journal``."""
    return folder / "journal"


def watermark_path(folder: Path) -> Path:
    """``<state>/watermark``."""
    return folder / "watermark"


def lock_path(folder: Path) -> Path:
    """``<state>/lock``."""
    return folder / "lock"


def segment_path(folder: Path, segment: int) -> Path:
    """``<state>/journal/00000001.log`` for segment 1."""
    return journal_folder(folder) / f"{segment:08d}.log"


def segment_numbers(disk: Disk, folder: Path) -> list[int]:
    """The segments in the state folder, in order, without a gap; ``JournalRefused`` if there is one.

    Other names are left alone. The first may be any: history that snapshots cover is removed (``keeper.py``).
    """
    numbers = all_segment_numbers(disk, folder)
    for wanted, found in enumerate(numbers, start=numbers[0] if numbers else 1):
        if wanted != found:
            raise missing_segment(folder, wanted, numbers[-1])
    return numbers


def all_segment_numbers(disk: Disk, folder: Path) -> list[int]:
    """The segments in the state folder, in order, whatever lies between them."""
    names = [name for name in disk.names(journal_folder(folder)) if _SEGMENT_NAME.fullmatch(name)]
    return sorted(int(name.removesuffix(".log")) for name in names)


def missing_segment(folder: Path, wanted: int, last: int) -> JournalRefused:
    """The refusal of a journal with a gap."""
    return JournalRefused(
        f"segment {segment_path(folder, wanted)} is missing, while segment {last} is there",
        hint="nothing was changed; put the segment back from a backup (docs/journal.md)",
    )


def watermark_bytes(watermark: Watermark) -> bytes:
    """The whole file."""
    crc = crc32(msgspec.json.encode(watermark))
    return msgspec.json.encode(_StoredWatermark(WATERMARK_FORMAT, watermark, crc)) + b"\n"


def read_watermark(disk: Disk, folder: Path) -> Watermark | None:
    """The watermark, None if there is no file. Raises ``JournalRefused`` for anything that we did not write."""
    path = watermark_path(folder)
    try:
        block = disk.read(path)
    except FileNotFoundError:
        return None
    try:
        watermark = msgspec.json.decode(block, type=_StoredWatermark).watermark
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        watermark = None
    if watermark is None or watermark_bytes(watermark) != block:
        raise JournalRefused(
            f"{path} cannot be read: damaged at byte 0, or from a newer version",
            hint="nothing was changed; put it back from a backup, or remove it once `im journal info` shows that the "
            "journal reaches as far as it should (docs/journal.md)",
        )
    return watermark
