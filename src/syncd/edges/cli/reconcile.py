"""`im integration reconcile`: compare all links now, show what differs, heal it; the runs there were; the schedule.

A group with a default, so that words such as `history` can stand beside an integration's name. The run goes on in the
daemon; what waits for it here shows how far it is, and Ctrl-C stops it.
"""

import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Final

from cyclopts import App, Parameter

from syncd.edges.cli.client import Json, path_of, read
from syncd.edges.cli.render import age, clip, facts, safe, table, when
from syncd.edges.cli.session import All, Flag, Injected, Session, Whole
from syncd.edges.cli.shapes import Drift, Run, Schedule
from syncd.edges.cli.transport import Answer, WrongUsage

DRIFT_FOUND: Final = 3
INTERRUPTED: Final = 130
POLL_S: Final = 0.25
LINE_CELLS: Final = 79

app = App(name="reconcile")


@app.default
def reconcile(
    integration: str,
    /,
    *,
    dry_run: Annotated[Flag, Parameter(help="Report only, whatever else is given.")] = False,
    auto_heal: Annotated[Flag, Parameter(help="Make the two sides agree, through the ordinary merge.")] = False,
    force: Annotated[Flag, Parameter(help="With --auto-heal: without the mass-change brake, this once.")] = False,
    session: Injected,
) -> int:
    """Compare all links with their records now, and show each difference that is not on its way already.

    Without --auto-heal nothing is changed, and the exit code is 3 when there is drift. With it the run waits up to
    15 s for its writes, and the exit code is 1 when something is not healed by then. Ctrl-C stops the run.

    Example: im integration reconcile prod-snow --dry-run

    Example: im integration reconcile prod-snow --auto-heal
    """
    if force and not auto_heal:
        raise WrongUsage("--force overrides the brake of --auto-heal", hint="give both, or leave it out")
    body: dict[str, Json] = {"dry_run": dry_run, "auto_heal": auto_heal, "force": force}
    begun = session.client.call("POST", path_of("integrations", integration, "reconcile"), body=body)
    run_id = read(begun.body, Run).id
    path = path_of("integrations", integration, "reconcile", "history", run_id)
    try:
        answer = _ended(session, path, begun)
    except KeyboardInterrupt:
        answer = session.client.call("POST", f"{path}/stop")
        session.show(answer.body, lambda: _report(read(answer.body, Run)))
        return INTERRUPTED
    run = read(answer.body, Run)
    session.show(answer.body, lambda: _report(run))
    return _code(run)


def _ended(session: Session, path: str, answer: Answer) -> Answer:
    """The answer that shows the run when it is over."""
    meter = _Meter(session)
    while (run := read(answer.body, Run)).status == "running":
        meter.show(run)
        session.world.sleep_s(POLL_S)
        answer = session.client.get(path)
    meter.clear()
    return answer


class _Meter:
    """Shows on a terminal how far a run is, how fast it goes and what remains."""

    def __init__(self, session: Session) -> None:
        self._is_shown = sys.stderr.isatty() and not session.is_json
        self._elapsed_s = 0.0

    def show(self, run: Run) -> None:
        """Write over the line before. Called every ``POLL_S``."""
        self._elapsed_s += POLL_S
        if self._is_shown and run.links:
            rate = run.checked / self._elapsed_s
            left_s = (run.links - run.checked) / rate if rate > 0 else 0.0
            rest = (
                f"{rate:.0f} a second, {left_s:.0f} s remain" if run.checked < run.links else "looking again, healing"
            )
            self._write(f"{run.id}: {run.checked} of {run.links} links, {rest}")

    def clear(self) -> None:
        """Leave an empty line for what follows."""
        if self._is_shown:
            self._write("")

    def _write(self, text: str) -> None:
        sys.stderr.write(f"\r{clip(safe(text), LINE_CELLS):<{LINE_CELLS}}\r")
        sys.stderr.flush()


def _code(run: Run) -> int:
    if run.status != "finished":
        return 1
    if run.mode == "heal":
        return 0 if run.healed == run.found else 1
    return DRIFT_FOUND if run.found else 0


def _report(run: Run) -> str:
    return "\n\n".join(filter(None, (*map(_drift, run.drifts), _left_out(run), _summary(run))))


def _drift(drift: Drift) -> str:
    what = drift.incident_id or f"record {drift.external_id}"
    head = f"{safe(what)}  {safe(drift.field)}  {safe(drift.cause)}{'  healed' if drift.healed else ''}"
    lines = facts(
        (
            ("  platform", drift.platform),
            ("  ServiceNow", drift.external),
            ("  base", _base(drift)),
            ("  healing", drift.action),
        )
    )
    return f"{head}\n{lines}"


def _base(drift: Drift) -> str | None:
    """Both halves; one where they are the same word."""
    if drift.base_external in (None, drift.base):
        return drift.base
    return f"{drift.base if drift.base is not None else '-'}  (there: {drift.base_external})"


def _left_out(run: Run) -> str:
    return f"{run.left_out} more are not shown: a run keeps its first {len(run.drifts)}" if run.left_out else ""


def _summary(run: Run) -> str:
    links = "1 link" if run.checked == 1 else f"{run.checked} links"
    found = "no drift" if not run.found else f"{_causes(run)}"
    healed = f", {run.healed} healed" if run.mode == "heal" and run.found else ""
    partly = "" if run.status == "finished" else ", as far as it came"
    line = f"{safe(run.id)} ({safe(run.mode)}) {safe(run.status)}: {links} checked, {found}{healed}{partly}"
    return f"{line}\nreason: {safe(run.reason)}" if run.reason else line


def _causes(run: Run) -> str:
    """``3 drifts (2 missed-webhook, 1 duplicate)``."""
    parts = ", ".join(f"{count} {safe(cause)}" for cause, count in sorted(run.causes.items()))
    return f"{run.found} {'drift' if run.found == 1 else 'drifts'} ({parts})"


@app.command
def history(
    integration: str,
    run: str | None = None,
    /,
    *,
    limit: Annotated[Whole, Parameter(help="How many runs to show.")] = 20,
    all_: All = False,
    session: Injected,
) -> int:
    """List the reconcile runs of an integration, the newest first; or show one of them with each drift.

    Example: im integration reconcile history prod-snow

    Example: im integration reconcile history prod-snow run-17
    """
    path = path_of("integrations", integration, "reconcile", "history")
    if run is not None:
        answer = session.client.get(path_of("integrations", integration, "reconcile", "history", run))
        session.show(answer.body, lambda: _report(read(answer.body, Run)))
        return 0
    found = session.client.pages(path, {}, limit=None if all_ else limit)

    def rows() -> str:
        head = ("RUN", "STARTED", "MODE", "BY", "STATUS", "TOOK", "LINKS", "FOUND")
        return table(head, (_row(one, session.now_s) for one in map(_run_of, found.items)))

    session.show_list(found, rows, empty="no reconcile runs yet")
    return 0


def _run_of(raw: bytes) -> Run:
    return read(raw, Run)


def _row(run: Run, now_s: float) -> tuple[str | None, ...]:
    found = ", ".join(f"{count} {cause}" for cause, count in sorted(run.causes.items()))
    reason = f"{found}; {run.reason}" if found and run.reason else run.reason or found or "no drift"
    took = _took(run)
    return run.id, age(run.started_at, now_s), run.mode, run.trigger, run.status, took, str(run.checked), reason


def _took(run: Run) -> str | None:
    if not run.started_at or not run.finished_at:
        return None
    try:
        took = datetime.fromisoformat(run.finished_at) - datetime.fromisoformat(run.started_at)
    except (ValueError, TypeError):  # not from a daemon of ours
        return None
    return f"{took.total_seconds():.1f} s"


@app.command
def schedule(
    integration: str,
    /,
    *,
    interval: Annotated[str | None, Parameter(help="How often: a duration such as 1h, at least 1s.")] = None,
    auto_heal: Annotated[bool | None, Parameter(help="Heal what is found, or only report it.")] = None,
    enabled: Annotated[bool | None, Parameter(help="Switch it on or off; the rest stays as it is.")] = None,
    session: Injected,
) -> int:
    """Set when reconcile runs begin by themselves; without an option, show it.

    Example: im integration reconcile schedule prod-snow --interval 1h --auto-heal
    """
    path = path_of("integrations", integration, "reconcile", "schedule")
    given: dict[str, Json] = {"interval": interval, "auto_heal": auto_heal, "enabled": enabled}
    body: dict[str, Json] = {name: value for name, value in given.items() if value is not None}
    answer = session.client.call("POST", path, body=body) if body else session.client.get(path)
    session.show(answer.body, lambda: facts(_schedule(read(answer.body, Schedule), session.now_s)))
    return 0


def _schedule(plan: Schedule, now_s: float) -> Iterator[tuple[str, str | None]]:
    yield "interval", plan.interval
    yield "auto_heal", "yes" if plan.auto_heal else "no"
    yield "enabled", "yes" if plan.enabled else "no"
    yield "next_run_at", when(plan.next_run_at, now_s)
