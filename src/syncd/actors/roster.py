"""Runs every integration that is to run, and starts one anew when its settings or credentials change.

An integration whose actors give up is halted alone, visibly, until its settings change or the daemon restarts. So is
one whose actors do not end when they must, until they do: two sets of them would write twice. The others go on.
"""

import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import trio
from msgspec import Struct

from syncd.actors.doorbell import Doorbell
from syncd.actors.integration import RunningIntegration
from syncd.actors.ports import Examination, Journal, Progress
from syncd.actors.supervisor import leaf
from syncd.core.events import IntegrationChanged, IntegrationConfigured, IntegrationDeleted, Record, Source
from syncd.core.health import Health
from syncd.core.importing import Tried
from syncd.core.model import Integration, SealedSecret, Settings
from syncd.core.reconciling import WantedRun
from syncd.core.run import Run
from syncd.errors import JournalFailed, SyncdError, WrongState
from syncd.pulse import unwatched, watched

log: Final = logging.getLogger("syncd.actors")

END_S_MAX: Final = 10.0

Launch = Callable[[Integration, "Running"], Awaitable[None]]
Examine = Callable[[Integration, bool], Examination]


class _Basis(Struct, frozen=True):
    """What an integration was started with; another basis means another start."""

    settings: Settings
    credentials: dict[str, SealedSecret]
    confirmed_at: int


class Running(Struct):
    """One integration's place: ``actors`` once it is started, ``halted`` when it gave up or does not end.

    ``restarts``: how often each of its actors failed, since the start of the daemon. ``ends_by``: it has been told to
    end, and until then (Trio's clock) it may take its time.
    """

    basis: _Basis
    scope: trio.CancelScope
    restarts: Counter[str]
    has_ended: bool = False
    ends_by: float | None = None
    actors: RunningIntegration | None = None
    halted: str = ""
    way_out: str = ""


class Roster:
    """The running integrations, by id: the doors' handle to them (``ports.Integrations``)."""

    def __init__(self, journal: Journal, launch: Launch, examine: Examine) -> None:
        self._journal = journal
        self._examine = examine
        self._launch = launch
        self._running: dict[str, Running] = {}
        self._restarts: dict[str, Counter[str]] = {}
        self._bell = Doorbell()

    def on_durable(self, records: Sequence[Record]) -> None:
        """Ring whoever has work. Called by the journal for every durable group; never waits."""
        for running in self._running.values():
            if running.actors is not None:
                running.actors.ring()
        kinds = (IntegrationConfigured, IntegrationChanged, IntegrationDeleted)
        if any(isinstance(event, kinds) for record in records for event in record.events):
            self._bell.ring()

    async def run(self) -> None:
        """Keep what runs in step with what is configured. Ends only by cancellation."""
        async with trio.open_nursery() as nursery:
            with watched("roster"):
                while True:
                    self._look(nursery)
                    await self._bell.wait(self._patience_s())

    def _look(self, nursery: trio.Nursery) -> None:
        wanted = {
            one.id: _Basis(one.settings, one.credentials, one.confirmed_at)
            for one in self._journal.state.integrations.values()
            if one.settings.runs and one.credentials
        }
        for name, running in list(self._running.items()):
            if running.ends_by is None and wanted.get(name) != running.basis:
                self._end(running)
            if running.ends_by is not None and running.has_ended:
                del self._running[name]
            elif running.ends_by is not None and trio.current_time() >= running.ends_by:
                self._give_up_on(name, running)
        for name in self._restarts.keys() - self._journal.state.integrations.keys():
            del self._restarts[name]
        for name, basis in wanted.items():
            if name not in self._running:
                running = Running(basis, trio.CancelScope(), self._restarts.setdefault(name, Counter()))
                self._running[name] = running
                unwatched().run(nursery.start_soon, partial(self._keep, name, running))

    def _end(self, running: Running) -> None:
        """Have it end; ``_keep`` rings when it has."""
        running.ends_by = trio.current_time() + END_S_MAX
        running.actors = None
        running.scope.cancel()

    def _give_up_on(self, name: str, running: Running) -> None:
        running.ends_by = math.inf
        running.halted = f"halted: its actors did not end within {END_S_MAX:g} s, and it starts anew when they have"
        running.way_out = 'if it stays so, restart the daemon; see docs/operations.md, "Paused: halted"'
        log.error("integration halted", extra={"integration": name, "reason": running.halted})

    def _patience_s(self) -> float:
        """Until somebody's time to end is over."""
        ends = [one.ends_by for one in self._running.values() if one.ends_by is not None]
        return max(0.0, min(ends, default=math.inf) - trio.current_time())

    async def _keep(self, name: str, running: Running) -> None:
        try:
            with running.scope:
                await self._launch(self._journal.state.integrations[name], running)
        except* JournalFailed:
            raise  # nothing can be made durable any more: the daemon ends
        except* Exception as group:  # noqa: BLE001 the outermost supervisor: one integration never ends another
            reason = leaf(group)
            hint = reason.hint if isinstance(reason, SyncdError) else "the log has the cause"
            running.halted = f"halted: {reason}; {hint}"
            running.actors = None
            log.error("integration halted", extra={"integration": name, "reason": running.halted})  # noqa: TRY400
        finally:
            running.has_ended = True
            self._bell.ring()

    async def reconcile(
        self, integration_id: str, wanted: WantedRun, *, by: str, trace: str, source: Source | None
    ) -> Run:
        """Begin a run over an integration's links; ``WrongState`` when it is not running."""
        return await self._actors(integration_id).reconcile(wanted, by=by, trace=trace, source=source)

    async def run_ended(self, integration_id: str, run_id: str) -> None:
        """Return when a run is over, and that is on disk."""
        heard = Doorbell()
        unsubscribe = self._journal.subscribe(lambda _: heard.ring())
        try:
            while (run := self._journal.state.runs.get(integration_id, {}).get(run_id)) and run.status == "running":
                await heard.wait()
        finally:
            unsubscribe()
        await self._journal.settled()

    async def stop_run(self, integration_id: str, run_id: str, *, by: str) -> None:
        """Have a run end where it stands."""
        await self._actors(integration_id).stop_run(run_id, by=by)

    def progress(self, integration_id: str) -> Progress | None:
        """How far the run that goes on is."""
        running = self._running.get(integration_id)
        return running.actors.progress if running is not None and running.actors is not None else None

    async def link(
        self, integration_id: str, incident_id: str, external_id: str, *, by: str, trace: str, source: Source | None
    ) -> None:
        """Join an incident and a record that a person named."""
        await self._actors(integration_id).link(incident_id, external_id, by=by, trace=trace, source=source)

    def check_runs(self, integration_id: str) -> None:
        """``WrongState`` when it is not running."""
        self._actors(integration_id)

    async def try_import(self, integration_id: str, query: str, *, run_id: str, by: str) -> Tried:
        """Look what an import would bring in."""
        return await self._actors(integration_id).importer.attempt(query, run_id=run_id, by=by)

    async def import_over(self, integration_id: str) -> None:
        """Return when no import is under way."""
        await self._actors(integration_id).importer.wait()

    def examine(self, integration_id: str, *, writes: bool) -> Examination:
        """A connection test, whatever the integration does at the moment."""
        return self._examine(self._journal.state.integrations[integration_id], writes)

    def _actors(self, integration_id: str) -> RunningIntegration:
        running = self._running.get(integration_id)
        if running is None or running.actors is None:
            why = "it is disabled, its direction is none, it has no credentials, or it is halted"
            raise WrongState(
                f"this integration is not running: {why}", hint="im integration sync-status says which, and what to do"
            )
        return running.actors

    def health(self, integration_id: str) -> Health:
        """How an integration's connection does; ``Health()`` for one that is not running."""
        running = self._running.get(integration_id)
        if running is None:
            return Health(restarts=dict(self._restarts.get(integration_id, {})))
        if running.actors is None:
            return Health(halted=running.halted, way_out=running.way_out, restarts=dict(running.restarts))
        return running.actors.health
