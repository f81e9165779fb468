"""What schemathesis cannot read out of a description: values of our own formats, signatures, keys that are new."""

import base64
import hashlib
import hmac
import json
import os
import re
from itertools import count
from typing import Any
from urllib.parse import unquote
from zlib import crc32

import requests
import schemathesis
from hypothesis import strategies as st
from requests.auth import AuthBase
from schemathesis import HookContext

SECRET = os.environ["SYNCD_WEBHOOK_SECRET"]
TOKEN = os.environ["SYNCD_TOKEN"]
WEBHOOKS = "/api/v1/webhooks/{integration}"
NOW = os.environ["SYNCD_NOW"]
_keys = count(1)


def cursor_of(path: str) -> str:
    """A cursor as the list at a path gives it."""
    return base64.urlsafe_b64encode(json.dumps([1.0, "", crc32(path.encode())]).encode()).decode().rstrip("=")


# The forms that docs/http.md tells in words; a pattern would not do.
schemathesis.openapi.format("time-span", st.builds("{}{}".format, st.integers(1, 300), st.sampled_from("smhd")))
schemathesis.openapi.format(
    "instance-url",
    st.sampled_from(
        ["https://dev1.service-now.com", "https://a-b.c.service-now.com:443/", "http://127.0.0.1:9", "http://[::1]"]
    ),
)


class Signed(AuthBase):
    """Signs the bytes that leave, as ServiceNow does."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        assert isinstance(body, str | bytes)
        raw = body.encode() if isinstance(body, str) else body
        stamp = request.headers.get("X-ServiceNow-Timestamp")
        text = stamp.decode("latin-1") if isinstance(stamp, bytes) else stamp
        signed = raw if text is None else f"{text}.".encode("latin-1") + raw
        request.headers["X-ServiceNow-Signature"] = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
        return request


class Bearer(AuthBase):
    """Sends the token."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {TOKEN}"
        return request


schemathesis.auth.set_from_requests(Signed()).apply_to(path=WEBHOOKS)  # type: ignore[attr-defined]
schemathesis.auth.set_from_requests(Bearer()).skip_for(path=WEBHOOKS)  # type: ignore[attr-defined]


@schemathesis.hook
def before_call(context: HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    """Make a valid case valid here and now, in what no schema can tell."""
    headers, body = case.headers, case.body
    if headers and re.fullmatch("[0-9]{1,12}", str(headers.get("X-ServiceNow-Timestamp"))):
        headers["X-ServiceNow-Timestamp"] = NOW  # within 5 minutes of the daemon's clock
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if case.query and "cursor" in case.query:  # one that this list gave
        case.query["cursor"] = cursor_of(unquote(case.formatted_path))
    if headers and "Idempotency-Key" in headers:  # the same one for another body is refused
        headers["Idempotency-Key"] = f"key-{next(_keys)}"
    if headers and "If-Match" in headers:  # whatever the present version is
        headers["If-Match"] = "*"
    if not isinstance(body, dict):
        return
    for name in (
        "conflict_window",
        "transaction_quota",
        "poll_interval",
        "grace",
        "interval",
    ):  # a range of durations is no pattern
        if body.get(name, "always") != "always":
            body[name] = "90s"
    if isinstance(expires_at := body.get("expires_at"), str):  # in the future
        body["expires_at"] = f"2099{expires_at[4:]}"
    if case.operation.label == "POST /api/v1/integrations/{integration}/reconcile/schedule":
        body.setdefault("interval", "90s")  # needed the first time
    if case.operation.label == "POST /api/v1/integrations":
        body.setdefault("handle", f"prod-{next(_keys)}")  # not every name gives one
    if case.operation.label == "PATCH /api/v1/integrations/{integration}":
        body.pop("organization_id", None)  # cannot be changed
