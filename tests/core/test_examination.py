"""The judgements of the connection test that need no instance."""

import pytest

from syncd.core import examination as judge
from syncd.core.examination import Step
from syncd.core.model import PinnedInstance, Settings
from syncd.core.sending import Offset

SETTINGS = Settings(
    organization_id="acme",
    name="Prod",
    handle="prod",
    base_url="https://a.service-now.com",
    external_defaults={"close_code": "Solved", "hold": {"hold_reason": "9"}, "caller_id": "im"},
)
FOUND = {
    "state": {"1", "2", "3", "6", "7", "8"},
    "impact": {"1", "2", "3"},
    "urgency": {"1", "2", "3"},
    "close_code": {"Solved"},
    "hold_reason": {"9"},
}


def test_the_verdict_of_a_report_is_that_of_its_worst_step() -> None:
    fine = [Step("a", "ok", ""), Step("b", "warning", ""), Step("c", "skipped", "")]
    assert judge.report("int_1", "prod", fine).verdict == "ok"
    assert judge.report("int_1", "prod", [*fine, Step("d", "failed", "")]).verdict == "failed"


@pytest.mark.parametrize(
    ("ago_s", "verdict"), [(None, "warning"), (0.0, "ok"), (86_400.0, "ok"), (86_401.0, "warning"), (-5.0, "ok")]
)
def test_a_webhook_of_the_last_day_shows_that_the_way_back_works(ago_s: float | None, verdict: str) -> None:
    at_s = 1_000_000.0
    step = judge.webhook(None if ago_s is None else at_s - ago_s, at_s, SETTINGS)
    assert step.verdict == verdict
    assert ("im integration webhook-script prod" in step.remedy) == (verdict == "warning")


def test_values_of_defaults_are_looked_for_where_the_column_has_choices() -> None:
    assert judge.choices(FOUND, SETTINGS).verdict == "ok"
    assert judge.chosen_columns(SETTINGS) == [
        "state", "impact", "urgency", "close_code", "hold_reason", "caller_id",
    ]  # fmt: skip
    step = judge.choices({**FOUND, "close_code": {"Other"}, "hold_reason": {"1"}}, SETTINGS)
    assert step.verdict == "failed"
    assert "close_code 'Solved', hold_reason '9'" in step.detail


def test_a_state_that_we_write_must_be_there() -> None:
    step = judge.choices({**FOUND, "state": {"1", "2"}}, SETTINGS)
    assert (step.verdict, "state '6'" in step.detail) == ("failed", True)


@pytest.mark.parametrize("row", [{"user_name": "u", "locked_out": "true"}, {"user_name": "u", "active": "false"}])
def test_a_locked_or_inactive_user_fails(row: dict[str, str]) -> None:
    assert judge.account("u", [row]).verdict == "failed"


def test_a_user_that_is_not_ours_is_not_judged() -> None:
    rows = [{"user_name": "U", "time_zone": "GMT"}, {"user_name": "u", "time_zone": "GMT"}]
    assert judge.account("x", rows).verdict == "warning"
    assert judge.account("u", rows).verdict == "ok"  # the instance compares without case, we do not


def test_a_name_that_only_webhooks_told_is_no_contradiction() -> None:
    said = PinnedInstance("other", by_api=False)
    assert judge.identity("prod", said, "https://a", "h").verdict == "ok"
    assert "'other'" in judge.identity("", said, "https://a", "h").detail


def test_a_clock_is_in_doubt_only_beyond_what_is_uncertain() -> None:
    assert judge.clock(Offset(2.9, 1.0), is_measured=True).verdict == "ok"
    assert judge.clock(Offset(-3.1, 1.0), is_measured=True).verdict == "warning"
    assert judge.clock(Offset(), is_measured=False).verdict == "warning"
