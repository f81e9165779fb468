"""One running integration: its actors under one supervised nursery, its doorbells, and its handle for the doors.

Nothing here delays another integration: own nursery, rate budget, breaker and restart policy.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import Final

import trio
from msgspec.structs import replace

from syncd.actors.breaker import Breaker
from syncd.actors.containment import Containment
from syncd.actors.dead_letters import run_dead_letters
from syncd.actors.doorbell import Doorbell
from syncd.actors.guard import Guard
from syncd.actors.importer import Importer
from syncd.actors.intake import run_intake
from syncd.actors.means import Means
from syncd.actors.poller import Poller
from syncd.actors.ports import External, Journal, Progress
from syncd.actors.prober import run_prober
from syncd.actors.reading import Ear, Reader
from syncd.actors.reconciler import Reconciler
from syncd.actors.router import run_router
from syncd.actors.sender import Sender
from syncd.actors.supervisor import RestartPolicy, supervise
from syncd.core import reconciling
from syncd.core.coverage import Announcements
from syncd.core.drift import Downtime
from syncd.core.events import Source
from syncd.core.health import Health
from syncd.core.model import Integration
from syncd.core.reconciling import WantedRun
from syncd.core.run import Run, Schedule
from syncd.errors import Busy, ExternalFailed
from syncd.seams import Clock, Ids

POLICY: Final = RestartPolicy()
RETRY_AFTER_S: Final = 5


class RunningIntegration:
    """The actors of one integration and its way to ServiceNow. Made anew when its settings change."""

    def __init__(
        self,
        integration: Integration,
        journal: Journal,
        external: External,
        clock: Clock,
        ids: Ids,
        restarts: Counter[str],
        heard: Announcements,
        down: Downtime | None = None,
    ) -> None:
        """``restarts``: counted on in it, by actor. ``heard``: of webhooks, and of what none announced. ``down``: when
        the daemon was last not there.
        """
        self._restarts = restarts
        self._heard = heard
        self._id = integration.id
        self._journal = journal
        by = f"integration:{integration.settings.handle}"
        self._by = by
        self._handle = integration.settings.handle
        self._rng: Random = ids.rng
        self._plan: Schedule | None = None  # the schedule that the reconciler was rung for
        self._clock = clock
        self._ids = ids
        self._external = external
        self._intake_bell, self._router_bell = Doorbell(), Doorbell()
        self._sender_bell, self._letters_bell = Doorbell(), Doorbell()
        self._reconciler_bell, self._import_bell = Doorbell(), Doorbell()
        guard = Guard(integration.id, by, journal, external)
        self._breaker = Breaker(ids.rng, integration.settings.max_concurrency, by, guard.admit, external.paced)
        self._containment = Containment(by, journal)
        self._reader = Reader(
            integration.id, by, journal, external, self._breaker, self._containment, ids, Ear(heard, clock)
        )
        means = Means(integration.id, by, journal, external, self._reader, clock, ids)
        self._reconciler = Reconciler(means, self._reconciler_bell, down)
        self._poller = Poller(means, integration.settings)
        self.importer = Importer(means, self._import_bell)
        self._sender = Sender(means, self._sender_bell)

    def ring(self) -> None:
        """Ring the actors that have work in State."""
        state = self._journal.state
        if state.hints.get(self._id):
            self._intake_bell.ring()
        if state.dirty.get(self._id) or state.unlinked.get(self._id):
            self._router_bell.ring()
        if state.outbox.get(self._id):
            self._sender_bell.ring()
        if state.dead_letters:
            self._letters_bell.ring()
        plan = state.schedules.get(self._id)
        if reconciling.running(state, self._id) is not None or plan is not self._plan:
            self._plan = plan
            self._reconciler_bell.ring()
        one = state.integrations.get(self._id)
        if one is not None and one.importing is not None and one.importing.status == "running":
            self._import_bell.ring()

    async def run(self) -> None:
        """Run until cancelled; ``ActorGaveUp`` when one of the actors fails too often."""
        actors: dict[str, Callable[[], Awaitable[None]]] = {
            "intake": lambda: run_intake(self._id, self._journal, self._reader, self._clock, self._intake_bell),
            "router": lambda: run_router(self._id, self._by, self._journal, self._containment, self._router_bell),
            "sender": self._sender.run,
            "reconciler": self._reconciler.run,
            "poller": self._poller.run,
            "importer": self.importer.run,
            "dead letters": lambda: run_dead_letters(
                self._id, self._by, self._journal, self._clock, self._ids, self._letters_bell
            ),
            "prober": lambda: run_prober(self._breaker, self._external),
        }
        async with trio.open_nursery() as nursery:
            for name, start in actors.items():
                failed = partial(self._count_restart, name)
                nursery.start_soon(partial(supervise, f"{self._handle} {name}", start, POLICY, self._rng, failed))
            self.ring()

    def _count_restart(self, actor: str) -> None:
        self._restarts[actor] += 1

    async def reconcile(self, wanted: WantedRun, *, by: str, trace: str, source: Source | None) -> Run:
        """Put a run on record, to be made now."""
        try:
            self._breaker.check()  # a person waits: say at once that the instance is being left alone
        except ExternalFailed as error:
            raise Busy(
                f"no run can begin: {error}",
                hint="im integration sync-status says how the instance does",
                retry_after_s=RETRY_AFTER_S,
            ) from error
        decide = reconciling.start(self._id, wanted, "manual")
        run = await self._journal.transact(decide, by=by, trace=trace, source=source)
        self._reconciler_bell.ring()
        return run

    async def stop_run(self, run_id: str, *, by: str) -> None:
        """Have a run end where it stands."""
        await self._reconciler.stop(run_id, by)

    @property
    def progress(self) -> Progress | None:
        """How far the run that goes on is."""
        return self._reconciler.progress

    async def link(self, incident_id: str, external_id: str, *, by: str, trace: str, source: Source | None) -> None:
        """Join an incident and a record that a person named."""
        await self._reader.link(incident_id, external_id, by=by, trace=trace, source=source)

    def _is_linked(self, external_id: str) -> bool:
        return (self._id, external_id) in self._journal.state.link_of_record

    @property
    def health(self) -> Health:
        """How the connection does, since this integration was started."""
        breaker, external = self._breaker, self._external
        clock_offset_s = self._clock.now_s() - trio.current_time()
        failure = breaker.last_failure
        return Health(
            halted=str(failure) if failure is not None and breaker.state == "paused" else "",
            way_out=failure.hint if failure is not None else "",
            trouble=str(failure) if failure is not None else "",
            breaker=breaker.state,
            requests=breaker.requests,
            throttled=breaker.throttled,
            errors=breaker.errors,
            remaining_budget=external.remaining_budget,
            hourly_limit=external.hourly_limit,
            last_reconcile_at_s=self._reconciler.last_at_s,
            braked=self._reconciler.trouble,
            blind=self._reconciler.blindness,
            query_faults=tuple(self._reader.query_faults or ()),
            outcomes=dict(breaker.outcomes),
            latency=external.latency,
            budget_resets_in_s=external.budget_resets_in_s,
            troubles=tuple(replace(one, at_s=one.at_s + clock_offset_s) for one in breaker.troubles),
            restarts=dict(self._restarts),
            polling=self._poller.polling,
            coverage=self._heard.coverage(self._clock.now_s(), self._is_linked),
        )
