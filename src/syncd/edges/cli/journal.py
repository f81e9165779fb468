"""`im journal …`: look into the journal's files, whether a daemon runs or not.

Reads only, through ``journal.reader``; a live daemon is not disturbed. A torn tail is reported and is no error: the
next start cuts it off, or a daemon is writing it at this moment.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from syncd.config import read_config
from syncd.core.events import Event, Record
from syncd.edges.cli import mending, past
from syncd.edges.cli.client import Json, read
from syncd.edges.cli.render import clock, facts, table, tree
from syncd.edges.cli.session import Injected, Session, Whole, whole
from syncd.edges.cli.transport import WrongUsage
from syncd.errors import BadConfig, JournalRefused, SyncdError
from syncd.journal import reader, scan
from syncd.seams import SystemDisk

SYSTEM_STATE = Path("/var/lib/syncd")  # where systemd puts it; only the unit itself is told so
RECORDS_MAX = 100_000

StateDir = Annotated[
    Path | None,
    Parameter(help="The daemon's state folder; without it, where the daemon would look.", show_default=False),
]

app = App(name="journal", help="Look into the journal's files, daemon or not.")


@app.command
def info(*, state_dir: StateDir = None, session: Injected) -> int:
    """Show how large the journal is, what it spans, and whether a daemon would start with it.

    Example: im journal info --state-dir /var/lib/syncd
    """
    with _opened(state_dir, session) as folder:
        report = scan.scan(SystemDisk(), folder)
    body = _report_json(folder, report)
    session.show(body, lambda: facts(tree(read(body, dict[str, Json]), session.now_s)))
    return 1 if report.verdict == "refused" else 0


@app.command
def verify(*, state_dir: StateDir = None, session: Injected) -> int:
    """Check every byte of the journal; exit code 1 when anything is damaged.

    It says apart whether a daemon would refuse the journal, or starts with it because a snapshot stands for what is
    damaged.

    Example: im journal verify
    """
    with _opened(state_dir, session) as folder:
        report = scan.scan(SystemDisk(), folder)

    damage = [f"damaged, and not needed for a start: {words}" for words in report.damage]
    if damage:
        damage.append("hint: put these files back from a backup, or see what `im journal repair` does about them")

    def verdict() -> list[str]:
        span = f", positions {report.first_position} to {report.last_position}" if report.records else ""
        counted = f"{_number(report.records, 'record')} in {_number(len(report.segments), 'segment')}"
        size = f"{counted}, {report.size_bytes} bytes{span}"
        if report.verdict != "clean":
            is_torn = report.verdict == "torn"  # a file that is refused in its middle is not counted
            rest = (
                f"before that: {size}"
                if is_torn
                else f"whole beside it: {size}; `im journal repair` shows what can be kept"
            )
            return [f"{report.verdict}: {report.problem}", f"hint: {report.hint}", rest, *damage]
        return [f"a daemon starts with it: {size}", *damage] if damage else [f"whole: {size}"]

    session.confirm(_report_json(folder, report), verdict)
    return 1 if report.verdict == "refused" or damage else 0


@app.command
def tail(
    *,
    count: Annotated[Whole, Parameter(name=["--count", "-n"], help="How many records.")] = 20,
    state_dir: StateDir = None,
    session: Injected,
) -> int:
    """Show the last records, oldest first.

    Example: im journal tail -n 50
    """
    if not 1 <= count <= RECORDS_MAX:
        raise WrongUsage(f"--count {count} is not between 1 and {RECORDS_MAX}", hint="give a number of records")
    with _opened(state_dir, session) as folder:
        records = reader.tail(SystemDisk(), folder, count)

    def rows() -> str:
        shown = (
            [
                str(each.position),
                clock(_rfc3339(each.at_s)),
                each.by,
                f"{each.source.principal} {each.source.address}" if each.source else "",
                ", ".join(map(_gist, each.events)),
            ]
            for each in records
        )
        return table(["POSITION", "TIME", "BY", "FROM", "EVENTS"], shown, wraps=True) if records else "no records"

    session.show(msgspec.json.encode(records), rows)
    return 0


@app.command
def show(position: Whole, /, *, state_dir: StateDir = None, session: Injected) -> int:
    """Show one record in full; POSITION is what `im journal tail` prints.

    Example: im journal show 4711 --format json
    """
    with _opened(state_dir, session) as folder:
        record = reader.show(SystemDisk(), folder, position)
    if record is None:
        raise SyncdError(f"the journal in {folder} has no record {position}", hint="`im journal info` shows its span")
    body = msgspec.json.encode(record)
    session.show(body, lambda: _card(record, body, session.now_s))
    return 0


@app.command
def replay(
    *,
    until: Annotated[
        int | None, Parameter(converter=whole, help="As it was after this position; without it, as it is now.")
    ] = None,
    incident: Annotated[str, Parameter(help="This incident alone, with what led to it.")] = "",
    state_dir: StateDir = None,
    session: Injected,
) -> int:
    """Show everything as it was after a position: state, decisions and what waited, from the files alone.

    It opens no connection and changes nothing, so it is safe beside a live daemon; secrets are not shown.

    Example: im journal replay --until 4711 --incident INC-4Q7ZK2M9XD --format json
    """
    if until is not None and until < 1:
        raise WrongUsage(f"--until {until} is no position", hint="give one that `im journal tail` prints")
    with _opened(state_dir, session) as folder:
        return past.replay(session, SystemDisk(), folder, until, incident)


@app.command
def repair(
    *,
    yes: Annotated[bool, Parameter(name="--yes", negative=(), help="Do it; without this it is only shown.")] = False,
    state_dir: StateDir = None,
    session: Injected,
) -> int:
    """Show what of a refused journal can be kept and what is lost with that; with --yes, do it.

    Everything that is cut off or removed is copied first, with a report, into `before-repair-1` of the state folder.
    Stop the daemon before. Exit code 1 as long as there is something to repair.

    Example: im journal repair --yes
    """
    with _opened(state_dir, session) as folder:
        return mending.repair(session, SystemDisk(), folder, is_meant=yes)


@contextmanager
def _opened(state_dir: Path | None, session: Session) -> Iterator[Path]:
    """The state folder, with what can go wrong while it is read put into words; a refused journal is exit code 1."""
    if session.options.server:
        raise WrongUsage(
            "im journal reads files of this machine", hint="run it where the daemon runs, without --server"
        )
    folder = state_dir or default_folder(session)
    try:
        if not (folder / "journal").is_dir():
            raise SyncdError(
                f"there is no journal in {folder}",
                hint="name the state folder with --state-dir or $INCIDENTS_STATE_DIR",
            )
        yield folder
    except JournalRefused as refusal:
        raise SyncdError(str(refusal), hint=refusal.hint) from refusal
    except BrokenPipeError:
        raise  # of our own output: its reader, such as `head`, has seen enough
    except OSError as error:
        raise SyncdError(
            f"cannot read the journal in {folder}: {error.strerror or error}",
            hint="run this as the daemon's user or root",
        ) from error


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def default_folder(session: Session) -> Path:
    """Where the daemon of this machine keeps its state; raises WrongUsage where its settings are refused."""
    environ = session.world.environ
    unused = {"master_key_file": "/etc/syncd/master.key"}  # the one other setting that may have no default here
    try:
        folder = read_config(unused, environ, Path.read_bytes, uid=session.world.user_id).state_dir
    except BadConfig as error:
        raise WrongUsage(str(error), hint=f"{error.hint}; or give --state-dir") from error
    is_elsewhere = not environ.get("INCIDENTS_STATE_DIR") and not (folder / "journal").exists()
    return SYSTEM_STATE if is_elsewhere and (SYSTEM_STATE / "journal").exists() else folder


def _report_json(folder: Path, report: scan.JournalReport) -> bytes:
    """The report under the names of the API: times as RFC 3339 text."""
    found: dict[str, Json] = {"state_dir": str(folder)}
    for key, value in msgspec.json.decode(msgspec.json.encode(report), type=dict[str, Json]).items():
        if key.endswith("_at_s"):
            found[key.removesuffix("_s")] = _rfc3339(value) if isinstance(value, float) else None
        else:
            found[key] = value
    return msgspec.json.encode(found)


def _card(record: Record, body: bytes, now_s: float) -> str:
    shown = read(body, dict[str, Json])
    shown["at_s"] = _rfc3339(record.at_s)
    return facts(tree(shown, now_s))


def _gist(event: Event) -> str:
    """What happened and to whom: the event's name and the ids in it."""
    fields = msgspec.structs.asdict(event)
    ids = [value for name, value in fields.items() if name.endswith("_id") and isinstance(value, str) and value]
    return " ".join([type(event).__name__, *ids])


def _rfc3339(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
