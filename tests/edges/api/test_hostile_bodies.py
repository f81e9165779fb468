"""Whatever JSON a caller with a right to call sends, the answer is a 2xx or a 4xx, short, and never a 5xx."""

import logging
import re
from urllib.parse import unquote_to_bytes

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.edges.api.app import build_quart
from tests.edges.api.daemon import BODY, SNOW, Daemon, running
from tests.edges.api.test_conflicts import pictured

KEYS = st.sampled_from(
    [
        "title",
        "description",
        "severity",
        "status",
        "assigned_to",
        "organization_id",
        "text",
        "author",
        "name",
        "handle",
        "base_url",
        "credentials",
        "enabled",
        "conflict_window",
        "external_defaults",
        "import_query",
        "rate_limit",
        "max_concurrency",
        "transaction_quota",
        "poll_interval",
        "webhook_secret",
        "scope",
        "expires_at",
        "use",
        "value",
        "grace",
        "auto_heal",
        "dry_run",
        "sync_direction",
        "username",
        "password",
        "resolve",
        "hold_reason",
        "x",
    ]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.sampled_from([10**4000, -(10**4000), 1e308, 0, 1, "1s", "9" * 400 + "s", "sev-1", SNOW, "always", "admin", ""])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
BODIES = st.dictionaries(KEYS, VALUES, max_size=5)
ANSWER_BYTES_MAX = 40_000


def paths(daemon: Daemon) -> list[tuple[str, str]]:
    """Every route that takes a body, with names of things that are there."""
    there = {
        "incident_id": "INC-A",
        "integration": "prod",
        "conflict_id": "conflict-1",
        "letter_id": "entry-2",
        "run": "run-1",
    }
    return [
        (method, re.sub(r"<([a-z_]+)>", lambda match: there[match[1]], rule.rule))
        for rule in build_quart(daemon.desk).url_map.iter_rules()
        for method in (rule.methods or set()) & {"POST", "PATCH"}
    ]


@given(body=BODIES)
@settings(max_examples=25, deadline=None)
def test_no_body_is_too_strange(body: dict[str, object]) -> None:
    async def scenario() -> None:
        async with running() as daemon:
            await pictured(daemon)
            raw = msgspec.json.encode(body)
            for method, path in paths(daemon):
                answer = await daemon.socket.request(
                    method, path, content=raw, headers={"Content-Type": "application/json"}
                )
                assert answer.status_code < 500, (method, path, body, answer.text)
                assert len(answer.content) < ANSWER_BYTES_MAX

    trio.run(scenario)


async def test_thousands_of_unknown_keys_make_no_long_answer() -> None:
    async with running() as daemon:
        for body in ({f"k{n}": n for n in range(20_000)}, {"severity": "x" * 1_000_000, "title": "t"}):
            answer = await daemon.socket.post("/api/v1/incidents", json=body)
            assert answer.status_code == 422
            assert len(answer.content) < ANSWER_BYTES_MAX


DEEP = 900  # what a decoder still follows, and something further on might not
RAW_BODIES = {
    "bad UTF-8": b'{"title": "\xff"}',
    "half a surrogate pair": b'{"title": "\\ud83d", "text": "\\udc00", "name": "\\ud800", "value": "\\ud83d"}',
    "a surrogate in UTF-8": b'{"title": "\xed\xa0\x80"}',
    "NUL": b'{"title": "a\\u0000", "text": "\\u0000", "name": "\\u0000", "value": "\\u0000", "severity": "SEV-2"}',
    "a raw control character": b'{"title": "a\x01"}',
    "a key with NUL": b'{"ti\\u0000tle": "a"}',
    "brackets without end": b"[" * 100_000,
    "deep objects": b'{"external_defaults":' * DEEP + b"1" + b"}" * DEEP,
    "deep lists": b'{"title":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "a deep value": b'{"value":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
    "numbers that are too big": b'{"title": 1e999, "rate_limit": 1e400, "max_concurrency": ' + b"9" * 5000 + b"}",
    "NaN": b'{"rate_limit": NaN}',
    "not JSON": b"title=a&severity=SEV-1",
    "a byte order mark": b'\xef\xbb\xbf{"title": "a"}',
    "UTF-16": '{"title": "a"}'.encode("utf-16"),
    "two objects": b'{"title": "a"} {"title": "b"}',
    "a list": b'[{"title": "a", "severity": "SEV-1"}]',
    "text": b'"title"',
    "null": b"null",
}


@pytest.mark.parametrize("raw", RAW_BODIES.values(), ids=RAW_BODIES)
async def test_bytes_that_no_client_should_send_are_4xx_on_every_route_and_leave_nothing(
    raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with running() as daemon:
        await pictured(daemon)
        position = daemon.journal.state.position
        for method, path in paths(daemon):
            if path.endswith(("/ignore", "/retry", "/discard")):
                continue  # these look at no body
            answer = await daemon.socket.request(
                method, path, content=raw, headers={"Content-Type": "application/json"}
            )
            assert 400 <= answer.status_code < 500, (method, path, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            assert len(answer.content) < ANSWER_BYTES_MAX
        assert daemon.journal.state.position == position
    assert [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("word", ["%00", "%ff", "%ed%a0%80", "%2e%2e", "a%0d%0ab", "x" * 5000, "%F0%9F%92%A9", "%"])
async def test_strange_words_in_path_query_and_headers_are_4xx(word: str, caplog: pytest.LogCaptureFixture) -> None:
    async with running() as daemon:
        await pictured(daemon)
        for path in (
            f"/api/v1/incidents/{word}",
            f"/api/v1/integrations/{word}/links",
            f"/api/v1/integrations/prod/links/{word}",
            f"/api/v1/conflicts/{word}",
            f"/api/v1/tokens/{word}",
            f"/{word}",
            f"/api/v1/incidents?q={word}",
            f"/api/v1/incidents?{word}={word}",
            f"/api/v1/incidents?cursor={word}",
            f"/api/v1/incidents?updated_since={word}",
            f"/api/v1/conflicts?incident={word}&status={word}",
        ):
            for method in ("GET", "DELETE"):
                answer = await daemon.socket.request(method, path)
                assert answer.status_code < 500, (method, path, answer.text)
        for name in (
            "If-Match",
            "Idempotency-Key",
            "Content-Type",
            "Accept",
            "Authorization",
            "Origin",
            "Content-Length",
        ):
            value = unquote_to_bytes(word).replace(b"\r\n", b"")  # no header that the protocol lets through has these
            answer = await daemon.socket.post("/api/v1/incidents", json=BODY, headers=[(name.encode(), value)])
            assert answer.status_code < 500, (name, answer.text)
    assert [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR] == []
