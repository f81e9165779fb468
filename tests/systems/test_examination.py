"""The connection test against a simulated instance in many conditions."""

from collections.abc import Callable
from typing import Final

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from syncd.core.examination import Step
from syncd.core.model import Integration, PinnedInstance, SealedSecret, Settings
from syncd.simulator.instance import Instance
from syncd.simulator.rules import AbortRule, DataPolicy
from syncd.simulator.transport import SimulatorTransport
from syncd.systems.examination import TOTAL_S_MAX, Examination
from syncd.systems.servicenow import ServiceNow
from syncd.systems.signin import Credentials
from tests.systems.test_servicenow import SIGN_IN, Scripted, client, instance_of

SEALED: Final = SealedSecret("k", "n", "c")
CLOSE: Final[dict[str, str | dict[str, str]]] = {"close_code": "Solution provided", "close_notes": "done"}
SETTINGS: Final = Settings(
    organization_id="acme",
    name="Prod",
    handle="prod",
    base_url="https://dev12345.service-now.com",
    external_defaults=CLOSE,
)
ONE: Final = Integration(
    "int_1", SETTINGS, 1.0, credentials={"username": SEALED, "password": SEALED}, account="svc.sync"
)
NAMES: Final = [
    "reach", "credentials", "account", "instance", "clock", "read", "queries", "choices", "work notes",
    "write permission", "rate limit", "write check",
]  # fmt: skip


async def examined(external: ServiceNow, integration: Integration = ONE, *, writes: bool = False) -> dict[str, Step]:
    steps = [step async for step in Examination(external, integration, writes=writes, word="W1")]
    assert [step.name for step in steps] == NAMES
    for step in steps:
        assert step.detail
        assert step.remedy or step.verdict in ("ok", "skipped")
        assert "sync-secret" not in f"{step.detail} {step.remedy}"
    return {step.name: step for step in steps}


def to(instance: Instance, credentials: Credentials = SIGN_IN) -> ServiceNow:
    return client(SimulatorTransport(instance), credentials=credentials)


def noted(instance: Instance) -> Instance:
    instance.note_as("beth.anglin", instance.incidents()[0]["sys_id"], "a note")
    return instance


async def test_all_is_well_with_a_well_kept_instance_and_nothing_is_changed(autojump_clock: MockClock) -> None:
    instance = noted(instance_of())
    before = instance.incidents()
    steps = await examined(to(instance))
    assert {name: step.verdict for name, step in steps.items()} == {
        **dict.fromkeys(NAMES, "ok"),
        "write check": "skipped",
    }
    assert instance.incidents() == before
    assert len(instance.requests) <= 15


Condition = Callable[[Instance], object]


def account(instance: Instance) -> dict[str, str]:
    row = instance.kernel.accounts.user_row("svc.sync")
    assert row is not None
    return row


def drop_close_code(instance: Instance) -> None:
    for row in instance.kernel.store.tables["sys_choice"].rows.values():
        if row["value"] == "Solution provided":
            row["inactive"] = "true"


def add_state(instance: Instance) -> None:
    rows = instance.kernel.store.tables["sys_choice"].rows
    state = next(row for row in rows.values() if (row["element"], row["value"]) == ("state", "3"))
    rows["f" * 32] = {**state, "sys_id": "f" * 32, "value": "10", "label": "Awaiting release"}


@pytest.mark.parametrize(
    ("condition", "step", "verdict", "words"),
    [
        (lambda one: account(one).update(time_zone="US/Pacific"), "account", "warning", "time zone US/Pacific"),
        (lambda one: account(one).update(preferred_language="de"), "account", "warning", "language de"),
        (
            lambda one: one.account("svc.sync").hidden.update({"sys_properties": "nameISNOTEMPTY"}),
            "instance",
            "warning",
            "may not see the name",
        ),
        (lambda one: one.account("svc.sync").read_denied.add(("incident", "urgency")), "read", "warning", "urgency"),
        (
            lambda one: one.account("svc.sync").read_denied.add(("incident", "sys_mod_count")),
            "read",
            "failed",
            "sys_mod_count",
        ),
        (
            lambda one: one.account("svc.sync").range_denied.add(("incident", "sys_created_on")),
            "queries",
            "failed",
            "range in a query on sys_created_on",
        ),
        (
            lambda one: one.account("svc.sync").match_denied.add(("incident", "sys_id")),
            "queries",
            "failed",
            "the query on sys_id does not match",
        ),
        (drop_close_code, "choices", "failed", "close_code 'Solution provided'"),
        (add_state, "choices", "warning", "state 10 has no mapping"),
        (
            lambda one: one.account("svc.sync").hidden.update({"sys_choice": "elementISNOTEMPTY"}),
            "choices",
            "warning",
            "not shown",
        ),
        (
            lambda one: one.account("svc.sync").hidden.update({"sys_journal_field": "elementISNOTEMPTY"}),
            "work notes",
            "warning",
            "sys_journal_field is hidden",
        ),
        (
            lambda one: one.account("svc.sync").refused_methods.add("PATCH"),
            "write permission",
            "failed",
            "ServiceNow:",
        ),
        (lambda one: one.arm("rate_limit", 1000), "rate limit", "ok", "requests are left"),
    ],
)
async def test_each_condition_is_found_by_its_step(
    autojump_clock: MockClock, condition: Condition, step: str, verdict: str, words: str
) -> None:
    instance = noted(instance_of())
    condition(instance)
    found = (await examined(to(instance)))[step]
    assert found.verdict == verdict
    assert words in found.detail


@pytest.mark.parametrize(
    ("offset_s", "verdict"), [(0.5, "ok"), (-1.9, "ok"), (5.0, "warning"), (-90.0, "warning"), (200.0, "failed")]
)
async def test_the_clocks_are_compared(autojump_clock: MockClock, offset_s: float, verdict: str) -> None:
    assert (await examined(to(instance_of(offset_s=offset_s))))["clock"].verdict == verdict


@pytest.mark.parametrize("fault", ["hibernating", "maintenance_503", "bad_gateway_502"])
async def test_an_instance_that_is_not_there_fails_the_first_step_and_no_other_is_tried(
    autojump_clock: MockClock, fault: str
) -> None:
    steps = await examined(to(instance_of(fault)))
    assert steps.pop("reach").verdict == "failed"
    assert {step.verdict for step in steps.values()} == {"skipped"}


@pytest.mark.parametrize(
    "credentials",
    [
        Credentials("svc.sync", "wrong"),
        Credentials(api_key="wrong"),
        Credentials(client_id="sync-client", client_secret="wrong"),
        Credentials("lars.locked", "lars-secret"),
    ],
)
async def test_wrong_credentials_are_tried_once(autojump_clock: MockClock, credentials: Credentials) -> None:
    instance = instance_of()
    steps = await examined(to(instance, credentials))
    assert (steps["reach"].verdict, steps["credentials"].verdict, steps["read"].verdict) == ("ok", "failed", "skipped")
    assert "401" in steps["credentials"].detail or "credentials" in steps["credentials"].remedy
    assert len(instance.requests) == 1


async def test_without_credentials_that_is_what_is_said(autojump_clock: MockClock) -> None:
    steps = await examined(to(instance_of(), Credentials()), replace(ONE, credentials={}))
    assert steps["credentials"].detail == "none are stored"


async def test_another_instance_than_the_pinned_one_fails(autojump_clock: MockClock) -> None:
    step = (await examined(to(instance_of()), replace(ONE, instance=PinnedInstance("prod", by_api=True))))["instance"]
    assert step.verdict == "failed"
    assert "im integration configure prod --base-url" in step.remedy


async def test_where_nothing_is_written_no_right_to_write_is_asked_for(autojump_clock: MockClock) -> None:
    instance = instance_of()
    inbound = replace(ONE, settings=replace(SETTINGS, sync_direction="inbound"))
    steps = await examined(to(instance), inbound, writes=True)
    assert (steps["write permission"].verdict, steps["write check"].verdict) == ("skipped", "skipped")
    assert {line.method for line in instance.requests} == {"GET"}


async def test_an_instance_that_never_answers_is_over_within_a_minute(autojump_clock: MockClock) -> None:
    external = client(Scripted(lambda _: pytest.fail("too late"), takes_s=10_000))
    steps = await examined(external)
    assert trio.current_time() <= TOTAL_S_MAX
    assert steps["reach"].verdict == "failed"


async def test_a_rate_that_is_far_too_low_does_not_make_it_longer(autojump_clock: MockClock) -> None:
    steps = await examined(client(SimulatorTransport(instance_of()), rate=0.05))
    assert trio.current_time() <= TOTAL_S_MAX
    assert [step.verdict for step in steps.values()].count("failed") >= 1
    assert "the whole test are over" in steps["write check"].detail


# -- the write check ---------------------------------------------------------------------------------------------------


async def test_the_write_check_makes_an_incident_writes_it_and_cancels_it(autojump_clock: MockClock) -> None:
    instance = instance_of()
    before = {row["sys_id"] for row in instance.incidents()}
    step = (await examined(to(instance), writes=True))["write check"]
    made = [row for row in instance.incidents() if row["sys_id"] not in before]
    assert (step.verdict, len(made)) == ("ok", 1)
    assert (made[0]["state"], made[0]["correlation_id"]) == ("8", "syncd:test:W1")
    assert made[0]["number"] in step.detail


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (
            lambda one: one.account("svc.sync").write_denied.add(("incident", "correlation_id")),
            ["create: correlation_id", "look-up: not found"],
        ),
        (lambda one: one.account("svc.sync").write_denied.add(("incident", "state")), ["resolve: state '6' became"]),
        (drop_close_code, ["resolve:"]),
        (lambda one: one.set_switch("title_prefix", "[P] "), ["short_description"]),
    ],
)
async def test_the_write_check_tells_what_became_of_each_value(
    autojump_clock: MockClock, condition: Condition, words: list[str]
) -> None:
    instance = instance_of()
    condition(instance)
    step = (await examined(to(instance), writes=True))["write check"]
    assert step.verdict == "failed"
    for part in words:
        assert part in step.detail


async def test_what_the_write_check_cannot_cancel_is_reported(autojump_clock: MockClock) -> None:
    instance = instance_of()
    instance.account("svc.sync").write_denied.add(("incident", "state"))
    before = {row["sys_id"] for row in instance.incidents()}
    step = (await examined(to(instance), writes=True))["write check"]
    left = next(row["sys_id"] for row in instance.incidents() if row["sys_id"] not in before)
    assert f"left there (sys_id {left})" in step.detail


async def test_a_create_without_a_clear_outcome_names_what_to_look_for(autojump_clock: MockClock) -> None:
    instance = instance_of("create_commits_then_reset")
    step = (await examined(to(instance), writes=True))["write check"]
    assert step.verdict == "failed"
    assert "syncd:test:W1" in step.detail


@pytest.mark.parametrize(
    ("condition", "remedy"),
    [
        (lambda one: one.rulebook.policies.append(DataPolicy(("1",), ("caller_id",))), "external_defaults"),
        (lambda one: one.account("svc.sync").refused_methods.add("POST"), "sn_incident_write"),
        (lambda one: one.rulebook.aborts.append(AbortRule("No tests", "short_descriptionLIKEtest")), "business rule"),
    ],
)
async def test_the_remedy_of_the_write_check_is_about_what_stood_in_the_way(
    autojump_clock: MockClock, condition: Condition, remedy: str
) -> None:
    instance = instance_of()
    condition(instance)
    step = (await examined(to(instance), writes=True))["write check"]
    assert step.verdict == "failed"
    assert remedy in step.remedy


async def test_ids_that_queries_ignore_are_a_matter_of_query_rights_and_not_of_the_way(
    autojump_clock: MockClock,
) -> None:
    instance = instance_of()
    instance.account("svc.sync").match_denied.add(("incident", "sys_id"))
    step = (await examined(to(instance)))["queries"]
    assert step.verdict == "failed"
    assert "query_match" in step.remedy
