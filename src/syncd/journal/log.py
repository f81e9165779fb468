"""The log on disk, for its one writer: append a group, rotate, replace the watermark, cut off a torn tail.

Synchronous: the writer calls it through ``Work``, one call at a time. A group is appended by one write and one
``fdatasync`` and is there as a whole or not at all. Two kinds of failure, told apart here and nowhere else:

* no room (``ENOSPC``, ``EDQUOT``, a file-size limit, a short write, too many open files): what was written of the
  group is cut off again, the call says so, and may be repeated;
* anything else, and any failed sync or cut: what is on disk is unknown, and asking again would not tell, because
  Linux may drop the pages of a failed write-back and report success the next time. ``JournalFailed``, and never
  another sync.
"""

import errno
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from syncd.errors import JournalFailed
from syncd.journal.codec import SEGMENT_HEADER_BYTES, SegmentHeader, segment_header_bytes
from syncd.journal.files import (
    Watermark,
    journal_folder,
    segment_path,
    watermark_bytes,
    watermark_path,
)
from syncd.journal.reader import Segment
from syncd.seams import Disk, File

SEGMENT_BYTES_MAX = 64 * 2**20

_NO_ROOM = frozenset(
    (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,  # RLIMIT_FSIZE
        errno.EINTR,
        errno.EAGAIN,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
    )
)


class Place(Struct, frozen=True, gc=False):
    """Where a group begins."""

    segment: int
    offset: int


class Recovered(Struct, frozen=True):
    """A torn tail that was cut off at ``offset`` of the segment ``path``; ``copy`` is None if it had no bytes.

    ``position`` is the last record that was kept. The tail held nothing that anybody was promised, unless somebody
    else cut the file: the affected integrations should be reconciled.
    """

    path: Path
    offset: int
    size_bytes: int
    position: int
    copy: Path | None
    problem: str


class Log:
    """The open end of the journal. ``end`` is durable: it moves only after a sync."""

    def __init__(self, disk: Disk, folder: Path, end: Watermark, file: File, segment_bytes_max: int) -> None:
        self._disk = disk
        self._folder = folder
        self._file = file
        self._segment_bytes_max = segment_bytes_max
        self.end = end

    def append(self, block: bytes, position: int, chain: int) -> Place | None:
        """Append whole frames that end in ``position`` and ``chain``; None if there is no room.

        Raises ``JournalFailed``.
        """
        end = self.end
        if end.offset > SEGMENT_HEADER_BYTES and end.offset + len(block) > self._segment_bytes_max:
            if not self._rotate():
                return None
            end = self.end
        if not self._write(self._file, block, end.offset):
            return None
        try:
            self._file.sync()
        except OSError as error:
            # Nobody was promised this group, and the page cache would show it, whole and clean, to the next life.
            with suppress(OSError):
                self._file.truncate(end.offset)
            raise _failed(segment_path(self._folder, end.segment), "sync", error) from error
        self.end = Watermark(end.segment, end.offset + len(block), position, chain)
        return Place(end.segment, end.offset)

    def mark(self) -> bool:
        """Replace the watermark by ``end``. False if there is no room: the old one stays. Raises ``JournalFailed``."""
        path = watermark_path(self._folder)
        draft = path.with_name(f"{path.name}.new")
        block = watermark_bytes(self.end)
        is_written = False
        try:
            if draft.name in self._disk.names(self._folder):
                self._disk.unlink(draft)  # an earlier try found no room, or was ended by a crash
            file = self._disk.open_append(draft, create=True)
            try:
                if file.write(block) < len(block):
                    return False
                is_written = True
                file.sync()
            finally:
                file.close()
            self._disk.rename(draft, path)
        except OSError as error:
            if error.errno in _NO_ROOM and not is_written:
                return False
            raise _failed(path, "replace", error) from error
        try:
            self._disk.sync_folder(self._folder)
        except OSError as error:
            raise _failed(self._folder, "sync", error) from error
        return True

    def close(self) -> None:
        """Let go of the file. Everything in it that matters has been synced, so a failure here changes nothing."""
        with suppress(OSError):
            self._file.close()

    def _rotate(self) -> bool:
        end = self.end
        header = SegmentHeader(end.segment + 1, end.position + 1, end.chain)
        file = _new_segment(self._disk, self._folder, header)
        if file is None:
            return False
        self.close()
        self._file = file
        self.end = Watermark(header.segment, SEGMENT_HEADER_BYTES, end.position, end.chain)
        return True

    def _write(self, file: File, block: bytes, size_bytes: int) -> bool:
        path = segment_path(self._folder, self.end.segment)
        try:
            if file.write(block) == len(block):
                return True
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise _failed(path, "write", error) from error
        try:
            file.truncate(size_bytes)  # else the next group would turn this torn tail into damage
        except OSError as error:
            raise _failed(path, "truncate", error) from error
        return False


def open_log(disk: Disk, folder: Path, last: Segment | None, segment_bytes_max: int = SEGMENT_BYTES_MAX) -> Log:
    """Open the end of the journal for appending; ``last`` is its last whole segment, None for a new journal.

    What is in the files may so far be in the page cache only (a killed process leaves it there), and the daemon is
    about to answer from it: so the last segment and its folder are synced first. Raises ``JournalFailed``.
    """
    try:
        if last is None:
            if journal_folder(folder).name not in disk.names(folder):
                disk.make_folder(journal_folder(folder))
                with suppress(PermissionError):  # the folder above need not be ours; then it was there before us
                    disk.sync_folder(folder.parent)
            header = SegmentHeader(segment=1, first_position=1, chain=0)
            file = _new_segment(disk, folder, header)
            if file is None:
                raise JournalFailed(
                    f"there is no room for {segment_path(folder, 1)}", hint="free some space or some file descriptors"
                )
            end = Watermark(1, SEGMENT_HEADER_BYTES, 0, 0)
        else:
            file = disk.open_append(last.path)
            walked = last.walked
            end = Watermark(last.number, walked.offset, walked.position, walked.chain)
            file.sync()
        disk.sync_folder(journal_folder(folder))
        disk.sync_folder(folder)
    except OSError as error:
        raise _failed(journal_folder(folder), "open", error) from error
    return Log(disk, folder, end, file, segment_bytes_max)


def cut_torn_tail(disk: Disk, folder: Path, segment: Segment) -> Recovered | None:
    """Copy the torn tail of the last segment aside, durably, and only then cut it off; None if there is none.

    A segment of which not even the header is whole is removed: the one before it is then the last. Raises ``OSError``.
    """
    fault = segment.walked.fault
    if fault is None:
        return None
    torn = segment.block[fault.offset :]
    copy = _keep_copy(disk, folder, f"torn-{segment.number:08d}-{fault.offset}", torn) if torn else None
    if fault.offset == 0:
        disk.unlink(segment.path)  # open_log syncs the folder; until then the stump would only be removed once more
    else:
        file = disk.open_append(segment.path)
        try:
            file.truncate(fault.offset)
            file.sync()
        finally:
            file.close()
    return Recovered(segment.path, fault.offset, len(torn), fault.position, copy, fault.problem)


def _keep_copy(disk: Disk, folder: Path, name: str, torn: bytes) -> Path:
    taken = set(disk.names(folder))
    path, number = folder / name, 1
    while path.name in taken and disk.read(path) != torn:  # from another crash at the same place, or half a copy
        number += 1
        path = folder / f"{name}-{number}"
    file = disk.open_append(path, create=path.name not in taken)
    try:
        if path.name not in taken and file.write(torn) < len(torn):
            raise OSError(errno.ENOSPC, "no room for a copy of the torn tail", str(path))
        file.sync()
    except OSError:
        with suppress(OSError):
            disk.unlink(path)
        raise
    finally:
        file.close()
    disk.sync_folder(folder)
    return path


def _new_segment(disk: Disk, folder: Path, header: SegmentHeader) -> File | None:
    """A new segment, durable with its header and its name; None, and no file, if there is no room."""
    path = segment_path(folder, header.segment)
    block = segment_header_bytes(header)
    try:
        file = disk.open_append(path, create=True)
    except OSError as error:
        if error.errno in _NO_ROOM:
            return None
        raise _failed(path, "create", error) from error
    try:
        room = file.write(block) == len(block)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise _failed(path, "write", error) from error
        room = False
    try:
        if room:
            file.sync()
            disk.sync_folder(path.parent)
            return file
        file.close()
        disk.unlink(path)
    except OSError as error:
        with suppress(OSError):  # else the page cache would show the next life a header that is not on disk
            disk.unlink(path)
        raise _failed(path, "sync" if room else "remove", error) from error
    return None


def _failed(path: Path, verb: str, error: OSError) -> JournalFailed:
    return JournalFailed(
        f"cannot {verb} {path}: {error.strerror or error}",
        hint="look at the disk and the kernel's log, then start again: the journal is read anew, and nothing that was "
        "answered is lost",
    )
