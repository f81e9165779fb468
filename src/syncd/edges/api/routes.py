"""The table of routes, each with the scope it needs; a route without one does not get in.

It owns the pairing of path, method and scope, so that no handler can forget to ask who calls.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from quart import Quart, Response

from syncd.core.tokens import SCOPES, Scope

Handler = Callable[..., Awaitable[Response]]

OPEN: Final = None  # for everybody, without a token


class Routes:
    """Adds routes to an application and remembers their scopes by endpoint."""

    def __init__(self, app: Quart) -> None:
        self._app = app
        self.scopes: dict[str, Scope | None] = {}

    def add(self, method: str, path: str, scope: Scope | None, handler: Handler) -> None:
        """One route. ``scope`` None (``OPEN``): no token is asked for."""
        if scope is not OPEN and scope not in SCOPES:
            raise ValueError(f"{method} {path}: {scope!r} is no scope; give one of {', '.join(SCOPES)}")
        endpoint = f"{method} {path}".replace(".", "_")
        self.scopes[endpoint] = scope
        self._app.add_url_rule(path, endpoint, handler, methods=[method], provide_automatic_options=False)

    def check(self) -> None:
        """``ValueError`` when the application has a route that did not come through ``add``."""
        for rule in self._app.url_map.iter_rules():
            if rule.endpoint not in self.scopes:
                raise ValueError(f"the route {rule.rule} declares no scope; add it with Routes.add")
