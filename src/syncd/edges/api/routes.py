"""The table of routes, each with the scope it needs and its description; a route without them does not get in.

It owns the pairing of path, method, scope and description, so that no handler can forget to ask who calls, and no path
can be missing from the API's description.
"""

from collections.abc import Awaitable, Callable
from typing import Final, Literal, TypeAlias

from msgspec import Struct
from quart import Quart, Response

from syncd.core.tokens import SCOPES, Scope
from syncd.edges.api.description import Description

Handler = Callable[..., Awaitable[Response]]
Guard: TypeAlias = Scope | Literal["signature"] | None

OPEN: Final = None  # for everybody, without a token


class Described(Struct, frozen=True):
    """One path and method. ``path`` names its parts as ``{incident_id}``. ``scope`` None: open to everybody."""

    method: str
    path: str
    scope: Guard
    description: Description


class Routes:
    """Adds routes to an application and remembers their scopes by endpoint."""

    def __init__(self, app: Quart) -> None:
        self._app = app
        self.scopes: dict[str, Scope | None] = {}
        self.described: list[Described] = []

    def add(
        self,
        method: str,
        path: str,
        scope: Scope | None,
        handler: Handler,
        description: Description | None = None,
    ) -> None:
        """One route. ``scope`` None (``OPEN``): no token is asked for. ``ValueError`` without a description."""
        if scope is not OPEN and scope not in SCOPES:
            raise ValueError(f"{method} {path}: {scope!r} is no scope; give one of {', '.join(SCOPES)}")
        if description is None:
            raise ValueError(f"{method} {path} has no description; give Routes.add one")
        endpoint = f"{method} {path}".replace(".", "_")
        self.scopes[endpoint] = scope
        self._app.add_url_rule(path, endpoint, handler, methods=[method], provide_automatic_options=False)
        self.describe(method, path, scope, description)

    def describe(self, method: str, path: str, scope: Guard, description: Description) -> None:
        """Tell of a route; one that the application does not serve itself needs nothing else."""
        self.described.append(Described(method, path.replace("<", "{").replace(">", "}"), scope, description))

    def check(self) -> None:
        """``ValueError`` when the application has a route that did not come through ``add``."""
        for rule in self._app.url_map.iter_rules():
            if rule.endpoint not in self.scopes:
                raise ValueError(f"the route {rule.rule} declares no scope; add it with Routes.add")
