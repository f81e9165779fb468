"""Webhooks by the thousand: the door is called as a plain ASGI function, with nothing in between."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import msgspec
import trio

from syncd.edges.api.webhooks import WEBHOOK_PREFIX
from tests.edges.api.daemon import signature

SECRET = "hook-secret-1"
SYS_ID = "5" * 32
HOOK: dict[str, object] = {"sys_id": SYS_ID, "number": "INC0010001", "state": "2", "updated_on": "2026-11-24 09:00:00"}

Door = Callable[..., Awaitable[None]]


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def detail(self) -> str:
        return str(msgspec.json.decode(self.body)["detail"])


async def knock(
    door: Door,
    raw: bytes,
    headers: Mapping[str, str] | None = None,
    *,
    secret: str = SECRET,
    to: str = "prod",
    address: str = "192.0.2.1",
) -> Answer:
    """One webhook, signed with ``secret`` unless ``headers`` say otherwise."""
    if headers is None:
        headers = {"X-ServiceNow-Signature": signature(secret, raw)}
    lines = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    scope: dict[str, object] = {
        "type": "http",
        "method": "POST",
        "path": WEBHOOK_PREFIX + to,
        "headers": lines,
        "client": (address, 40_000) if address else None,
        "state": {},
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, object]:
        await trio.lowlevel.checkpoint()
        return {"type": "http.request", "body": raw, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    await door(scope, receive, send)
    start, end = sent
    told = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    return Answer(start["status"], told, end["body"])
