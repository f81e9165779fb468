"""The daemon without its doors: journal, roster and vault, started and stopped in order.

``daemon.py`` puts the real doors in front of it, the simulation its own; both run this. Knows no socket and no signal.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import trio

from syncd.actors.integration import RunningIntegration
from syncd.actors.narrator import Narrator
from syncd.actors.roster import Roster, Running
from syncd.core import reconciling
from syncd.core.coverage import Announcements
from syncd.core.drift import Downtime
from syncd.core.events import DAEMON_STREAM, Change, DaemonBorn, Hinted, Record
from syncd.core.lens import lens_of
from syncd.core.model import Integration, SealedSecret
from syncd.core.state import State
from syncd.errors import Busy
from syncd.journal.keeper import Keeper, Limits
from syncd.journal.replay import Progress, no_progress
from syncd.journal.writer import Journal
from syncd.master_key import MasterKey
from syncd.pulse import PatientWork, Watch
from syncd.seams import Seams
from syncd.systems.accounts import Accounts
from syncd.systems.examination import Examination
from syncd.systems.servicenow import ServiceNow
from syncd.systems.signin import Credentials
from syncd.vault import Vault, read_table

JOURNAL_ID_WORDS: Final = 2

log: Final = logging.getLogger("syncd")


class House:
    """What lives as long as the process: ``journal``, its ``keeper``, ``vault``, and ``roster``: what runs."""

    def __init__(self, journal: Journal, keeper: Keeper, vault: Vault, seams: Seams) -> None:
        self.journal = journal
        self.keeper = keeper
        self.vault = vault
        self.seams = seams
        self.roster = Roster(journal, self._launch, self._examine)
        self._connections: dict[str, ServiceNow] = {}
        self._accounts = Accounts()  # they outlive a change of settings, and so do these:
        self._heard: dict[str, Announcements] = {}
        self._shown: dict[str, dict[str, SealedSecret]] = {}  # credentials
        self._watch = Watch()
        state = journal.state
        self._down = Downtime(state.at_s, seams.clock.now_s()) if state.position else None

    @classmethod
    async def open(
        cls,
        state_dir: Path,
        seams: Seams,
        master_key: Callable[[bool], Awaitable[MasterKey]],
        progress: Progress = no_progress,
        limits: Limits | None = None,
    ) -> "House":
        """Open and replay the journal. ``master_key`` is asked with whether anything is sealed already."""
        work = PatientWork(seams.work)
        journal = await Journal.open(seams.disk, state_dir, seams.clock, work, progress=progress)
        integrations = journal.state.integrations
        table = await seams.work.run(read_table, seams.disk, state_dir)
        sealed = bool(table.keys) or any(one.credentials or one.webhook_secrets for one in integrations.values())
        vault = await Vault.load(seams.disk, state_dir, seams.work, seams.ids, table, await master_key(sealed))
        try:
            await vault.settle(integrations)  # a crash may have come between the end of one and that of its key
        except Busy as error:
            log.error("keys of deleted integrations are still there", extra={"reason": str(error)})  # noqa: TRY400
        keeper = Keeper(journal, seams.disk, state_dir, seams.clock, work, limits)
        return cls(journal, keeper, vault, seams)

    async def run(self, doors: Callable[[], Awaitable[None]]) -> None:
        """Run until ``doors`` returns; then end the actors, and last the journal, with everything in it on disk."""
        self._watch.begin()
        async with trio.open_nursery() as nursery:
            await nursery.start(self.journal.run)
            if not self.journal.state.journal_id:
                await self.journal.transact(self._be_born, by="syncd", trace="")
            while reconciling.has_running(self.journal.state):
                await self.journal.transact(reconciling.interrupt_all, by="syncd", trace="")
            unsubscribe = self.journal.subscribe(self.roster.on_durable)
            self.journal.subscribe(self._listen)
            self.journal.subscribe(Narrator(lambda: self.journal.state).narrate)
            async with trio.open_nursery() as actors:
                actors.start_soon(self.roster.run)
                actors.start_soon(self.keeper.run)
                await doors()
                actors.cancel_scope.cancel()
            unsubscribe()
            self.journal.close()

    def _listen(self, records: Sequence[Record]) -> None:
        """Take note of what webhooks announce. Called by the journal for every durable group; never waits."""
        for record in records:
            for event in record.events:
                if isinstance(event, Hinted):
                    self._hear(record.at_s, event)

    def _hear(self, at_s: float, event: Hinted) -> None:
        heard = self._heard.get(event.integration_id)
        integration = self.journal.state.integrations.get(event.integration_id)
        if heard is not None and integration is not None:
            heard.hear(at_s, event, integration.account)

    def late(self, after_s: float) -> list[str]:
        """Who has not got on for so long. While the disk has no room nobody is: starting anew would not help."""
        return [] if self.journal.full else self._watch.late(after_s)

    def _be_born(self, _: State, __: float) -> Change[None]:
        journal_id = "".join(self.seams.ids.word() for _ in range(JOURNAL_ID_WORDS))
        return Change(DAEMON_STREAM, (DaemonBorn(journal_id),), result=None)

    def _connect(self, integration: Integration) -> ServiceNow:
        """A client of its own for an integration, to be closed by the caller."""
        settings = integration.settings
        journal_id = self.journal.state.journal_id
        opened = {
            field: self.vault.open(sealed, journal_id, integration.id, field).reveal()
            for field, sealed in integration.credentials.items()
        }
        credentials = Credentials(**opened)
        return ServiceNow(
            settings.base_url,
            credentials,
            self.seams.net.transport(settings.max_concurrency),
            self.seams.clock,
            rate=settings.rate_limit,
            concurrency=settings.max_concurrency,
            columns=lens_of(settings).columns,
            terms=self._accounts.terms(integration.id, settings.base_url, credentials),
        )

    def _examine(self, integration: Integration, writes: bool) -> Examination:
        """A connection test, over the connection that there is: its requests count in one and the same rate."""
        word = self.seams.ids.word()
        if (running := self._connections.get(integration.id)) is not None:
            return Examination(running, integration, writes=writes, word=word)
        own = self._connect(integration)
        return Examination(own, integration, writes=writes, word=word, close=own.aclose)

    async def _launch(self, integration: Integration, running: Running) -> None:
        """Run one integration's actors over a connection of its own."""
        external = self._connections[integration.id] = self._connect(integration)
        shown, refused_until_s = self._shown.get(integration.id), integration.refused_until_s
        if shown is None and refused_until_s is not None:
            external.were_refused(refused_until_s - self.seams.clock.now_s())
        elif shown != integration.credentials:
            external.ask_for_a_login()  # somebody has given them, and waits
        self._shown[integration.id] = integration.credentials
        heard = self._heard.setdefault(integration.id, Announcements(self.seams.clock.now_s()))
        actors = RunningIntegration(
            integration,
            self.journal,
            external,
            self.seams.clock,
            self.seams.ids,
            running.restarts,
            heard,
            self._down,
        )
        running.actors = actors
        try:
            await actors.run()
        finally:
            running.actors = None
            del self._connections[integration.id]
            with trio.move_on_after(1, shield=True):
                await external.aclose()
