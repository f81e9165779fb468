"""The routes of API tokens: create, list, revoke. The text of a token leaves once, in the answer to its create."""

from quart import Response

from syncd.core import tokens, views
from syncd.core.model import Token
from syncd.credentials import new_token
from syncd.edges.api.answers import answer, body, filters, nothing, paged, wanted_page
from syncd.edges.api.desk import Desk
from syncd.edges.api.routes import Routes


def add_routes(routes: Routes, desk: Desk) -> None:
    """Put them into the application."""

    async def find() -> Response:
        page, _ = wanted_page(), filters()
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
        return answer(views.new_token(made, text), 201, {"Location": f"/api/v1/tokens/{made.id}"})

    async def revoke(token_id: str) -> Response:
        await desk.change(tokens.revoke(token_id))
        desk.access.last_used_at_s.pop(token_id, None)
        return nothing()

    routes.add("GET", "/api/v1/tokens", "read", find)
    routes.add("POST", "/api/v1/tokens", "admin", create)
    routes.add("DELETE", "/api/v1/tokens/<token_id>", "admin", revoke)


def _age(one: Token) -> tuple[float, str]:
    return one.created_at_s, one.id
