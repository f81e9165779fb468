"""`im integration reconcile INTEGRATION`: look for drift, and heal it on request.

A group with a default, so that words such as `history` can stand beside an integration's name.
"""

import time
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from syncd.edges.cli.client import Client, Json, path_of, read
from syncd.edges.cli.render import plain, safe, table
from syncd.edges.cli.session import Flag, Injected
from syncd.edges.cli.shapes import Run
from syncd.edges.cli.transport import Answer, Unreachable

RUN_S_MAX = 3600.0
POLL_S = 1.0
DRIFT_FOUND = 3

app = App(name="reconcile")


@app.default
def reconcile(
    integration: str,
    /,
    *,
    dry_run: Annotated[Flag, Parameter(help="Change nothing.")] = False,
    auto_heal: Annotated[Flag, Parameter(help="Write what is needed to make the sides agree.")] = False,
    force: Annotated[Flag, Parameter(help="Go on where the brake against mass changes stops.")] = False,
    session: Injected,
) -> int:
    """Compare every link of an integration with ServiceNow, and heal drift on request.

    Exit code 3: drift was found and not to be healed; with --auto-heal 1: not all of it could be healed.

    Example: im integration reconcile prod-snow --dry-run
    """
    body: dict[str, Json] = {"dry_run": dry_run, "auto_heal": auto_heal}
    if force:
        body["force"] = True
    path = path_of("integrations", integration, "reconcile")
    answer = session.client.call("POST", path, query={"wait": "true"}, body=body, answer_s_max=RUN_S_MAX)
    answer = _finished(session.client, integration, answer)
    run = read(answer.body, Run)
    session.show(answer.body, lambda: _report(run))
    if run.status != "finished":
        return 1
    if auto_heal:
        return 0 if all(drift.healed for drift in run.drifts) else 1
    return DRIFT_FOUND if run.drifts else 0


def _finished(client: Client, integration: str, answer: Answer) -> Answer:
    """Follow a run that the daemon did not want to wait for; raises Unreachable after an hour."""
    ends_at = time.monotonic() + RUN_S_MAX
    while (run := read(answer.body, Run)).status == "running":
        if time.monotonic() > ends_at:
            raise Unreachable(f"{run.id} is still running after {RUN_S_MAX:g} s", hint="look again later")
        time.sleep(POLL_S)
        answer = client.get(path_of("integrations", integration, "reconcile", "history", run.id))
    return answer


def _report(run: Run) -> str:
    healed = sum(drift.healed for drift in run.drifts)
    said = f"{len(run.drifts)} drifts" if len(run.drifts) != 1 else "1 drift"
    summary = f"{safe(run.id)} {safe(run.status)} ({safe(run.mode)}): {run.checked} links checked, {said}"
    if run.mode == "heal":
        summary += f", {healed} healed"
    if run.reason:
        summary += f"\nreason: {safe(run.reason)}"
    if not run.drifts:
        return summary
    rows = table(
        ["INCIDENT", "FIELD", "CAUSE", "ACTION", "HEALED", "PLATFORM | EXTERNAL"],
        (
            [
                drift.incident_id or drift.external_id,
                drift.field,
                drift.cause,
                drift.action,
                "yes" if drift.healed else "no",
                f"{_value(drift.platform)} | {_value(drift.external)}",
            ]
            for drift in run.drifts
        ),
        wraps=True,
    )
    return f"{summary}\n{rows}"


def _value(value: Json) -> str:
    if isinstance(value, str) and value:
        return value
    return plain(value, 0) or "(empty)" if not isinstance(value, dict) else msgspec.json.encode(value).decode()
