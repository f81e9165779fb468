"""Whatever JSON a caller with a right to call sends, the answer is a 2xx or a 4xx, short, and never a 5xx."""

import re

import msgspec
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.edges.api.app import build_quart
from tests.edges.api.daemon import SNOW, Daemon, running
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
    there = {"incident_id": "INC-A", "integration": "prod", "conflict_id": "conflict-1", "letter_id": "entry-2"}
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
