"""Compares all links: in runs, on command and by schedule, and once when the integration starts.

A run is in the journal before it begins; this actor finds it in State, makes it, and ends it there. At the start
webhooks sent meanwhile are gone, so all links are read as well, without a run of its own. What was not shown is looked
for again: a link is parked after the second look, and freed by the first one that shows its record.
"""

import math
from contextlib import suppress
from functools import partial
from typing import Final

import trio
from msgspec.structs import replace

from syncd.actors.doorbell import Doorbell
from syncd.actors.means import Actor, Means
from syncd.actors.ports import Progress
from syncd.actors.survey import Stopped, Survey
from syncd.core import reconciling
from syncd.core.drift import Downtime, Finding, is_in_flight
from syncd.core.hints import HINTS_A_READ
from syncd.core.model import Integration
from syncd.core.reconciling import WantedRun, next_run_at_s
from syncd.core.run import Run, StoppedBy
from syncd.errors import ExternalFailed, JournalFailed, WrongState
from syncd.pulse import resting

LOOK_AGAIN_S: Final = 5.0  # a webhook that is on its way has come by then
WRITES_S_MAX: Final = 15.0
WRITES_STEP_S: Final = 0.1
MISSED_AGAIN_S: Final = 30.0
GONE_AGAIN_S: Final = 300.0
STOPPED_AGAIN_S: Final = 300.0
EMPTY_AGAIN_S_MAX: Final = 3600.0
ENDED: Final = "the integration was started anew, or ended, meanwhile; the next run does what this one left"


class Reconciler(Actor):
    """One integration's reconciler. ``last_at_s``: when all was read last.

    ``trouble``: what of the start the brake has held. ``blindness``: why the start was not acted upon at all.
    """

    def __init__(self, means: Means, bell: Doorbell, down: Downtime | None = None) -> None:
        super().__init__(means)
        self._bell = bell
        self._down = down
        self._scope = trio.CancelScope()
        self._stopped_by = ""
        self._survey: Survey | None = None
        self._run_id = ""
        self._missed: dict[str, float] = {}
        self._gone_at = -math.inf
        self._empty_sweeps = 0
        self.last_at_s: float | None = None
        self.trouble = ""
        self.blindness = ""

    @property
    def progress(self) -> Progress | None:
        """How far the run that goes on is."""
        return self._survey.progress(self._run_id) if self._survey is not None and self._run_id else None

    async def stop(self, run_id: str, by: str) -> None:
        """Have the run end where it stands; ``WrongState`` when it does not go on."""
        present = reconciling.running(self._journal.state, self._integration_id)
        if present is None or present.id != run_id:
            raise WrongState(f"{run_id} does not go on", hint="im integration reconcile history shows how it ended")
        if self._run_id != run_id:  # it waits for the look at the start
            await self._tell(reconciling.end(present, "stopped", f"stopped by {by}", stopped_by="person"))
        if self._run_id == run_id:
            self._stopped_by = by
            self._scope.cancel()

    async def run(self) -> None:
        """Make the runs that are on record, begin those that are due, look at all links at the start.

        Ends only by cancellation.
        """
        sweep_at, failures = trio.current_time(), 0
        self._gone_at = trio.current_time() + GONE_AGAIN_S
        while True:
            state, now = self._journal.state, trio.current_time()
            if self._integration_id not in state.integrations:
                await self._bell.wait()  # deleted: whoever runs us is about to be stopped
            elif (run := reconciling.running(state, self._integration_id)) is not None:
                if await self._made(run):
                    sweep_at = math.inf
            elif next_run_at_s(state, self._integration_id) <= self._clock.now_s():
                await self._begin()
            elif now >= min(sweep_at, self._look_at()):
                try:
                    if now >= sweep_at:
                        sweep_at = now + await self._sweep()
                    else:
                        await self._look_again()
                    failures = 0
                except ExternalFailed:
                    failures += 1
                    pause = now + self._reader.pause_s(failures)
                    if sweep_at <= now:
                        sweep_at = pause
                    else:
                        self._gone_at = pause
                        self._missed = dict.fromkeys(self._missed, pause)
            else:
                due_s = next_run_at_s(state, self._integration_id) - self._clock.now_s()
                await self._bell.wait(max(0.0, min(sweep_at - now, self._look_at() - now, due_s)))

    async def _begin(self) -> None:
        plan = self._journal.state.schedules.get(self._integration_id)
        if plan is not None:
            wanted = WantedRun("heal" if plan.auto_heal else "report")
            decide = reconciling.start(self._integration_id, wanted, "schedule")
            with suppress(WrongState):  # a person was quicker
                await self._journal.transact(decide, by=self._by, trace=self._ids.word())

    async def _made(self, run: Run) -> bool:
        """Make a run to its end, whatever that is; whether it has looked at everything and healed."""
        integration = self._journal.state.integrations[run.integration_id]
        survey = self._new_survey(integration, self._ids.word())
        self._survey, self._run_id, self._scope, self._stopped_by = survey, run.id, trio.CancelScope(), ""
        reason = ENDED
        try:
            with self._scope:
                await self._conduct(run, survey)
                return run.mode == "heal"
            await self._end(run, survey, f"stopped by {self._stopped_by}", "person")
        except Stopped as stopped:
            await self._end(run, survey, stopped.reason, stopped.by)
        except ExternalFailed as error:
            await self._end(run, survey, str(error), "instance")
        except JournalFailed:
            raise
        except Exception as error:
            reason = f"it failed: {type(error).__name__}; the log has the cause"
            raise
        finally:
            self._survey, self._run_id = None, ""
            present = reconciling.running(self._journal.state, run.integration_id)
            if present is not None and present.id == run.id:
                with trio.move_on_after(1, shield=True), suppress(JournalFailed):
                    end = partial(reconciling.end, run, "interrupted", reason)
                    await self._tell(end(checked=survey.checked, findings=survey.findings, fed=survey.fed))
        return False

    async def _conduct(self, run: Run, survey: Survey) -> None:
        heals = run.mode == "heal"
        odd = await survey.first_pass()
        if odd:
            with resting():
                await trio.sleep(LOOK_AGAIN_S)
        await survey.second_pass(odd, heals=heals, forced=run.forced)
        found = survey.findings
        if heals and found:
            await self._tell(reconciling.planned(run, survey.checked, found))
        remark = ""
        if heals:
            await survey.feed()
            await self._tell(reconciling.heal(run, found))
            await survey.done(self._reader.offset)
            await self._wait_for_writes(found)
            self.trouble = self.blindness = ""
        elif survey.braked:
            remark = f"healing this would be stopped: {survey.braked}"
        self.last_at_s = self._clock.now_s()
        end = partial(reconciling.end, run, "finished", remark)
        await self._tell(end(checked=survey.checked, findings=found, fed=survey.fed))

    async def _wait_for_writes(self, found: list[Finding]) -> None:
        """Return when what was begun is done, after ``WRITES_S_MAX`` at the latest."""
        names = {one.place for one in found}
        with resting(), trio.move_on_after(WRITES_S_MAX):
            while self._is_under_way(names):  # noqa: ASYNC110 the writes of others ring no bell of ours
                await trio.sleep(WRITES_STEP_S)

    def _is_under_way(self, names: set[str]) -> bool:
        state = self._journal.state
        found = {state.link_of_record.get((self._integration_id, name), name) for name in names}
        return any((link := state.links.get(name)) is not None and is_in_flight(state, link) for name in found)

    async def _end(self, run: Run, survey: Survey, reason: str, by: StoppedBy) -> None:
        end = partial(reconciling.end, run, "stopped", reason, stopped_by=by)
        await self._tell(end(checked=survey.checked, findings=survey.findings, fed=survey.fed))

    async def _tell(self, decide: reconciling.Decide[None]) -> None:
        await self._journal.transact(decide, by=self._by, trace=self._ids.word())

    def _new_survey(self, integration: Integration, trace: str) -> Survey:
        return Survey(integration, self._by, self._journal, self._reader, self._clock, trace, self._down)

    async def _sweep(self) -> float:
        """Read every link's record, then look for records created since the last time. Heals through the merge.

        In how many seconds it must be made again: what was shown must not be acted upon, or not all of it (then the
        rest is healed), or our account is shown no incident, and none is linked. Infinite when all is done.
        """
        integration = self._journal.state.integrations[self._integration_id]
        survey = self._new_survey(integration, self._ids.word())
        self.trouble = self.blindness = ""
        try:
            await survey.only_pass()
        except Stopped as stopped:
            self.blindness = stopped.reason
            return STOPPED_AGAIN_S
        self.trouble = survey.braked
        await survey.feed()
        await survey.feed_new()
        if not await survey.done(self._reader.offset):
            self._empty_sweeps += 1
            return min(EMPTY_AGAIN_S_MAX, STOPPED_AGAIN_S * 2.0 ** min(self._empty_sweeps - 1, 8))
        if self.trouble:
            return STOPPED_AGAIN_S
        again_at = trio.current_time() + MISSED_AGAIN_S
        self._missed = dict.fromkeys(survey.missing, again_at)
        self.last_at_s = self._clock.now_s()
        return math.inf

    def _gone(self) -> list[str]:
        return [one.external_id for one in self._journal.state.links_under(self._integration_id) if one.gone_there]

    def _look_at(self) -> float:
        """When to look again for what was not shown."""
        return min((self._gone_at, *self._missed.values()))

    async def _look_again(self) -> None:
        """Look once more for the records that the start did not show, and for those whose links are parked for that."""
        missed = frozenset(self._missed)
        ids = sorted(missed.union(self._gone()))
        for start in range(0, len(ids), HINTS_A_READ):
            page = ids[start : start + HINTS_A_READ]
            asked = self._journal.state.position
            rows = await self._reader.rows(page)
            trace = self._ids.word()
            read = await self._reader.gathered(asked, rows, trace)
            still = missed.intersection(page) - {seen.external_id for seen in rows}
            read = replace(read, missing=still)
            await self._reader.settle(read, trace)
        self._missed.clear()
        self._gone_at = trio.current_time() + GONE_AGAIN_S
