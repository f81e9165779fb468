"""The routes of conflicts: list, read, resolve, ignore."""

from functools import partial
from typing import Final

from quart import Response

from syncd.actors.ports import Decide
from syncd.core import conflicts, finding, verdicts
from syncd.core.model import Conflict
from syncd.core.requests import no_fields
from syncd.edges.api import examples
from syncd.edges.api.answers import (
    IF_MATCH,
    LINK,
    PAGE,
    answer,
    body,
    filters,
    if_match,
    one_of,
    paged,
    problem,
    wanted_page,
)
from syncd.edges.api.description import ETAG, TEXT, Answer, Description, Parameter
from syncd.edges.api.desk import Desk, caller
from syncd.edges.api.routes import Routes
from syncd.errors import Stale, Unknown, WrongState

TOPIC: Final = "Conflicts"
BASE: Final = "/api/v1/conflicts"
ONE: Final = f"{BASE}/<conflict_id>"
FILTERS: Final = (
    Parameter("integration", "Under this integration: id, handle or name.", TEXT),
    Parameter("status", "In this status.", one_of(("pending", "resolved", "ignored"))),
    Parameter("incident", "Of this incident.", TEXT),
)
LIST: Final = Description(
    topic=TOPIC,
    summary="List conflicts",
    notes="The newest first.",
    query=(*FILTERS, *PAGE),
    answers=(Answer(list[conflicts.ConflictView], headers=(LINK,), example=[examples.CONFLICT]),),
    refuses=(Unknown,),
)
SHOW: Final = Description(
    topic=TOPIC,
    summary="Show a conflict",
    answers=(Answer(conflicts.ConflictView, headers=(ETAG,), example=examples.CONFLICT),),
)
RESOLVE: Final = Description(
    topic=TOPIC,
    summary="Decide a conflict",
    notes="Names the side whose value stands, or a value of its own; the sync then carries it to both sides. "
    "Refused with the new picture when a value has changed that this one does not show.",
    takes=verdicts.read,
    example=examples.VERDICT,
    headers=(IF_MATCH,),
    answers=(Answer(conflicts.ConflictView),),
    refuses=(WrongState, Stale),
)
IGNORE: Final = Description(
    topic=TOPIC,
    summary="Leave a conflict alone",
    notes="Both values stay as they are; it is not asked again until one of them changes.",
    takes=no_fields,
    headers=(IF_MATCH,),
    answers=(Answer(conflicts.ConflictView),),
    refuses=(WrongState, Stale),
)


def add_routes(routes: Routes, desk: Desk) -> None:
    """Put them into the application."""

    async def find() -> Response:
        page, found = wanted_page(), filters(*FILTERS, *PAGE)
        status = found.get("status")
        under = finding.integration(desk.state, found["integration"]).id if "integration" in found else None
        of = finding.incident(desk.state, found["incident"]).id if "incident" in found else None
        chosen = sorted(
            (
                one
                for one in desk.state.conflicts.values()
                if (status is None or one.status == status)
                and (under is None or one.integration_id == under)
                and (of is None or one.incident_id == of)
            ),
            key=_number,
            reverse=True,
        )
        return await desk.shown(
            lambda: paged(page, chosen, key=_number, show=partial(conflicts.view, desk.state), down=True)
        )

    async def show(conflict_id: str) -> Response:
        conflict = finding.conflict(desk.state, conflict_id)
        response = await desk.show(conflicts.view(desk.state, conflict))
        response.headers["ETag"] = f'"{conflict.version}"'
        return response

    async def resolve(conflict_id: str) -> Response:
        version, verdict = if_match(), verdicts.read(await body())
        return await settle(conflict_id, verdicts.resolve(conflict_id, verdict, by=caller().by, version=version))

    async def ignore(conflict_id: str) -> Response:
        version = if_match()
        no_fields(await body())
        return await settle(conflict_id, verdicts.ignore(conflict_id, by=caller().by, version=version))

    async def settle(conflict_id: str, decide: Decide[Conflict]) -> Response:
        try:
            return answer(conflicts.view(desk.state, await desk.change(decide)))
        except Stale as error:
            response = problem(error, conflicts.view(desk.state, finding.conflict(desk.state, conflict_id)))
            await desk.settled()
            return response

    routes.add("GET", BASE, "read", find, LIST)
    routes.add("GET", ONE, "read", show, SHOW)
    routes.add("POST", f"{ONE}/resolve", "operate", resolve, RESOLVE)
    routes.add("POST", f"{ONE}/ignore", "operate", ignore, IGNORE)


def _number(one: Conflict) -> tuple[float, str]:
    """Conflicts are numbered in the order they arose."""
    digits = one.id.rpartition("-")[2]
    return (float(digits) if digits.isdigit() else 0.0), one.id
