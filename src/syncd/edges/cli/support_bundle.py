"""`im support-bundle`: one file to attach to a bug report, made of what ``allowed.py`` allows and of nothing else.

It asks the daemon what any reader may ask, and reads the files of this machine as far as this user may. Where one of
them cannot be had, the bundle says so and has the rest.
"""

import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec
from cyclopts import Parameter
from msgspec import Struct
from msgspec.structs import replace

from syncd import __version__
from syncd.edges.cli import allowed, bundle_files
from syncd.edges.cli.client import Json, Listing, RequestRefused, path_of
from syncd.edges.cli.discretion import decoded, samples, shown_as
from syncd.edges.cli.journal import default_folder
from syncd.edges.cli.session import Flag, Injected, Session
from syncd.edges.cli.transport import Unreachable
from syncd.errors import BadConfig, JournalRefused, SyncdError
from syncd.seams import Disk, SystemDisk

T = TypeVar("T")

CONFLICTS_MAX: Final = 200
LETTERS_MAX: Final = 200
RUNS_MAX: Final = 20
INCIDENTS_MAX: Final = 50
NOTES_MAX: Final = 100
NOT_FOUND: Final = 404
STRANGE: Final = "what the daemon answers is not what this im understands"


class Versions(Struct, frozen=True):
    """Of what `im` runs on; the daemon tells its own."""

    im: str
    python: str
    os: str
    kernel: str
    machine: str


class Integration(Struct, frozen=True, kw_only=True):
    """All about one of them."""

    settings: allowed.Settings
    sync_status: allowed.SyncStatus | None
    ownership: list[allowed.Ownership]
    mapping: list[allowed.Mapping]
    schedule: allowed.Schedule | None
    runs: list[allowed.Run]
    last_import: allowed.Import | None
    dead_letters: list[allowed.DeadLetter]


class Incident(Struct, frozen=True, kw_only=True):
    """One that a conflict or a dead letter names."""

    incident: allowed.Incident
    notes: list[allowed.Note]
    fields: list[allowed.FieldExplained]


class Bundle(Struct, frozen=True, kw_only=True):
    """``left_out``: what could not be had, and why; ``text_included``: whether it has more than lengths and marks."""

    format: str
    made_at: str
    text_included: bool
    left_out: list[str]
    versions: Versions
    settings: bundle_files.DaemonSettings | None
    daemon: allowed.Daemon | None
    integrations: list[Integration]
    conflicts: list[allowed.Conflict]
    incidents: list[Incident]
    keys: allowed.Keys | None
    files: bundle_files.Found | None
    metrics: list[str]


def support_bundle(
    *,
    output: Annotated[
        str | None, Parameter(help="Where to write it; without it, a new file in this folder.", show_default=False)
    ] = None,
    include_text: Annotated[
        Flag, Parameter(help="With titles, notes, values, names and ServiceNow's words; else their lengths alone.")
    ] = False,
    session: Injected,
) -> int:
    """Write one JSON file about the daemon, its integrations and its journal, to attach to a bug report.

    It has no credentials, and no text of incidents unless --include-text asks for it: ids, stamps, counts, settings,
    host names and handles. Works without a daemon, too, from the files that this user may read.

    Example: im support-bundle --output bundle.json
    """
    at = datetime.fromtimestamp(session.now_s, UTC)
    path = Path(output or f"syncd-support-bundle-{at:%Y%m%dT%H%M%SZ}.json")
    bundle = _Collector(session, SystemDisk()).bundle(at, with_text=include_text)
    block = msgspec.json.encode(bundle, enc_hook=shown_as(session.world.new_key(), with_text=include_text))
    _write(path, msgspec.json.format(block, indent=1) + b"\n")
    told: dict[str, Json] = {
        "path": str(path.absolute()),
        "bytes": path.stat().st_size,
        "text_included": include_text,
        "left_out": list(bundle.left_out),
    }

    def lines() -> Iterator[str]:
        yield f"written to {told['path']}, {told['bytes']} bytes, readable by you alone"
        yield from (f"not in it: {one}" for one in bundle.left_out)
        what = (
            "it has text of incidents, names and ServiceNow's words" if include_text else "it has no text of incidents"
        )
        yield f"{what}; look through it before you send it"

    session.confirm(msgspec.json.encode(told), lambda: list(lines()))
    return 0


class _Collector:
    """Asks what there is to ask, and keeps in mind what could not be had."""

    def __init__(self, session: Session, disk: Disk) -> None:
        self._session = session
        self._disk = disk
        self._left_out: list[str] = []
        self._is_up = True
        self._stored: bundle_files.Stored | None = None

    def bundle(self, at: datetime, *, with_text: bool) -> Bundle:
        """All of it."""
        daemon = self._one("/api/v1/status", allowed.Daemon)
        files = self._files()
        conflicts = self._many("/api/v1/conflicts", allowed.Conflict, CONFLICTS_MAX)
        integrations = [self._integration(one) for one in self._many("/api/v1/integrations", allowed.Settings, None)]
        return Bundle(
            format=allowed.FORMAT,
            made_at=at.isoformat().replace("+00:00", "Z"),
            text_included=with_text,
            versions=_versions(),
            settings=self._settings(),
            daemon=daemon,
            integrations=integrations,
            conflicts=conflicts,
            incidents=list(self._incidents(conflicts, integrations)),
            keys=self._one("/api/v1/keys", allowed.Keys),
            files=files,
            metrics=samples((self._body("/metrics") or b"").decode("utf-8", "replace")),
            left_out=self._left_out,
        )

    def _integration(self, one: allowed.Settings) -> Integration:
        base = path_of("integrations", one.id)
        return Integration(
            settings=one,
            sync_status=self._one(f"{base}/sync-status", allowed.SyncStatus),
            ownership=self._one(f"{base}/field-ownership", list[allowed.Ownership]) or [],
            mapping=self._one(f"{base}/field-mapping", list[allowed.Mapping]) or [],
            schedule=self._one(f"{base}/reconcile/schedule", allowed.Schedule),
            runs=self._many(f"{base}/reconcile/history", allowed.Run, RUNS_MAX),
            last_import=self._one(f"{base}/import", allowed.Import),
            dead_letters=self._many(f"{base}/dlq", allowed.DeadLetter, LETTERS_MAX),
        )

    def _incidents(
        self, conflicts: Sequence[allowed.Conflict], integrations: Sequence[Integration]
    ) -> Iterator[Incident]:
        """Those that a pending conflict or a dead letter names."""
        named = [one.incident_id for one in conflicts if one.status == "pending"]
        named += [letter.incident_id for one in integrations for letter in one.dead_letters if letter.incident_id]
        names = list(dict.fromkeys(named))
        if len(names) > INCIDENTS_MAX:
            self._left_out.append(f"{len(names) - INCIDENTS_MAX} incidents that a conflict or a dead letter names")
        for name in names[:INCIDENTS_MAX]:
            base = path_of("incidents", name)
            found, explained = self._one(base, allowed.Incident), self._one(f"{base}/explain", allowed.Explanation)
            if found is not None:
                notes = self._many(f"{base}/notes", allowed.Note, NOTES_MAX)
                yield Incident(incident=found, notes=notes, fields=[] if explained is None else explained.fields)

    def _one(self, path: str, shape: type[T]) -> T | None:
        """An answer, cut down to ``shape``; None where there is none."""
        return self._read(path, self._body(path), shape)

    def _body(self, path: str) -> bytes | None:
        if self._stored is not None:
            return self._stored.get(path)
        answer = self._asked(path, lambda: self._session.client.get(path, accept="*/*"))
        return None if answer is None else answer.body

    def _many(self, path: str, shape: type[T], most: int | None) -> list[T]:
        """The items of a list, each cut down to ``shape``; what ``most`` leaves of it is told."""
        if self._stored is not None:
            items = self._read(path, self._stored.get(path), list[msgspec.Raw]) or []
            listing: Listing | None = Listing(items[:most], more=len(items) > len(items[:most]))
        else:
            listing = self._asked(path, lambda: self._session.client.pages(path, {}, limit=most))
        if listing is None:
            return []
        if listing.more:
            self._left_out.append(f"{path}: all but {most}")
        found = (self._read(path, bytes(one), shape) for one in listing.items)
        return [one for one in found if one is not None]

    def _asked(self, path: str, ask: Callable[[], T]) -> T | None:
        """What the daemon says; None where it has nothing, or nothing for us."""
        if not self._is_up:
            return None
        try:
            return ask()
        except Unreachable as error:
            self._is_up = False
            self._left_out.append(f"what only a running daemon knows: {error}")
        except RequestRefused as error:
            if error.status != NOT_FOUND:
                self._left_out.append(f"{path}: the daemon refused it with {error.status}")
        except SyncdError:  # its words may repeat the answer
            self._left_out.append(f"{path}: {STRANGE}")
        return None

    def _read(self, path: str, body: bytes | None, shape: type[T]) -> T | None:
        if body is None:
            return None
        try:
            return decoded(body, shape)
        except (msgspec.MsgspecError, ValueError, RecursionError):  # its words may repeat the answer
            self._left_out.append(f"{path}: {STRANGE}")
            return None

    def _settings(self) -> bundle_files.DaemonSettings | None:
        if self._is_elsewhere("its settings"):
            return None
        try:
            return bundle_files.settings(self._session.world.environ, self._session.world.user_id)
        except BadConfig:  # its words may repeat a value
            self._left_out.append("the daemon's settings: they are refused; syncd serve says which, and why")
            return None

    def _files(self) -> bundle_files.Found | None:
        """What the state folder tells; without a daemon, State is read from it."""
        if self._is_elsewhere("its files"):
            return None
        try:
            folder = default_folder(self._session)
            if not (folder / "journal").is_dir():
                self._left_out.append(f"the files of the journal: there is none in {folder}")
                return None
            found = bundle_files.look(self._disk, folder)
        except OSError as error:
            self._left_out.append(f"the files of the journal: {error.strerror}; run this as root, or as its user")
            return None
        except SyncdError:
            self._left_out.append("the files of the journal: the settings that say where they are, are refused")
            return None
        if self._is_up:
            return replace(found, last_end=None)  # the daemon tells it
        try:
            self._stored = bundle_files.Stored(self._disk, folder)
        except JournalRefused:
            self._left_out.append("what is in the journal: it was refused")
            return found
        return replace(found, replayed=self._stored.replayed)

    def _is_elsewhere(self, what: str) -> bool:
        server = self._session.options.server or self._session.world.environ.get("INCIDENTS_SERVER")
        if server and not self._session.options.socket:
            self._left_out.append(f"{what}: --server may be another machine; run this on it, without --server")
            return True
        return False


def _versions() -> Versions:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    name = release.get("PRETTY_NAME", sys.platform)
    return Versions(__version__, platform.python_version(), name, platform.release(), platform.machine())


def _write(path: Path, block: bytes) -> None:
    """A new file that only its owner may read."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        hint = "give --output the name of a new file" if isinstance(error, FileExistsError) else "give another --output"
        raise SyncdError(f"{path} cannot be written: {error.strerror}", hint=hint) from error
    try:
        with open(fd, "wb") as file:  # noqa: PTH123 a descriptor, so that it was never wider open
            file.write(block)
    except OSError as error:
        path.unlink()
        raise SyncdError(f"{path} cannot be written: {error.strerror}", hint="give another --output") from error
