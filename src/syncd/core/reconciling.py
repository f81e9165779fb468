"""Reconcile runs as decisions: begin, tell what was found, heal what no observation heals, end; and when one is due.

One run at a time for each integration. A run is in the journal from its beginning, so that a crash leaves one that is
``interrupted`` and not one that nobody heard of (docs/sync.md, "Drift and runs").
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, TypeVar
from zlib import crc32

from msgspec import Struct, UnsetType
from msgspec.structs import replace

from syncd.core import finding
from syncd.core.drift import Finding, is_healed, is_in_flight, may_be_retried
from syncd.core.duration import duration_s
from syncd.core.events import (
    Change,
    DeadLetterRetried,
    DuplicateSetAside,
    Event,
    LinkReleased,
    RunEnded,
    RunPlanned,
    RunStarted,
    ScheduleSet,
)
from syncd.core.fields import Fields, given, shown
from syncd.core.run import DRIFTS_KEPT_MAX, Drift, Mode, Run, RunStatus, Schedule, StoppedBy, Trigger
from syncd.core.state import State
from syncd.errors import Invalid, Problem, Unknown, WrongState

T = TypeVar("T")
Decide = Callable[[State, float], Change[T]]

INTERVAL_S_MIN: Final = 1.0
LETTERS_KEPT_MAX: Final = 200_000  # of all texts of a run's drifts
SHORT_LETTERS_KEPT: Final = 60  # of each of them beyond that
INTERRUPTED: Final = "the daemon ended while it went on; the next run does what this one left"


class WantedRun(Struct, frozen=True):
    """What somebody asks a run to be."""

    mode: Mode
    forced: bool = False


class WantedSchedule(Struct, frozen=True):
    """A schedule from a request; what is not given stays as it is."""

    interval: str | None = None
    auto_heal: bool | None = None
    enabled: bool | None = None


def read_run(body: Fields) -> WantedRun:
    """What a run is to be, from a request's object; ``Invalid`` with every fault."""
    dry, heals, forced = (given(body.flag(name), False) for name in ("dry_run", "auto_heal", "force"))
    body.done("the run")
    return WantedRun("dry-run" if dry else "heal" if heals else "report", forced)


def read_schedule(body: Fields) -> WantedSchedule:
    """A schedule from a request's object; ``Invalid`` with every fault."""
    interval = body.duration("interval", least_s=INTERVAL_S_MIN)
    auto_heal, enabled = body.flag("auto_heal"), body.flag("enabled")
    body.done("the schedule", least=1)
    return WantedSchedule(
        None if isinstance(interval, UnsetType) else interval,
        None if isinstance(auto_heal, UnsetType) else auto_heal,
        None if isinstance(enabled, UnsetType) else enabled,
    )


def running(state: State, integration_id: str) -> Run | None:
    """The run that goes on now: it is always the newest."""
    newest = next(reversed(state.runs.get(integration_id, {}).values()), None)
    return newest if newest is not None and newest.status == "running" else None


def last_ended(state: State, integration_id: str) -> Run | None:
    """The newest run that is over."""
    runs = state.runs.get(integration_id, {})
    return next((run for run in reversed(runs.values()) if run.status != "running"), None)


def run_called(state: State, integration_id: str, run_id: str) -> Run:
    """The run of that id; ``Unknown`` otherwise."""
    run = state.runs.get(integration_id, {}).get(run_id)
    if run is None:
        handle = finding.integration(state, integration_id).settings.handle
        raise Unknown(
            f"there is no run {shown(run_id)}",
            hint=f"list those that are kept: im integration reconcile history {handle}",
        )
    return run


def start(integration_id: str, wanted: WantedRun, trigger: Trigger) -> Decide[Run]:
    """Begin a run; ``WrongState`` with the id of the one that goes on."""

    def decide(state: State, at_s: float) -> Change[Run]:
        integration = finding.integration(state, integration_id)
        if (present := running(state, integration.id)) is not None:
            handle = integration.settings.handle
            raise WrongState(
                f"{present.id} of {handle} goes on",
                hint=f"see how far it is: im integration reconcile history {handle} {present.id}",
            )
        name = f"run-{state.last_number + 1}"
        run = Run(name, integration.id, wanted.mode, trigger, at_s, forced=wanted.forced)
        return Change(integration.settings.organization_id, (RunStarted(run),), run)

    return decide


def planned(run: Run, checked: int, findings: Sequence[Finding]) -> Decide[None]:
    """Put on record what a run has found, before anything is healed."""

    def decide(state: State, _at_s: float) -> Change[None]:
        kept, found = kept_of(findings)
        event = RunPlanned(run.integration_id, run.id, checked, kept, found)
        return _of_run(state, run, event)

    return decide


def kept_of(findings: Sequence[Finding]) -> tuple[tuple[Drift, ...], dict[str, int]]:
    """The drifts that a run keeps, and how many there were of each cause."""
    kept = [one.drift for one in findings[:DRIFTS_KEPT_MAX]]
    if sum(map(_letters, kept)) > LETTERS_KEPT_MAX:
        kept = [_shortened(one) for one in kept]
    return tuple(kept), dict(Counter(one.drift.cause for one in findings))


def _letters(drift: Drift) -> int:
    return sum(len(text or "") for text in (drift.platform, drift.external, drift.base, drift.base_external))


def _shortened(drift: Drift) -> Drift:
    """With no more than the beginning of its texts: there are many."""

    def short(text: str | None) -> str | None:
        return text if text is None or len(text) <= SHORT_LETTERS_KEPT else f"{text[:SHORT_LETTERS_KEPT]}…"

    return replace(
        drift,
        platform=short(drift.platform),
        external=short(drift.external),
        base=short(drift.base),
        base_external=short(drift.base_external),
    )


def heal(run: Run, findings: Sequence[Finding]) -> Decide[None]:
    """Begin to heal what feeding the observations does not: letters, copies, and what is nowhere on its way.

    A refused write is tried again because a person asks for it; for schedules the letters have one of their own.
    """

    def decide(state: State, at_s: float) -> Change[None]:
        events: list[Event] = []
        places = {one.place for one in findings if one.drift.cause == "refused-write"}
        for one in findings:
            link = state.links.get(one.place)
            if one.drift.cause == "duplicate":
                events.append(DuplicateSetAside(run.integration_id, one.drift.external_id, one.drift.incident_id))
            elif one.drift.cause == "undelivered" and link is not None and not is_in_flight(state, link):
                events.append(LinkReleased(link.id))
        if run.trigger == "manual":
            letters = [letter for name in sorted(places) for letter in state.letters_under(name)]
            events += [DeadLetterRetried(one.id, one.link_id) for one in letters if may_be_retried(one, at_s)]
        return _of_run(state, run, *dict.fromkeys(events))

    return decide


def end(
    run: Run,
    status: RunStatus,
    reason: str = "",
    *,
    stopped_by: StoppedBy = "",
    checked: int | None = None,
    findings: Sequence[Finding] | None = None,
    fed: bool = False,
) -> Decide[None]:
    """End a run. ``fed``: healing has begun, so what is there no more of what it found is healed."""

    def decide(state: State, _at_s: float) -> Change[None]:
        present = state.runs.get(run.integration_id, {}).get(run.id)
        if present is None or present.status != "running":
            return Change("", (), result=None)
        kept, found, healed = None, dict[str, int](), 0
        if findings is not None:
            after = [fed and is_healed(state, run.integration_id, one.drift) for one in findings]
            kept, found = kept_of(findings)
            kept = tuple(replace(one, healed=is_so) for one, is_so in zip(kept, after, strict=False))
            healed = after.count(True)
        event = RunEnded(run.integration_id, run.id, status, reason, stopped_by, checked, kept, found, healed)
        return _of_run(state, run, event)

    return decide


def interrupt_all(state: State, _at_s: float) -> Change[None]:
    """End the runs that an earlier life of the daemon left. They may be of several organizations: one record each."""
    for integration_id in state.runs:
        if (run := running(state, integration_id)) is not None:
            return _of_run(state, run, RunEnded(integration_id, run.id, "interrupted", INTERRUPTED))
    return Change("", (), result=None)


def has_running(state: State) -> bool:
    """Any integration has a run that goes on."""
    return any(running(state, one) is not None for one in state.runs)


def _of_run(state: State, run: Run, *events: Event) -> Change[None]:
    integration = state.integrations.get(run.integration_id)
    if integration is None or not events:
        return Change("", (), result=None)
    return Change(integration.settings.organization_id, events, result=None)


def schedule(integration_id: str, wanted: WantedSchedule) -> Decide[Schedule]:
    """Set when runs begin by themselves."""

    def decide(state: State, at_s: float) -> Change[Schedule]:
        integration = finding.integration(state, integration_id)
        before = state.schedules.get(integration.id)
        interval = wanted.interval or (before.interval if before is not None else None)
        if interval is None:
            fault = Problem("interval", "is missing: there is no schedule yet; give one such as 1h")
            raise Invalid(
                "interval is missing: there is no schedule yet", hint="give one such as 1h", problems=(fault,)
            )
        made = Schedule(
            interval,
            (before is not None and before.auto_heal) if wanted.auto_heal is None else wanted.auto_heal,
            (before is None or before.enabled) if wanted.enabled is None else wanted.enabled,
            at_s,
        )
        return Change(integration.settings.organization_id, (ScheduleSet(integration.id, made),), made)

    return decide


def next_run_at_s(state: State, integration_id: str) -> float:
    """When the next run begins by itself; infinite when none will.

    Each integration has a phase of its own, so that many with one interval do not begin together. A run that was due
    while the daemon was down, or another run went on, is made up for once.
    """
    plan, integration = state.schedules.get(integration_id), state.integrations.get(integration_id)
    if plan is None or not plan.enabled or integration is None or not integration.settings.runs:
        return math.inf
    interval_s = duration_s(plan.interval)
    phase_s = crc32(integration_id.encode()) / 2**32 * interval_s
    after_s = max(plan.set_at_s, plan.ran_at_s)
    return phase_s + (math.floor((after_s - phase_s) / interval_s) + 1) * interval_s
