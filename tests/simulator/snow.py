"""An instance with a clock that stands still until a test moves it, and the shortest way to ask it something."""

import base64
import json
import re
from collections.abc import Mapping
from random import Random
from typing import Any
from urllib.parse import urlencode

from syncd.simulator.instance import Instance, InstanceOptions
from syncd.simulator.tables import Row
from syncd.simulator.wire import Request, Response

START_S = 1_790_000_000.0  # 2026-09-21 14:13:20 UTC
TABLE = "/api/now/v2/table/incident"
USER = "svc.sync"
LOGIN = (USER, "sync-secret")
AGENT = "beth.anglin"
AGENT_SYS_ID = "46d44a23a9fe19810012d100cca80666"
NETWORK, SOFTWARE = "287ebd7da9fe198100f92cc8d1d2154e", "8a4dde73c6112278017a6a4baf547aa7"
RESOLVED = {"state": "6", "close_code": "Solution provided", "close_notes": "Done."}


def basic(user_name: str, password: str) -> tuple[str, str]:
    """The header of a login."""
    return "Authorization", "Basic " + base64.b64encode(f"{user_name}:{password}".encode()).decode()


def body_of(response: Response) -> Any:
    """The JSON of an answer."""
    return json.loads(response.body)


def refusal_of(response: Response) -> tuple[int, str, str | None]:
    """Status, message and detail of a refusal."""
    error = body_of(response)["error"]
    return response.status, error["message"], error["detail"]


class Snow:
    """One instance and its host's clock (``now_s``)."""

    def __init__(self, *, seed: int = 1, **options: Any) -> None:
        self.now_s = START_S
        settings = {"incidents": 0, "zone": "GMT", **options}
        self.instance = Instance(InstanceOptions(**settings), lambda: self.now_s, Random(seed))

    def ask(
        self,
        method: str,
        path: str = TABLE,
        body: object = None,
        *,
        headers: tuple[tuple[str, str], ...] = (),
        login: tuple[str, str] | None = LOGIN,
        **parameters: str,
    ) -> Response:
        """Send one request; ``body`` may be bytes or JSON, parameters go without their ``sysparm_``."""
        return self._send(method, path, body, headers, login, parameters)

    def _send(
        self,
        method: str,
        path: str,
        body: object,
        headers: tuple[tuple[str, str], ...],
        login: tuple[str, str] | None,
        parameters: Mapping[str, str],
    ) -> Response:
        query = urlencode({f"sysparm_{name}": value for name, value in parameters.items()})
        target = f"{path}?{query}" if query else path
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        given = [("Host", "dev12345.service-now.com"), *([basic(*login)] if login else []), *headers]
        return self.instance.handle(Request(method, target, given, content))

    def rows(self, query: str = "", *, table: str = "incident", **parameters: str) -> list[dict[str, Any]]:
        """The rows of a list that must succeed."""
        given = {"query": query, **parameters} if query else parameters
        response = self._send("GET", f"/api/now/v2/table/{table}", None, (), LOGIN, given)
        assert response.status == 200, response.body
        result = body_of(response)["result"]
        assert isinstance(result, list)
        return result

    def titles(self, query: str) -> list[str]:
        """The sorted titles of the incidents that match."""
        return sorted(row["short_description"] for row in self.rows(query))

    def create(self, title: str = "Pump broken", **fields: object) -> dict[str, Any]:
        """Create an incident over the API; the echo."""
        response = self.ask("POST", TABLE, {"short_description": title, **fields})
        assert response.status == 201, response.body
        result = body_of(response)["result"]
        assert isinstance(result, dict)
        return result

    def patch(self, sys_id: str, **fields: object) -> Response:
        """Change an incident over the API."""
        return self.ask("PATCH", f"{TABLE}/{sys_id}", fields)

    def echo(self, sys_id: str, **fields: object) -> dict[str, Any]:
        """Change an incident that must not be refused; the echo."""
        response = self.patch(sys_id, **fields)
        assert response.status == 200, response.body
        result = body_of(response)["result"]
        assert isinstance(result, dict)
        return result

    def get(self, sys_id: str, **parameters: str) -> Any:
        """One incident over the API."""
        return body_of(self._send("GET", f"{TABLE}/{sys_id}", None, (), LOGIN, parameters))["result"]

    def written(self, title: str = "Pump broken", **fields: object) -> Row:
        """Create an incident as an agent."""
        return self.instance.create_as(AGENT, {"short_description": title, **fields})

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds


def links(response: Response) -> dict[str, str]:
    """The Link header: relation to target."""
    return {rel: url for url, rel in re.findall(r'<([^>]*)>;rel="(\w+)"', response.header("link"))}


def without(mapping: Mapping[str, object], *names: str) -> dict[str, object]:
    """A copy that lacks some keys."""
    return {name: value for name, value in mapping.items() if name not in names}
