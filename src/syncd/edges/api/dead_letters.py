"""The routes of dead letters: list, retry, retry all, discard."""

from quart import Response

from syncd.core import finding, verdicts, views
from syncd.core.model import DeadLetter
from syncd.edges.api.answers import answer, body, filters, paged, wanted_page
from syncd.edges.api.desk import Desk
from syncd.edges.api.routes import Routes

BASE = "/api/v1/integrations/<integration>/dlq"


def add_routes(routes: Routes, desk: Desk) -> None:
    """Put them into the application."""

    async def find(integration: str) -> Response:
        page, _ = wanted_page(), filters()
        within = finding.integration(desk.state, integration).id
        letters = sorted(
            (one for one in desk.state.dead_letters.values() if one.integration_id == within),
            key=_age,
        )
        return await desk.shown(
            lambda: paged(page, letters, key=_age, show=lambda one: views.dead_letter(desk.state, one))
        )

    async def retry(integration: str, letter_id: str) -> Response:
        await body()
        letter = await desk.change(verdicts.retry(integration, letter_id))
        return answer(views.dead_letter(desk.state, letter))

    async def retry_all(integration: str) -> Response:
        await body()
        letters = await desk.change(verdicts.retry_all(integration))
        return answer({"queued": len(letters), "entries": [one.id for one in letters]})

    async def discard(integration: str, letter_id: str) -> Response:
        await body()
        letter = await desk.change(verdicts.discard(integration, letter_id))
        return answer({"id": letter.id, "discarded": True})

    routes.add("GET", BASE, "read", find)
    routes.add("POST", f"{BASE}/retry", "operate", retry_all)
    routes.add("POST", f"{BASE}/<letter_id>/retry", "operate", retry)
    routes.add("POST", f"{BASE}/<letter_id>/discard", "operate", discard)


def _age(one: DeadLetter) -> tuple[float, str]:
    return one.created_at_s, one.id
