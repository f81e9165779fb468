"""`im integration reconcile INTEGRATION --auto-heal`: read every link's record now, and make the two sides agree.

A group with a default, so that words such as `history` can stand beside an integration's name.
"""

from typing import Annotated

from cyclopts import App, Parameter

from syncd.edges.cli.client import Json, path_of, read
from syncd.edges.cli.not_yet import refuse, refused
from syncd.edges.cli.render import safe
from syncd.edges.cli.session import Flag, Injected
from syncd.edges.cli.shapes import Run

RUN_S_MAX = 3600.0

app = App(name="reconcile")
refuse(
    app,
    "history",
    command="integration reconcile history",
    instead="im integration sync-status INTEGRATION shows the last run",
)
refuse(
    app,
    "schedule",
    command="integration reconcile schedule",
    instead="let cron or a systemd timer run: im integration reconcile INTEGRATION --auto-heal",
)


@app.default
def reconcile(
    integration: str,
    /,
    *,
    auto_heal: Annotated[Flag, Parameter(help="Needed: runs that only report are not in this version.")] = False,
    dry_run: Annotated[Flag, Parameter(show=False)] = False,
    force: Annotated[Flag, Parameter(show=False)] = False,
    session: Injected,
) -> int:
    """Read the record of every link now, and make the two sides agree where they differ.

    What had something new is merged as if a webhook had told of it; `im integration sync-status` shows what still
    waits to be written.

    Example: im integration reconcile prod-snow --auto-heal
    """
    _check(integration, auto_heal=auto_heal, dry_run=dry_run, force=force)
    body: dict[str, Json] = {"auto_heal": True}
    path = path_of("integrations", integration, "reconcile")
    answer = session.client.call("POST", path, query={"wait": "true"}, body=body, answer_s_max=RUN_S_MAX)
    run = read(answer.body, Run)
    session.show(answer.body, lambda: _report(run))
    return 0 if run.status == "finished" else 1


def _check(integration: str, *, auto_heal: bool, dry_run: bool, force: bool) -> None:
    """Refuse by name what this version cannot do, before anything is sent."""
    instead = f"run: im integration reconcile {integration} --auto-heal"
    if dry_run:
        raise refused("--dry-run", instead)
    if force:
        raise refused("--force", instead)
    if not auto_heal:
        raise refused("reconcile without --auto-heal", instead)


def _report(run: Run) -> str:
    links = "1 link" if run.checked == 1 else f"{run.checked} links"
    summary = f"{safe(run.id)} {safe(run.status)}: {links} checked, {run.observed or 'none'} had something new"
    return f"{summary}\nreason: {safe(run.reason)}" if run.reason else summary
