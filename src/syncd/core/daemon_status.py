"""The daemon as a whole: its version, its journal, and one line for each integration. A view, as ``status.py`` is."""

from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

from syncd.core.status import Spread, StatusView
from syncd.core.views import Time

FULL: Final = (
    "the disk of the state folder is full: nothing new is taken, and nothing is lost; make room, and it goes on by "
    'itself; see docs/operations.md, "The disk is full"'
)

SILENT: Final = (
    "the disk of the state folder does not answer: nothing new is taken, and nothing is lost; when it answers, it goes "
    'on by itself; see docs/operations.md, "The disk does not answer"'
)


class Condition(Struct, frozen=True):
    """How the journal's files are, as far as its keeper knows. ``damage``: what the last scrub found, a sentence each.

    Times are 0, and positions too, where it has not happened in this process. ``failure``: why there is no newer
    snapshot, empty when all is well.
    """

    snapshot_position: int = 0
    snapshot_at_s: float = 0.0
    snapshot_bytes: int = 0
    failure: str = ""
    damage: tuple[str, ...] = ()
    scrubbed_at_s: float = 0.0
    scrubbed_bytes: int = 0


class JournalView(Struct, frozen=True, kw_only=True):
    """The journal. `position`: the newest record, `durable_position`: the newest on disk.

    `disk`: `full` has no room, `silent` does not answer; either way nothing is taken until that ends.
    `commit`: seconds until a group of records was on disk, in the last 15 minutes. `replay_s`: how long the start took
    to read what was there. `snapshot_at`, `scrubbed_at`: when this process last wrote a snapshot, and last verified all
    that is kept; `snapshot_failure`: why there is no newer one; `damage`: what that found, which should be nothing.
    """

    position: int
    durable_position: int
    oldest_position: int
    segments: int
    bytes: int
    disk: Literal["ok", "full", "silent"]
    commit: Spread | None
    replay_s: float
    snapshot_at: Time | None
    snapshot_failure: str | None
    scrubbed_at: Time | None
    damage: list[str]


class EndView(Struct, frozen=True, kw_only=True):
    """How the daemon ended before this start. `code`: its exit code; null if it was killed or the machine went down.

    `at` is then the last that is known of it.
    """

    at: Time
    code: int | None
    reason: str


class IntegrationLine(Struct, frozen=True):
    """How one integration does, in a line. `reason`: the worst one, null when there is none."""

    id: str
    handle: str
    state: str
    reason: str | None
    links: int
    outbox: int


class DaemonView(Struct, frozen=True, kw_only=True):
    """How the daemon does. `restarts`: how often actors were started again, since its start, in all integrations.

    `last_end`: how the run before this one ended; null if that is not known.
    """

    version: str
    started_at: Time
    uptime_s: float
    last_end: EndView | None
    state: Literal["healthy", "degraded"]
    reasons: list[str]
    incidents: int
    journal: JournalView
    integrations: list[IntegrationLine]
    restarts: int


def line(one: StatusView) -> IntegrationLine:
    """An integration's sync status, in a line."""
    reason = one.reasons[0] if one.reasons else None
    return IntegrationLine(one.integration_id, one.handle, one.state, reason, one.links["total"], one.queue.outbox)


def reasons(statuses: Sequence[StatusView], journal: JournalView) -> list[str]:
    """Why the daemon as a whole is not well; empty when it is."""
    found = {"full": [FULL], "silent": [SILENT]}.get(journal.disk, [])
    found += [f"the journal is damaged: {words}; run: im journal verify" for words in journal.damage]
    if journal.snapshot_failure:
        found.append(f'{journal.snapshot_failure}; see docs/operations.md, "The disk is full"')
    found += [
        f"{one.handle} is {one.state}; see: im integration sync-status {one.handle}"
        for one in statuses
        if one.state != "healthy"
    ]
    return found
