"""`im conflict …`: look at conflicts and settle those that wait for a person."""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from syncd.edges.cli.client import Json, path_of, read
from syncd.edges.cli.render import age, clip, facts, plain, table, tree
from syncd.edges.cli.session import All, Flag, FreeText, Injected, Session, Whole, whole
from syncd.edges.cli.shapes import Conflict, Writes
from syncd.edges.cli.transport import Answer, WrongUsage

IfMatch = Annotated[int | None, Parameter(converter=whole, help="Only if the conflict still has this version.")]

LISTED_CELLS_MAX = 80  # of each value in the list; `show` has the whole of them
CHOICE_CELLS_MAX = 200  # of what a choice would write, which stands above it

app = App(name="conflict", help="List and settle conflicts.")


@app.command(name="list")
def list_(
    *,
    integration: str | None = None,
    status: Annotated[
        Literal["pending", "resolved", "ignored", "all"], Parameter(help="all: settled ones too.")
    ] = "pending",
    incident: str | None = None,
    limit: Whole = 100,
    everything: All = False,
    session: Injected,
) -> int:
    """List conflicts; those that wait for a person, unless --status says otherwise.

    Example: im conflict list --integration prod-snow
    """
    query = {"integration": integration, "status": None if status == "all" else status, "incident": incident}
    found = session.client.pages(path_of("conflicts"), query, limit=None if everything else limit)

    def rows() -> str:
        return table(
            ["ID", "INCIDENT", "FIELD", "STATUS", "SINCE", "PLATFORM | EXTERNAL -> DECIDED"],
            (
                [
                    conflict.id,
                    conflict.incident_id,
                    conflict.field,
                    conflict.status,
                    age(conflict.created_at, session.now_s),
                    f"{_value(conflict.platform)} | {_value(conflict.external)}"
                    + (f" -> {conflict.decided}" if conflict.decided else ""),
                ]
                for conflict in read(found.body, list[Conflict])
            ),
            wraps=True,
        )

    kind = "" if status == "all" else f"{status} "
    session.show_list(found, rows, empty=f"no {kind}conflicts")
    return 0


def _value(value: Json) -> str:
    return clip(value if isinstance(value, str) and value else plain(value, 0) or "(empty)", LISTED_CELLS_MAX)


@app.command
def show(conflict_id: str, /, *, session: Injected) -> int:
    """Show one conflict: the base, both values, whose and when, which rule, and what each choice would write.

    Example: im conflict show conflict-17
    """
    answer = session.client.get(path_of("conflicts", conflict_id))

    def lines() -> str:
        shown = read(answer.body, dict[str, Json])
        choices = read(answer.body, Conflict).would_write
        shown.pop("would_write", None)
        shown |= {side: "(empty)" for side in ("base", "platform", "external") if shown.get(side) == ""}
        for choice, writes in (choices or {}).items():
            shown[f"--{choice.replace('_', '-')}"] = _written(writes)
        return facts(tree(shown, session.now_s))

    session.show(answer.body, lines)
    return 0


def _written(writes: Writes) -> str:
    """What one choice would write, and where."""
    parts = [("the incident", writes.incident), ("the record", writes.record)]
    said = [
        f"{where}: {', '.join(f'{name}={clip(text, CHOICE_CELLS_MAX)}' for name, text in what.items())}"
        for where, what in parts
        if what
    ]
    return f"writes {'; '.join(said)}" if said else "writes nothing"


@app.command
def resolve(
    conflict_id: str,
    /,
    *,
    use_platform: Annotated[Flag, Parameter(help="Keep the platform's value.")] = False,
    use_external: Annotated[Flag, Parameter(help="Keep ServiceNow's value.")] = False,
    value: Annotated[FreeText, Parameter(help="Keep neither, write this on both sides.")] = None,
    if_match: IfMatch = None,
    session: Injected,
) -> int:
    """Settle a conflict that was held for review; CONFLICT-ID is what `im conflict list` prints.

    Example: im conflict resolve conflict-17 --use-platform
    """
    if (use_platform, use_external, value is not None).count(True) != 1:
        raise WrongUsage(
            "which value stands is not clear", hint="give exactly one of --use-platform, --use-external and --value V"
        )
    if value is not None:
        body: Json = {"value": value}
        said = "the value given"
    else:
        body = {"use": "platform" if use_platform else "external"}
        said = "the platform's" if use_platform else "ServiceNow's"
    answer = _settle(session, conflict_id, "resolve", body, if_match)

    def confirmation() -> list[str]:
        settled = read(answer.body, Conflict)
        return [f"{settled.id} {settled.status}: {settled.field} of {settled.incident_id} is {said} now"]

    session.confirm(answer.body, confirmation)
    return 0


@app.command
def ignore(conflict_id: str, /, *, if_match: IfMatch = None, session: Injected) -> int:
    """Leave both values as they are and stop asking.

    Example: im conflict ignore conflict-17
    """
    answer = _settle(session, conflict_id, "ignore", {}, if_match)
    session.confirm(answer.body, lambda: [f"{conflict_id} ignored, both values stay as they are"])
    return 0


def _settle(session: Session, conflict_id: str, verb: str, body: Json, if_match: int | None) -> Answer:
    headers = {} if if_match is None else {"If-Match": f'"{if_match}"'}
    return session.client.call("POST", path_of("conflicts", conflict_id, verb), body=body, headers=headers)
