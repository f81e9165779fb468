"""Why an integration is not well: each reason leads on."""

import re
from pathlib import Path

from msgspec.structs import replace

from syncd.core import events as e
from syncd.core.events import Observed
from syncd.core.health import Counts
from syncd.core.model import Failure, Hint, OutboxEntry, Rule
from syncd.core.run import Run
from tests.core.picture import AT_S, INT, LINK, WAY_OUT, apply, integration, picture, seen, shown

ROOT = Path(__file__).parents[2]
PAGE = re.compile(r'see (docs/[a-z]+\.md), "([^"]+)"')


def test_a_state_without_a_mapping_is_shown_and_does_not_hide_what_is_worse() -> None:
    state = apply(picture(), Observed(LINK, seen(state="99")))
    told = shown(state, Counts(breaker="open"))
    assert told.state == "down"
    words = "1 record with status '99', which has no mapping: left alone; see: im incident show "
    assert any(reason.startswith(words) for reason in told.reasons)


def every_reason() -> list[str]:
    """The reasons of many states, so that each sentence of theirs is among them."""
    found = []
    for settings in ({"enabled": False}, {"sync_direction": "none"}, {}):
        state = picture()
        apply(state, e.IntegrationChanged(INT, integration(**settings).settings, credentials={}))
        found += shown(state).reasons
    state = apply(picture(), Observed(LINK, seen(state="99")))
    del (columns := dict(seen().columns))["short_description"]
    apply(state, Observed(LINK, replace(seen(), columns=columns | {"state": "99"})))
    waits = OutboxEntry(AT_S - 1000, "trace", failure=Failure("gone", "not there"))
    state.links[LINK] = replace(state.links[LINK], outbox=waits, state="parked")
    state.links["shut"] = replace(state.links[LINK], state="parked", closed_there=True, outbox=OutboxEntry(AT_S, "t"))
    base = replace(state.links[LINK].base["title"], platform="closed", external="6")
    state.links["shut"] = replace(state.links["shut"], base={"status": base})
    state.links["gone"] = replace(state.links[LINK], gone_there=True)
    missed = OutboxEntry(AT_S, "trace", attempts=2, failure=Failure("gone", "not there"))
    state.links["unshown"] = replace(state.links[LINK], state="active", outbox=missed)
    state.set_aside[INT] = {"copy": "INC-1"}
    state.hints[INT] = {name: Hint(name, 1, "t", tries=9, unreadable=name == "broken") for name in ("broken", "hidden")}
    state.integrations[INT] = replace(state.integrations[INT], rules={"write": Rule("1"), "delete": Rule("", ("x",))})
    for by in ("brake", "answers"):
        state.runs[INT] = {
            "run-9": Run("run-9", INT, "heal", "manual", AT_S, status="stopped", stopped_by=by, reason=by)
        }
        found += shown(state, Counts()).reasons
    for counts in (
        Counts(halted="halted: a bug"),
        Counts(halted="refused", breaker="paused"),
        Counts(halted="halted: its actors did not end", way_out='see docs/operations.md, "Paused: halted"'),
        Counts(breaker="open", trouble="no answer"),
        Counts(
            trouble="no answer", braked="it would close 30 of 30 links", query_faults=("ServiceNow ignores the range",)
        ),
    ):
        found += shown(state, counts).reasons
    return found


def test_every_reason_ends_with_a_command_or_with_the_heading_that_helps() -> None:
    reasons = every_reason()
    assert len(set(reasons)) >= 18
    for reason in reasons:
        page = PAGE.search(reason)
        assert WAY_OUT.search(reason) or page, reason
        if page is not None:
            assert re.search(rf"^#+ {re.escape(page[2])}$", (ROOT / page[1]).read_text(), re.MULTILINE), reason
