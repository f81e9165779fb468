"""The routes of API tokens: create, list, revoke. The text of a token leaves once, in the answer to its create."""

from typing import Final

from quart import Response

from syncd.callers import new_token
from syncd.core import tokens, views
from syncd.core.model import Token
from syncd.edges.api import examples
from syncd.edges.api.answers import LINK, PAGE, answer, body, filters, nothing, paged, wanted_page
from syncd.edges.api.description import LOCATION, Answer, Description
from syncd.edges.api.desk import Desk
from syncd.edges.api.routes import Routes

TOPIC: Final = "Tokens"
BASE: Final = "/api/v1/tokens"
LIST: Final = Description(
    topic=TOPIC,
    summary="List tokens",
    notes="The oldest first. What makes them tokens is not kept, and so never shown.",
    query=PAGE,
    answers=(Answer(list[views.TokenView], headers=(LINK,)),),
)
CREATE: Final = Description(
    topic=TOPIC,
    summary="Make a token",
    notes="The token itself is in this answer and nowhere else. `expires_at` lies in the future.",
    takes=tokens.read,
    example=examples.NEW_TOKEN,
    answers=(Answer(views.NewTokenView, 201, (LOCATION,)),),
)
REVOKE: Final = Description(topic=TOPIC, summary="Revoke a token", answers=(Answer(None, 204),))


def add_routes(routes: Routes, desk: Desk) -> None:
    """Put them into the application."""

    async def find() -> Response:
        page, _ = wanted_page(), filters(*PAGE)
        used = desk.access.last_used_at_s
        made = sorted(desk.state.tokens.values(), key=_age)
        return await desk.shown(
            lambda: paged(page, made, key=_age, show=lambda one: views.token(one, used.get(one.id)))
        )

    async def create() -> Response:
        wanted = tokens.read(await body())
        text, digest = new_token(desk.ids, wanted.scope)
        decide = tokens.create(wanted, token_id=f"token-{desk.ids.word()}", digest=digest)
        made = await desk.change(decide)
        return answer(views.new_token(made, text), 201, {"Location": f"{BASE}/{made.id}"})

    async def revoke(token_id: str) -> Response:
        await desk.change(tokens.revoke(token_id))
        desk.access.last_used_at_s.pop(token_id, None)
        return nothing()

    routes.add("GET", BASE, "read", find, LIST)
    routes.add("POST", BASE, "admin", create, CREATE)
    routes.add("DELETE", f"{BASE}/<token_id>", "admin", revoke, REVOKE)


def _age(one: Token) -> tuple[float, str]:
    return one.created_at_s, one.id
