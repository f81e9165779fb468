"""Reconcile runs and their schedule as the API shows them."""

import math

from msgspec import Struct

from syncd.core.reconciling import next_run_at_s
from syncd.core.run import Drift, Run
from syncd.core.state import State
from syncd.core.views import Time, optional_time, rfc3339

DRIFTS_IN_LIST_MAX = 20


class DriftView(Struct, frozen=True, kw_only=True):
    """One difference. `field`: a synced one, `work_notes`, or `record` for the record as a whole.

    `incident_id` is null for a record without an incident. `base` is the platform's half of what the two last agreed
    on, `base_external` the other half, as ServiceNow showed it. `action`: what healing does about it.
    """

    incident_id: str | None
    external_id: str | None
    field: str
    platform: str | None
    external: str | None
    base: str | None
    base_external: str | None
    cause: str
    action: str
    healed: bool


class RunView(Struct, frozen=True, kw_only=True):
    """A comparison of all links. `links`: how many there are to be compared, while it goes on.

    `found`: how many drifts; `causes`: of which kinds; `healed`: how many of them are; `left_out`: how many of them
    `drifts` does not hold.
    """

    id: str
    integration_id: str
    mode: str
    trigger: str
    status: str
    reason: str
    started_at: Time
    finished_at: Time | None
    checked: int
    links: int | None
    found: int
    causes: dict[str, int]
    healed: int
    drifts: list[DriftView]
    left_out: int


class ScheduleView(Struct, frozen=True, kw_only=True):
    """When runs begin by themselves. `next_run_at` is null while none will."""

    integration_id: str
    interval: str
    auto_heal: bool
    enabled: bool
    set_at: Time
    next_run_at: Time | None


def run_view(run: Run, *, progress: tuple[int, int] | None = None, drifts_max: int | None = None) -> RunView:
    """A run. ``progress``: links compared and to be compared, while it goes on. ``drifts_max``: None for all kept."""
    found = sum(run.found.values())
    shown = run.drifts if drifts_max is None else run.drifts[:drifts_max]
    checked, links = progress if progress is not None else (run.checked, None)
    return RunView(
        id=run.id,
        integration_id=run.integration_id,
        mode=run.mode,
        trigger=run.trigger,
        status=run.status,
        reason=run.reason,
        started_at=rfc3339(run.started_at_s),
        finished_at=optional_time(run.finished_at_s),
        checked=checked,
        links=links,
        found=found,
        causes=run.found,
        healed=run.healed,
        drifts=[_drift_view(one) for one in shown],
        left_out=found - len(shown),
    )


def _drift_view(one: Drift) -> DriftView:
    return DriftView(
        incident_id=one.incident_id or None,
        external_id=one.external_id or None,
        field=one.field,
        platform=one.platform,
        external=one.external,
        base=one.base,
        base_external=one.base_external,
        cause=one.cause,
        action=one.action,
        healed=one.healed,
    )


def schedule_view(state: State, integration_id: str) -> ScheduleView:
    """An integration's schedule, which must be there."""
    plan = state.schedules[integration_id]
    next_at_s = next_run_at_s(state, integration_id)
    return ScheduleView(
        integration_id=integration_id,
        interval=plan.interval,
        auto_heal=plan.auto_heal,
        enabled=plan.enabled,
        set_at=rfc3339(plan.set_at_s),
        next_run_at=optional_time(next_at_s if math.isfinite(next_at_s) else None),
    )
