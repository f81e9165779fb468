"""Snapshots: State as of a position, so that a start need not read all that ever happened.

    <state>/snapshot-000000000004711     State after position 4711, in frames like those of the journal
    <state>/snapshot-….new               one that is being written, or that a crash left

    snapshot = magic "syncd-sn"(8) format(u16) zero(u16) zero(u32) position(u64) | crc(u32) | zero(u32), frames
    frames   = head, rows of one table, rows, ..., end                         (numbered 1, 2, ...)

A snapshot has its name only when all of it is on disk. ``Head.end`` says where in the log its position ends, by the
chain that stands there, so that a snapshot of another journal does not fit. One that another version wrote for another
shape of State is read as far as that goes: fields that it has not got their defaults. A newer one's is refused.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from struct import Struct as Layout
from typing import TypeVar
from zlib import crc32

import msgspec
from msgspec import Struct

from syncd import __version__
from syncd.core.capture import Captured, Restoring, shape
from syncd.core.state import State
from syncd.journal.codec import NUMBER, frame_bytes
from syncd.journal.files import Watermark
from syncd.journal.pieces import Piece, pieces
from syncd.journal.walk import Fault, JournalDamaged
from syncd.seams import Disk, File

FORMAT = 1
MAGIC = b"syncd-sn"
HEADER_BYTES = 32
CHUNK_BYTES = 128 * 1024  # some 0.5 ms of encoding, which is how long the loop may have to wait for its turn
SYNC_BYTES = 8 * 2**20  # so that no sync of the journal stands behind hundreds of megabytes

_HEADER = Layout("<8sHHIQ")
_NAME = re.compile(r"snapshot-([0-9]{15})")

_encoder = msgspec.json.Encoder()

T = TypeVar("T")


class Head(Struct, frozen=True):
    """The first frame. ``version``, ``shape``: who wrote it, for which shape of State."""

    position: int
    at_s: float
    end: Watermark
    version: str
    shape: str
    scalars: dict[str, int | float | str]

    @property
    def is_same_shape(self) -> bool:
        """State was then what it is now."""
        return self.shape == shape()

    @property
    def is_newer(self) -> bool:
        """A later version wrote it."""
        return _release(self.version) > _release(__version__)


class _End(Struct, frozen=True):
    """The last frame: so many rows stand before it."""

    rows: int


class _Chunk(Struct, frozen=True, array_like=True):
    """Rows of one table; they are decoded when it is known which."""

    part: str
    of: str
    rows: msgspec.Raw


_heads = msgspec.json.Decoder(Head)
_ends = msgspec.json.Decoder(_End)
_chunks = msgspec.json.Decoder(_Chunk)


def snapshot_path(folder: Path, position: int) -> Path:
    """``<state>/snapshot-000000000004711`` for position 4711."""
    return folder / f"snapshot-{position:015d}"


def snapshot_positions(disk: Disk, folder: Path) -> list[int]:
    """The snapshots that are there, whole or not, newest first."""
    found = (_NAME.fullmatch(name) for name in disk.names(folder))
    return sorted((int(match[1]) for match in found if match is not None), reverse=True)


class Draft:
    """A snapshot that is being written: ``step`` until that says False, then ``finish``; or ``abandon``.

    Each call is short and synchronous, for ``Work``. Any ``OSError`` means: abandon it.
    """

    def __init__(self, disk: Disk, folder: Path, captured: Captured, end: Watermark) -> None:
        self.position = captured.position
        self.size_bytes = 0
        self._disk, self._folder = disk, folder
        self._path = snapshot_path(folder, captured.position)
        self._draft = self._path.with_name(f"{self._path.name}.new")
        self._head = Head(captured.position, captured.at_s, end, __version__, shape(), captured.scalars)
        self._blocks = _blocks(captured)
        self._file: File | None = None
        self._unsynced_bytes = 0
        self._number = 0
        self._chain = 0

    def step(self) -> bool:
        """Write the next rows. False when there are no more."""
        if self._file is None:
            for name in self._disk.names(self._folder):
                if name.endswith(".new") and _NAME.fullmatch(name.removesuffix(".new")):
                    self._disk.unlink(self._folder / name)
            self._file = self._disk.open_append(self._draft, create=True)
            self._write(_header_bytes(self.position))
            self._frame(_encoder.encode(self._head))
            return True
        block = next(self._blocks, None)
        if block is not None:
            self._frame(block)
        return block is not None

    def finish(self) -> None:
        """Give it its name, durably."""
        if self._file is None:
            raise ValueError("nothing was written")
        self._file.sync()
        self._file.close()
        self._disk.rename(self._draft, self._path)
        self._disk.sync_folder(self._folder)

    def abandon(self) -> None:
        """Leave nothing behind, as far as the disk allows."""
        with suppress(OSError):
            if self._file is not None:
                self._file.close()
        with suppress(OSError):
            self._disk.unlink(self._draft)

    def _frame(self, payload: bytes) -> None:
        self._number += 1
        frame, self._chain = frame_bytes(payload, self._number, self._chain)
        self._write(frame)

    def _write(self, block: bytes) -> None:
        if self._file is None or self._file.write(block) < len(block):
            raise OSError(errno.ENOSPC, "no room for a snapshot", str(self._draft))
        self.size_bytes += len(block)
        self._unsynced_bytes += len(block)
        if self._unsynced_bytes >= SYNC_BYTES:
            self._file.sync()
            self._unsynced_bytes = 0


def read_head(disk: Disk, folder: Path, position: int) -> Head:
    """What a snapshot is of. Raises ``JournalDamaged`` if its beginning is not whole."""
    path = snapshot_path(folder, position)
    for piece in _pieces(disk, path, position):
        return _decoded(_heads, path, piece, next(piece.payloads()))
    raise JournalDamaged(path, Fault("damaged", HEADER_BYTES, 0, "a snapshot without a head"))


def check(disk: Disk, folder: Path, position: int) -> Iterator[int]:
    """Verify a snapshot in steps, and say how many bytes each was. Raises ``JournalDamaged``."""
    path = snapshot_path(folder, position)
    last = b""
    for piece in _pieces(disk, path, position):
        for payload in piece.payloads():
            last = bytes(payload[:8])
        yield piece.walked.offset
    if last != b'{"rows":':
        raise JournalDamaged(path, Fault("damaged", disk.size(path), 0, "a snapshot without an end"))


def load(disk: Disk, folder: Path, position: int) -> tuple[Head, State]:
    """A snapshot and its State. Raises ``JournalDamaged`` unless all of it is whole and understood."""
    path = snapshot_path(folder, position)
    head: Head | None = None
    restoring: Restoring | None = None
    rows = 0
    end: _End | None = None
    for piece in _pieces(disk, path, position):
        for payload in piece.payloads():
            if restoring is None:
                head = _decoded(_heads, path, piece, payload)
                restoring = Restoring(head.scalars)
            elif bytes(payload[:1]) == b"{":
                end = _decoded(_ends, path, piece, payload)
            else:
                chunk = _decoded(_chunks, path, piece, payload)
                try:
                    rows += restoring.add(chunk.part, chunk.of, chunk.rows)
                except msgspec.MsgspecError as error:
                    raise JournalDamaged(path, Fault("newer", piece.offset, 0, str(error))) from error
    if head is None or restoring is None or end is None or end.rows != rows or head.position != position:
        raise JournalDamaged(path, Fault("damaged", disk.size(path), 0, "a snapshot that is not all there"))
    return head, restoring.finish()


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"[0-9]+", version)[:3])


def _blocks(captured: Captured) -> Iterator[bytes]:
    """The frames behind the head: rows of each table, at most about ``CHUNK_BYTES`` of them; then the end."""
    count = 0
    for table in captured.tables:
        names = _encoder.encode((table.part, table.of))[:-1]
        lines: list[bytes] = []
        size_bytes = 0
        is_begun = False
        for line in table.lines():
            lines.append(line)
            size_bytes += len(line)
            count += 1
            if size_bytes >= CHUNK_BYTES:
                yield b"%b,[%b]]" % (names, b",".join(lines))
                is_begun, lines, size_bytes = True, [], 0
        if lines or not is_begun:  # an empty table is a table
            yield b"%b,[%b]]" % (names, b",".join(lines))
    yield _encoder.encode(_End(count))


def _header_bytes(position: int) -> bytes:
    fields = _HEADER.pack(MAGIC, FORMAT, 0, 0, position)
    return fields + NUMBER.pack(crc32(fields)) + bytes(4)


def _pieces(disk: Disk, path: Path, position: int) -> Iterator[Piece]:
    found = disk.read(path, 0, HEADER_BYTES)
    if found != _header_bytes(position):
        is_newer = found[:8] == MAGIC and len(found) >= 10 and int.from_bytes(found[8:10], "little") > FORMAT
        kind, problem = "newer" if is_newer else "damaged", "a format of its own" if is_newer else "no header of it"
        raise JournalDamaged(path, Fault(kind, 0, 0, problem))  # type: ignore[arg-type]
    return pieces(disk, path, HEADER_BYTES, disk.size(path), 0, 0)


def _decoded(decoder: "msgspec.json.Decoder[T]", path: Path, piece: Piece, payload: memoryview) -> T:
    try:
        return decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise JournalDamaged(path, Fault("newer", piece.offset, 0, str(error))) from error
