"""The routes of conflicts: list, read, resolve, ignore."""

from quart import Response

from syncd.actors.ports import Decide
from syncd.core import finding, verdicts, views
from syncd.core.model import Conflict
from syncd.edges.api.answers import answer, body, filters, if_match, one_of, paged, problem, wanted_page
from syncd.edges.api.desk import Desk, caller
from syncd.edges.api.routes import Routes
from syncd.errors import Stale

STATUSES = ("pending", "resolved", "ignored")


def add_routes(routes: Routes, desk: Desk) -> None:
    """Put them into the application."""

    async def find() -> Response:
        page, found = wanted_page(), filters("integration", "status", "incident")
        status = one_of(found, "status", STATUSES)
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
        return await desk.shown(lambda: paged(page, chosen, key=_number, show=views.conflict, down=True))

    async def show(conflict_id: str) -> Response:
        conflict = finding.conflict(desk.state, conflict_id)
        response = await desk.show(views.conflict(conflict))
        response.headers["ETag"] = f'"{conflict.version}"'
        return response

    async def resolve(conflict_id: str) -> Response:
        version, verdict = if_match(), verdicts.read(await body())
        return await settle(conflict_id, verdicts.resolve(conflict_id, verdict, by=caller().by, version=version))

    async def ignore(conflict_id: str) -> Response:
        version = if_match()
        await body()
        return await settle(conflict_id, verdicts.ignore(conflict_id, by=caller().by, version=version))

    async def settle(conflict_id: str, decide: Decide[Conflict]) -> Response:
        try:
            return answer(views.conflict(await desk.change(decide)))
        except Stale as error:
            response = problem(error, {"current": views.conflict(finding.conflict(desk.state, conflict_id))})
            await desk.settled()
            return response

    routes.add("GET", "/api/v1/conflicts", "read", find)
    routes.add("GET", "/api/v1/conflicts/<conflict_id>", "read", show)
    routes.add("POST", "/api/v1/conflicts/<conflict_id>/resolve", "operate", resolve)
    routes.add("POST", "/api/v1/conflicts/<conflict_id>/ignore", "operate", ignore)


def _number(one: Conflict) -> tuple[float, str]:
    """Conflicts are numbered in the order they arose."""
    digits = one.id.rpartition("-")[2]
    return (float(digits) if digits.isdigit() else 0.0), one.id
