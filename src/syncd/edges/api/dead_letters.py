"""The routes of dead letters: list, retry, retry all, discard."""

from typing import Final

from quart import Response

from syncd.core import finding, verdicts, views
from syncd.core.model import DeadLetter
from syncd.core.requests import no_fields
from syncd.edges.api import examples
from syncd.edges.api.answers import LINK, PAGE, answer, body, filters, paged, wanted_page
from syncd.edges.api.description import Answer, Description
from syncd.edges.api.desk import Desk
from syncd.edges.api.routes import Routes

TOPIC: Final = "Dead letters"
BASE: Final = "/api/v1/integrations/<integration>/dlq"
ONE: Final = f"{BASE}/<letter_id>"
LIST: Final = Description(
    topic=TOPIC,
    summary="List dead letters",
    notes="Changes that ServiceNow refused, or that need a person; the oldest first.",
    query=PAGE,
    answers=(Answer(list[views.DeadLetterView], headers=(LINK,), example=[examples.DEAD_LETTER]),),
)
RETRY: Final = Description(
    topic=TOPIC,
    summary="Retry a dead letter",
    notes="Reads and decides anew what it stands for. It keeps its id, and goes when it is delivered.",
    takes=no_fields,
    answers=(Answer(views.DeadLetterView, example=examples.DEAD_LETTER),),
)
RETRY_ALL: Final = Description(
    topic=TOPIC,
    summary="Retry all dead letters of an integration",
    takes=no_fields,
    answers=(Answer(views.QueuedView),),
)
DISCARD: Final = Description(
    topic=TOPIC,
    summary="Give a dead letter up",
    notes="The two sides stay different until the next edit of those fields.",
    takes=no_fields,
    answers=(Answer(views.DiscardedView),),
)


def add_routes(routes: Routes, desk: Desk) -> None:
    """Put them into the application."""

    async def find(integration: str) -> Response:
        page, _ = wanted_page(), filters(*PAGE)
        within = finding.integration(desk.state, integration).id
        letters = sorted(
            (one for one in desk.state.dead_letters.values() if one.integration_id == within),
            key=_age,
        )
        return await desk.shown(
            lambda: paged(page, letters, key=_age, show=lambda one: views.dead_letter(desk.state, one))
        )

    async def retry(integration: str, letter_id: str) -> Response:
        no_fields(await body())
        letter = await desk.change(verdicts.retry(integration, letter_id))
        return answer(views.dead_letter(desk.state, letter))

    async def retry_all(integration: str) -> Response:
        no_fields(await body())
        letters = await desk.change(verdicts.retry_all(integration))
        return answer(views.QueuedView(len(letters), [one.id for one in letters]))

    async def discard(integration: str, letter_id: str) -> Response:
        no_fields(await body())
        letter = await desk.change(verdicts.discard(integration, letter_id))
        return answer(views.DiscardedView(letter.id))

    routes.add("GET", BASE, "read", find, LIST)
    routes.add("POST", f"{BASE}/retry", "operate", retry_all, RETRY_ALL)
    routes.add("POST", f"{ONE}/retry", "operate", retry, RETRY)
    routes.add("POST", f"{ONE}/discard", "operate", discard, DISCARD)


def _age(one: DeadLetter) -> tuple[float, str]:
    return one.created_at_s, one.id
