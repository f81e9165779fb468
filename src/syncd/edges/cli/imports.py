"""`im integration import INTEGRATION --query Q`: bring existing records in, and show how far that is.

The import goes on in the daemon; what waits for it here only looks, and Ctrl-C stops it.
"""

import sys
from collections.abc import Iterator
from typing import Annotated, Final

from cyclopts import Parameter

from syncd.edges.cli.client import Json, path_of, read
from syncd.edges.cli.render import COLUMNS_MAX, clip, safe, table, wrap
from syncd.edges.cli.session import Flag, FreeText, Injected, Session
from syncd.edges.cli.shapes import Import
from syncd.edges.cli.transport import Answer

LOOK_S: Final = 0.5
STUCK_LOOKS: Final = 20
TRY_S_MAX: Final = 300.0
INTERRUPTED: Final = 130
LINE_CELLS: Final = 79
COUNTED: Final = {
    "imported": "imported",
    "adopted": "joined to their own incidents",
    "linked": "linked already",
    "unlinked": "left, unlinked by a person",
    "ours": "left, with the correlation id of another incident",
    "elsewhere": "left, as another integration has them",
    "unsure": "left, as they may be of a create under way",
    "failed": "failed",
}


def import_(
    integration: str,
    /,
    *,
    query: Annotated[FreeText, Parameter(help="Encoded query, as a list in ServiceNow has it (Copy query).")],
    dry_run: Annotated[Flag, Parameter(help="Show what would come in, and change nothing.")] = False,
    session: Injected,
) -> int:
    """Bring existing ServiceNow records in: each that matches becomes a linked incident, with its work notes.

    Ctrl-C stops it; the same command again goes on from there, and brings nothing in twice.

    Example: im integration import prod-snow --query "active=true^priority<3" --dry-run
    """
    path = path_of("integrations", integration, "import")
    body: dict[str, Json] = {"query": query, "dry_run": dry_run}
    answer = session.client.call("POST", path, body=body, answer_s_max=TRY_S_MAX)
    code = 0
    try:
        answer = _ended(session, integration, path, answer)
    except KeyboardInterrupt:
        answer, code = session.client.call("POST", f"{path}/stop"), INTERRUPTED
    run = read(answer.body, Import)
    session.show(answer.body, lambda: "\n".join(_report(run)))
    return code or (0 if run.status == "finished" else 1)


def _ended(session: Session, integration: str, path: str, answer: Answer) -> Answer:
    """The answer that shows the import when it is over; says once when it does not get on."""
    is_shown = sys.stderr.isatty() and not session.is_json
    checked, looks = -1, 0
    while (run := read(answer.body, Import)).status == "running":
        checked, looks = run.checked, looks + 1 if run.checked == checked else 0
        if looks == STUCK_LOOKS:
            session.remark(f"no record for {STUCK_LOOKS * LOOK_S:.0f} s; why: im integration sync-status {integration}")
        if is_shown:
            _write(_progress(run))
        session.world.sleep_s(LOOK_S)
        answer = session.client.get(path)
    if is_shown:
        _write("")
    return answer


def _write(text: str) -> None:
    sys.stderr.write(f"\r{clip(safe(text), LINE_CELLS):<{LINE_CELLS}}\r")
    sys.stderr.flush()


def _progress(run: Import) -> str:
    of = f" of {run.total}" if run.total else ""
    rate = f", {run.rate:.0f} a second" if run.rate else ""
    rest = f", {run.remaining_s:.0f} s remain" if run.remaining_s else ""
    return f"{run.id}: {run.checked}{of} records{rate}{rest}"


def _report(run: Import) -> Iterator[str]:
    if run.coming:
        yield table(
            ["RECORD", "BECOMES", "SEVERITY", "STATUS", "TITLE"],
            (
                [one.external_number, one.incident_id or "new", one.severity, one.status, one.title]
                for one in run.coming
            ),
        )
        more = run.counts.get("imported", 0) + run.counts.get("adopted", 0) - len(run.coming)
        yield f"… and {more} more\n" if more > 0 else ""
    if run.left:
        yield table(
            ["RECORD", "SYS_ID", "WHY IT STAYS AS IT IS"],
            ([one.external_number, one.external_id, one.why] for one in run.left),
            wraps=True,
        )
        yield ""
    would = "would be " if run.dry_run else ""
    records = "1 record" if run.checked == 1 else f"{run.checked} records"
    parts = [f"{count} {COUNTED.get(name, name)}" for name, count in run.counts.items() if count and name != "imported"]
    came = f"{run.counts.get('imported', 0)} {would}imported"
    yield from wrap(safe(f"{run.id} {run.status}: {records} looked at, {', '.join([came, *parts])}"), COLUMNS_MAX)
    if run.reason:
        yield f"reason: {safe(run.reason)}"
