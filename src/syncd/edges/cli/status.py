"""`im status`: is the daemon alive, ready to take changes, and how do its integrations do."""

from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import Struct

from syncd.edges.cli.client import Json, path_of, read
from syncd.edges.cli.refresh import Shown, Watches, show
from syncd.edges.cli.render import facts, plain, span, table, tree, when
from syncd.edges.cli.session import Injected
from syncd.edges.cli.sync_status import Spread
from syncd.edges.cli.transport import Answer

_OK: Final = 200


class Journal(Struct, frozen=True):
    """The journal, as far as it is shown in words."""

    position: int = 0
    segments: int = 0
    bytes: int = 0
    disk: str = ""
    commit: Spread | None = None
    replay_s: float = 0.0
    snapshot_at: str | None = None
    scrubbed_at: str | None = None


class End(Struct, frozen=True):
    """How the daemon ended before this start."""

    at: str | None = None
    code: int | None = None
    reason: str = ""


class Line(Struct, frozen=True):
    """How one integration does."""

    handle: str = ""
    state: str = ""
    reason: str | None = None
    links: int = 0
    outbox: int = 0


class Daemon(Struct, frozen=True):
    """How the daemon does."""

    version: str = ""
    started_at: str | None = None
    uptime_s: float = 0.0
    last_end: End | None = None
    state: str = ""
    reasons: list[str] = []
    incidents: int = 0
    journal: Journal = Journal()
    integrations: list[Line] = []
    restarts: int = 0


def status(*, watch: Watches = False, session: Injected) -> int:
    """Show whether the daemon is alive and ready, its journal, and its integrations.

    Exit code 1 when it is not ready.

    Example: im status --watch
    """

    def look() -> Shown:
        health = session.client.ask("GET", "/health")
        ready = session.client.ask("GET", "/ready")
        told = session.client.ask("GET", path_of("status"))
        is_ready = health.status == ready.status == _OK
        verdict: dict[str, Json] = {
            "ready": is_ready,
            "health": _said(health),
            "readiness": _said(ready),
            "daemon": _said(told),
        }
        body = msgspec.json.encode(verdict)
        daemon = read(told.body, Daemon) if told.status == _OK else None
        return Shown(body, lambda now_s: _text(verdict, daemon, now_s), 0 if is_ready else 1)

    return show(session, look, watches=watch)


def _text(verdict: dict[str, Json], daemon: Daemon | None, now_s: float) -> str:
    if daemon is None:
        return facts(tree(verdict, now_s))
    ready = plain(verdict["ready"], now_s)
    why = [] if verdict["ready"] else list(tree({"readiness": verdict["readiness"]}, now_s))
    text = facts([("ready", ready), *why, *_facts(daemon, now_s)])
    if not daemon.integrations:
        return f"{text}\n\nno integrations; make one: im integration configure"
    rows = ([one.handle, one.state, str(one.links), str(one.outbox), one.reason] for one in daemon.integrations)
    return f"{text}\n\n{table(['INTEGRATION', 'STATE', 'LINKS', 'WAITING', 'WHY'], rows, wraps=True)}"


def _facts(daemon: Daemon, now_s: float) -> Iterator[tuple[str, str | None]]:
    journal = daemon.journal
    yield "state", daemon.state
    if daemon.reasons:
        yield "reasons", "\n".join(daemon.reasons)
    yield "version", daemon.version
    yield "started", when(daemon.started_at, now_s)
    if (end := daemon.last_end) is not None:
        code = f"exit code {end.code}: " if end.code else ""
        yield "last end", f"{when(end.at, now_s)}: {code}{end.reason}"
    yield "incidents", str(daemon.incidents)
    files = "1 file" if journal.segments == 1 else f"{journal.segments} files"
    yield "journal", f"position {journal.position}, {journal.bytes / 1e6:.1f} MB in {files}"
    speed = ""
    if journal.commit is not None:
        speed = f"; a write takes {span(journal.commit.p50)}, one of a hundred {span(journal.commit.p99)} or more"
    yield "disk", f"{journal.disk}{speed}"
    yield "verified", when(journal.scrubbed_at, now_s) or "not yet by this process"
    yield "snapshot", when(journal.snapshot_at, now_s) or "none by this process"
    yield "start took", span(journal.replay_s)
    yield "actor restarts", str(daemon.restarts)


def _said(answer: Answer) -> Json:
    """The body, or the bare status where something else than the daemon answered."""
    try:
        said: Json = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return f"HTTP {answer.status} {answer.reason}".rstrip()
    return said
