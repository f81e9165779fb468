"""How the daemon last ended, for `im status`: ``<state>/life.json``, replaced at each start and each end.

The journal cannot say it: one that was refused takes nothing, and a kill leaves a journal like any other. Only who
holds the state folder's lock writes the file. It is told to people and nothing rests on it: one that is missing, or
cannot be read, only means that nothing is known.
"""

from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from syncd.core.daemon_status import EndView
from syncd.core.views import rfc3339
from syncd.errors import FAULT, JournalFailed, StartRefused, first_of
from syncd.seams import Disk, replace_file

CLEAN: Final = "clean stop"
CUT_OFF: Final = "not stopped: killed, or the machine went down; nothing that was answered is lost"
OWN_FAULT: Final = "an error of our own; the log has it"
REASON_LETTERS_MAX: Final = 500


class Life(Struct, frozen=True):
    """One run of the daemon. ``code``: its exit code, None while it runs, and for ever if it was killed.

    ``position``: where the journal ended with it, as far as it was read; None if it was refused.
    """

    began_at_s: float
    ended_at_s: float | None = None
    code: int | None = None
    reason: str = ""
    position: int | None = None


def life_path(folder: Path) -> Path:
    """``<state>/life.json``."""
    return folder / "life.json"


def read_life(disk: Disk, folder: Path) -> Life | None:
    """The last one on record; None if there is none that can be read."""
    try:
        return msgspec.json.decode(disk.read(life_path(folder)), type=Life)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def write_life(disk: Disk, folder: Path, life: Life) -> None:
    """Replace the record. Raises ``OSError``; the old one is there then."""
    replace_file(disk, life_path(folder), msgspec.json.encode(life) + b"\n")


def ended(began_at_s: float, at_s: float, position: int | None, error: Exception | None = None) -> Life:
    """A run that has come to its end, by itself or by an error."""
    code, reason = 0, CLEAN
    if error is not None:
        known = first_of(error, (StartRefused, JournalFailed))
        code = known.exit_code if isinstance(known, StartRefused) else FAULT
        reason = OWN_FAULT if known is None else str(known)[:REASON_LETTERS_MAX]
    return Life(began_at_s, at_s, code, reason, position)


def last_end(life: Life | None, position: int, at_s: float) -> EndView | None:
    """How the run before this one ended, as it is told; None: not known, as before the first.

    ``position``, ``at_s``: of the journal's newest record at the start of this one. What it has beyond the end on
    record is of a run that could not put itself on record.
    """
    if life is None:
        return None
    is_older = life.position is not None and life.position < position
    if life.ended_at_s is None or is_older:
        return EndView(at=rfc3339(max(life.ended_at_s or life.began_at_s, at_s)), code=None, reason=CUT_OFF)
    return EndView(at=rfc3339(life.ended_at_s), code=life.code, reason=life.reason)
