"""The webhook door: a plain ASGI function in front of the API, because ServiceNow waits for it inside a transaction.

    bytes (bounded) -> signature over them -> rate -> decode -> durable -> 202

No byte reaches a parser before its signature is checked. An unknown integration and a wrong signature get the same 401,
after the same work (``webhook_secrets.py``); how many of either are taken is ``webhook_limits.py``. 202 means durable,
not merged; a refusal is counted and never stored.
"""

import math
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

import msgspec
import trio

from syncd import telemetry
from syncd.callers import verify_signature
from syncd.core.events import Change, Source
from syncd.core.model import Integration
from syncd.core.state import State
from syncd.core.webhook import accept_webhook
from syncd.credentials import Secret
from syncd.edges.api.answers import JSON, problem_fields
from syncd.edges.api.desk import DURABLE_S_MAX, Desk, not_durable
from syncd.edges.api.webhook_body import decode_webhook
from syncd.edges.api.webhook_limits import (
    CHECKED_ALWAYS_BYTES,
    REFUSED_FROM_SOURCE,
    TAKEN_FOR_INTEGRATION,
    Allowance,
    Rate,
    source_of,
)
from syncd.edges.api.webhook_secrets import Keyring, Refusals
from syncd.errors import Forbidden, Refused, SyncdError, TooLarge, TooMany, Unauthenticated
from syncd.seams import Receive, Send

WEBHOOK_PREFIX: Final = "/api/v1/webhooks/"
ROUTE: Final = "POST /api/v1/webhooks/{integration}"
BODY_BYTES_MAX: Final = 1024 * 1024
BODY_S_MAX: Final = 10.0
_SIGNATURE, _TIMESTAMP = b"x-servicenow-signature", b"x-servicenow-timestamp"


class WrongMethod(Refused):
    """Webhooks are POSTed."""

    status, title = 405, "Method not allowed"


class TooSlow(Refused):
    """The body did not arrive in time."""

    status, title = 408, "Too slow"


class Accepted(msgspec.Struct, frozen=True):
    """The answer to an authentic webhook."""

    event_id: str
    duplicate: bool


class WebhookDoor:
    """An ASGI application for ``/api/v1/webhooks/{integration_id}`` alone."""

    def __init__(self, desk: Desk, *, refused: Rate = REFUSED_FROM_SOURCE, taken: Rate = TAKEN_FOR_INTEGRATION) -> None:
        """``refused`` is for each source, ``taken`` for each integration."""
        self._desk = desk
        self._keyring = Keyring(desk.vault, nobody=Secret(desk.ids.secret(32)))
        self._refusals = Refusals()
        self._refused_from = Allowance(refused)
        self._taken_for = Allowance(taken)

    async def __call__(self, scope: Mapping[str, object], receive: Receive, send: Send) -> None:
        """Answer one request; raises nothing but what ``send`` and ``receive`` do, and cancellation."""
        try:
            accepted = await self._accept(scope, receive)
        except SyncdError as error:
            status, headers, body = problem_fields(error)
            if isinstance(error, WrongMethod):
                headers["Allow"] = "POST"
            self._desk.answer_counts.add(ROUTE, status)
            await _answer(send, status, headers, body)
        else:
            self._desk.answer_counts.add(ROUTE, 202)
            await _answer(send, 202, {"Content-Type": JSON}, msgspec.json.encode(accepted))

    async def _accept(self, scope: Mapping[str, object], receive: Receive) -> Accepted:
        if scope["method"] != "POST":
            raise WrongMethod(f"webhooks are sent with POST, not {scope['method']}", hint="use POST")
        raw = await _read_body(receive)
        desk, at_s = self._desk, self._desk.clock.now_s()
        integration = self._named(str(scope["path"])[len(WEBHOOK_PREFIX) :])
        self._check_signature(scope, raw, integration, at_s)
        if integration is None:  # the signature was checked against a secret that nobody knows
            raise _not_authentic()
        counts = desk.webhook_counts.of(integration.id)
        counts.last_at_s = at_s
        self._check_rate(integration)
        try:
            webhook, text = decode_webhook(raw)
        except Refused:
            self._refusals.add("authentic, but its body cannot be used", integration)
            counts.rejected += 1
            raise
        trace = desk.ids.word()
        integration_id = integration.id

        def decide(state: State, now_s: float) -> Change[bool]:
            if integration_id not in state.integrations:  # deleted while this one waited
                raise _not_authentic()
            return accept_webhook(state, now_s, webhook, integration_id=integration_id, body=text, trace=trace)

        with trio.move_on_after(DURABLE_S_MAX):
            by = f"integration:{integration.settings.handle}"
            try:
                is_duplicate = await desk.journal.transact(decide, by=by, trace=trace, source=_source(scope))
            except Forbidden:
                self._refusals.add("from another instance", integration)
                counts.rejected += 1
                counts.stranger, counts.stranger_at_s = webhook.instance_name, at_s
                raise
            telemetry.trace(
                trace, "webhook", integration=integration_id, external_id=webhook.sys_id, duplicate=is_duplicate
            )
            counts.duplicates += is_duplicate
            counts.accepted += not is_duplicate
            return Accepted(webhook.event_id or trace, is_duplicate)
        raise not_durable()

    def _named(self, word: str) -> Integration | None:
        """The integration of that id or handle. It looks at all of them, found or not, to take as long."""
        word = unquote(word)
        found = [one for one in self._desk.state.integrations.values() if word in {one.id, one.settings.handle}]
        return found[0] if found else None

    def _check_signature(
        self, scope: Mapping[str, object], raw: bytes, integration: Integration | None, at_s: float
    ) -> None:
        """Raise unless the body is signed with a secret that is valid now."""
        signatures, timestamps = _header(scope, _SIGNATURE), _header(scope, _TIMESTAMP)
        is_sound = len(signatures) == 1 and len(timestamps) <= 1
        source, now = source_of(scope.get("client")), trio.current_time()
        is_checked = len(raw) <= CHECKED_ALWAYS_BYTES or not self._refused_from.wait_s(source, now)
        is_genuine = is_checked and verify_signature(
            self._keyring.tried(self._desk.state, integration, at_s),
            raw,
            signatures[0] if signatures else "",
            timestamps[0] if timestamps else None,
            at_s,
        )
        if is_sound and is_genuine:
            return
        if integration is None:
            self._refusals.add("unknown integration in its URL")
        else:
            wrong = "signature missing, wrong or too old"
            self._refusals.add(wrong if is_checked else "large, from where many were refused", integration)
            self._desk.webhook_counts.of(integration.id).rejected += 1
        if wait_s := self._refused_from.take(source, now):
            raise TooMany(
                "too many webhooks from this address were not signed with a valid secret of their integration",
                hint="compare URL and secret with `im integration webhook-script`; "
                "behind a proxy all callers have its address",
                retry_after_s=math.ceil(wait_s),
            )
        raise _not_authentic()

    def _check_rate(self, integration: Integration) -> None:
        """``TooMany`` when an authentic webhook is one too many for its integration."""
        rate = self._taken_for.rate
        if wait_s := self._taken_for.take(integration.id, trio.current_time()):
            self._refusals.add("too many at once", integration)
            self._desk.webhook_counts.of(integration.id).rejected += 1
            raise TooMany(
                f"more than {rate.burst:g} webhooks at once, or {rate.per_s:g} a second, for this integration",
                hint="send it again later; or let it go, and the next reconcile will see the change",
                retry_after_s=math.ceil(wait_s),
            )


def _source(scope: Mapping[str, object]) -> Source:
    client = scope.get("client")
    return Source("webhook", str(client[0]) if isinstance(client, tuple | list) else "")


def _not_authentic() -> Unauthenticated:
    return Unauthenticated(
        "the webhook is not signed with a valid secret of this integration",
        hint="compare URL and secret with `im integration webhook-script`, and the instance's clock with ours",
    )


def _header(scope: Mapping[str, object], name: bytes) -> list[str]:
    """All values of a header."""
    headers = scope["headers"]
    pairs = headers if isinstance(headers, list | tuple) else list(headers)  # type: ignore[call-overload]
    return [value.decode("latin-1") for key, value in pairs if key.lower() == name]


async def _read_body(receive: Receive) -> bytes:
    """The whole body, bounded in size and time."""
    body = bytearray()
    is_over = False
    with trio.move_on_after(BODY_S_MAX):
        while True:
            message = await receive()
            part = message.get("body", b"")
            if message["type"] != "http.request" or not isinstance(part, bytes):
                break
            is_over = is_over or len(body) + len(part) > BODY_BYTES_MAX
            body += b"" if is_over else part  # the rest is read and dropped, so that the sender gets to read its 413
            if message.get("more_body", False):
                continue
            if is_over:
                raise TooLarge(f"the body is over the limit of {BODY_BYTES_MAX} bytes", hint="send less of the record")
            return bytes(body)
    raise TooSlow(f"the body did not arrive within {BODY_S_MAX:g} s", hint="send it in one go, after the headers")


async def _answer(send: Send, status: int, headers: Mapping[str, str], body: bytes) -> None:
    lines = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    lines.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body, "more_body": False})
