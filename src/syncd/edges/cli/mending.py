"""What `im journal repair` shows and does: the price of a repair, then the repair, with its copies."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from syncd.edges.cli.client import Json, read
from syncd.edges.cli.session import Session
from syncd.errors import AlreadyRunning, SyncdError
from syncd.journal.files import lock_path
from syncd.journal.repair import Plan, carry_out, plan
from syncd.journal.scan import scan
from syncd.seams import Disk, hold_lock


def repair(session: Session, disk: Disk, folder: Path, *, is_meant: bool) -> int:
    """Plan a repair, and carry it out if that ``is_meant``. No daemon may start meanwhile."""
    try:
        lock = hold_lock(lock_path(folder), lock_path(folder))
    except AlreadyRunning as error:
        raise SyncdError(str(error), hint="stop the daemon first: systemctl stop syncd") from error
    try:
        return _repair(session, disk, folder, is_meant=is_meant)
    finally:
        os.close(lock)


def _repair(session: Session, disk: Disk, folder: Path, *, is_meant: bool) -> int:
    before = scan(disk, folder)
    if before.verdict != "refused" and not before.damage:
        session.confirm(
            b'{"verdict":"whole"}', lambda: ["there is nothing to repair: a daemon starts with this journal"]
        )
        return 0
    wanted = plan(disk, folder)
    copies = carry_out(disk, folder, wanted) if is_meant and wanted.is_needed else None
    if copies is not None and (after := scan(disk, folder)).verdict == "refused":
        raise SyncdError(
            f"still refused after the repair: {after.problem}",
            hint=f"the copies are in {copies}; restore a backup (docs/operations.md)",
        )
    told: dict[str, Json] = read(msgspec.json.encode(wanted), dict[str, Json])
    told |= {"verdict": _verdict(wanted, copies), "copies": str(copies) if copies is not None else None}
    session.confirm(msgspec.json.encode(told), lambda: list(_lines(wanted, copies)))
    return 1 if copies is None and wanted.is_needed else 0


def _verdict(wanted: Plan, copies: Path | None) -> str:
    if copies is not None:
        return "repaired"
    return "repairable" if wanted.is_needed else "usable"


def _lines(wanted: Plan, copies: Path | None) -> Iterator[str]:
    yield from (f"found: {words}" for words in wanted.problems)
    yield f"kept: everything that is known up to position {wanted.kept_until}"
    if wanted.lost_until > wanted.kept_until:
        yield f"lost: positions {wanted.kept_until + 1} to {wanted.lost_until}"
        if wanted.lost_incidents:
            yield f"lost records that can still be read speak of: {', '.join(wanted.lost_incidents)}"
    else:
        yield "lost: no record of what is known now"
    yield f"history: kept from position {wanted.history_begins} on"
    if wanted.remains:
        yield "damage to history stays until it is old enough to go; it hinders no start"
    if copies is not None:
        yield f"repaired; what was cut off or removed is in {copies}, with report.json"
        yield "next: start syncd, then im integration reconcile for each integration"
    elif wanted.is_needed:
        yield "nothing was changed; with --yes it is repaired, after a copy of what is cut off or removed"
