"""The real API around a real journal on a disk in memory, with fakes where actors would be: nothing listens."""

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Literal

import httpx
import msgspec
import trio
from msgspec.structs import replace

from syncd.actors.ports import Progress
from syncd.core import reconciling
from syncd.core.daemon_status import Condition
from syncd.core.drift import Finding
from syncd.core.events import Change, DaemonBorn, LinkJoined, Source
from syncd.core.examination import Step
from syncd.core.health import Health
from syncd.core.importing import Coming, Tried, end
from syncd.core.model import ImportRun, LeftOut, Observation
from syncd.core.reconciling import WantedRun
from syncd.core.run import Drift, Run
from syncd.core.state import State, link_id
from syncd.credentials import Secret
from syncd.edges.api.access import Access
from syncd.edges.api.app import Api, build_api
from syncd.edges.api.counts import WebhookCounts
from syncd.edges.api.desk import Desk
from syncd.edges.api.listeners import Peer
from syncd.errors import SyncdError, WrongState
from syncd.journal.writer import Journal
from syncd.master_key import MasterKey
from syncd.seams import Disk, Ids, Work
from syncd.systems import platform
from syncd.vault import Vault, read_table
from tests.simulation.disk import SimDisk, SimWork

AT_S = 1_790_000_000.0
SNOW = "https://example.service-now.com"
ROOT = (1, 0, 0)
BODY: dict[str, object] = {"title": "Checkout is down", "severity": "SEV-2"}


class FakeClock:
    """Wall time that stands still until a test moves it."""

    def __init__(self) -> None:
        self.at_s = AT_S

    def now_s(self) -> float:
        return self.at_s


class SeededIds:
    """Ids and secrets from one seed."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    @property
    def rng(self) -> Random:
        return self._rng

    def word(self) -> str:
        return "".join(self._rng.choice("0123456789ABCDEFGHJKMNPQRSTVWXYZ") for _ in range(10))

    def secret(self, size_bytes: int) -> bytes:
        return self._rng.randbytes(size_bytes)


class FakeUsers:
    """uid 0 and 500 belong to the daemon; group 700 owns the socket."""

    def name_of(self, uid: int) -> str:
        return {0: "root", 500: "syncd", 600: "alice"}.get(uid, str(uid))

    def may_use_socket(self, peer: Peer) -> bool:
        return peer.uid in {0, 500} or peer.gid == 700


class FakeExamination:
    """Steps that are done already."""

    def __init__(self, steps: list[Step]) -> None:
        self._left = list(steps)
        self.is_closed = False

    def __aiter__(self) -> "FakeExamination":
        return self

    async def __anext__(self) -> Step:
        await trio.lowlevel.checkpoint()
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop(0)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        self.is_closed = True


DRIFT = Drift("INC-0", "r1", "title", "ours", "theirs", "ours", "missed-webhook", "take it over", base_external="ours")


def _run_id(state: State, integration_id: str) -> str:
    run = state.integrations[integration_id].importing
    return run.id if run is not None else ""


class FakeIntegrations:
    """Runs find ``DRIFT`` and end at once, or when stopped if they are ``endless``; ``failure`` is raised instead.

    ``health_now`` is what is known.

    ``link`` joins a pair as if ServiceNow had shown an empty record.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.reconciled: list[str] = []
        self.endless = False
        self.run: Run | None = None
        self.failure: SyncdError | None = None
        self.health_now = Health()
        self.steps = [Step("reach", "ok", "there"), Step("clock", "warning", "3 s off", "set it")]
        self.examination = FakeExamination([])

    async def reconcile(
        self, integration_id: str, wanted: WantedRun, *, by: str, trace: str, source: Source | None
    ) -> Run:
        if self.failure is not None:
            raise self.failure
        decide = reconciling.start(integration_id, wanted, "manual")
        run = self.run = await self._journal.transact(decide, by=by, trace=trace, source=source)
        self.reconciled.append(integration_id)
        if not self.endless:
            found = [Finding(DRIFT, "r1")]
            end = reconciling.end(run, "finished", checked=3, findings=found, fed=wanted.mode == "heal")
            await self._journal.transact(end, by=by, trace=trace)
        return run

    async def run_ended(self, integration_id: str, run_id: str) -> None:
        while self._journal.state.runs[integration_id][run_id].status == "running":
            await trio.sleep(0.01)
            if self.run is not None and not self.endless:
                end = reconciling.end(self.run, "stopped", "stopped by root", stopped_by="person")
                await self._journal.transact(end, by="root", trace="")

    async def stop_run(self, integration_id: str, run_id: str, *, by: str) -> None:
        if self.run is None or self.run.id != run_id or not self.endless:
            raise WrongState(f"{run_id} does not go on")
        self.endless = False

    def progress(self, integration_id: str) -> Progress | None:
        return Progress(self.run.id, 2, 3) if self.run is not None and self.endless else None

    async def link(
        self,
        integration_id: str,
        incident_id: str,
        external_id: str,
        *,
        by: str = "person",
        trace: str = "",
        source: Source | None = None,
    ) -> None:
        def join(state: State, _at_s: float) -> Change[None]:
            name = link_id(integration_id, incident_id)
            joined = LinkJoined(name, integration_id, incident_id, Observation(external_id, {}, number="INC0010001"))
            return Change(state.incidents[incident_id].organization_id, (joined,), None)

        if self.failure is not None:
            raise self.failure
        await self._journal.transact(join, by=by, trace=trace, source=source)

    def check_runs(self, integration_id: str) -> None:
        if self.failure is not None:
            raise self.failure

    async def try_import(self, integration_id: str, query: str, *, run_id: str, by: str) -> Tried:
        await trio.lowlevel.checkpoint()
        left = (LeftOut("6" * 32, "INC0010006", "a person unlinked it"),)
        counts = {"imported": 2, "unlinked": 1}
        run = ImportRun(id=run_id, query=query, by=by, started_at_s=AT_S, status="finished", counts=counts, left=left)
        run = replace(run, total=3, at_s=AT_S + 1, since_s=AT_S, finished_at_s=AT_S + 1)
        return Tried(run, (Coming("7" * 32, "INC0010007", None, "The mail is slow", "SEV-3", "open"),))

    async def import_over(self, integration_id: str) -> None:
        await self._journal.transact(
            lambda state, _: end(state, integration_id, _run_id(state, integration_id), ""), by="importer", trace=""
        )

    def health(self, integration_id: str) -> Health:
        return self.health_now

    def examine(self, integration_id: str, *, writes: bool) -> FakeExamination:
        if self.failure is not None:
            raise self.failure
        steps = [*self.steps, *[Step("write check", "ok", "made and canceled")] * writes]
        self.examination = FakeExamination(steps)
        return self.examination


class GatedWork:
    """Threads that wait for leave once the gate is shut, as a slow disk does."""

    def __init__(self, rng: Random) -> None:
        self._work = SimWork(rng)
        self.gate = trio.Event()
        self.gate.set()

    def shut(self) -> None:
        self.gate = trio.Event()

    async def run(self, call: Callable[..., Any], *args: object) -> Any:
        with trio.CancelScope(shield=True):
            await self.gate.wait()
        return await self._work.run(call, *args)


class Daemon:
    """The API with what stands around it. ``http`` calls it over "TCP", ``socket`` over the Unix socket as root."""

    def __init__(
        self,
        desk: Desk,
        journal: Journal,
        integrations: FakeIntegrations,
        work: GatedWork,
        clock: FakeClock,
        nursery: trio.Nursery,
    ) -> None:
        self.nursery = nursery
        self.clock = clock
        self.desk = desk
        self.journal = journal
        self.integrations = integrations
        self.work = work
        self.api: Api = build_api(desk)
        self.http = self.client()
        self.socket = self.client(peer=ROOT)

    def die(self) -> None:
        """The process ends in the middle of whatever it does."""
        self.nursery.cancel_scope.cancel()

    def client(
        self,
        *,
        peer: tuple[int, int, int] | None = None,
        token: str = "",
        host: str = "localhost:8080",
        address: str = "127.0.0.1",
    ) -> httpx.AsyncClient:
        """Somebody who calls."""

        async def app(
            scope: MutableMapping[str, Any],
            receive: Callable[[], Awaitable[Any]],
            send: Callable[[Any], Awaitable[None]],
        ) -> None:
            await self.api({**scope, "state": {"peer": Peer(*peer) if peer else None}}, receive, send)  # type: ignore[arg-type]

        headers = {"Authorization": f"Bearer {token}"} if token else {}
        transport = httpx.ASGITransport(app=app, client=(address, 1))
        return httpx.AsyncClient(transport=transport, base_url=f"http://{host}", headers=headers)

    async def status(
        self,
        method: str,
        path: str,
        *headers: tuple[str, str],
        body: object = None,
        peer: tuple[int, int, int] | None = None,
        address: str = "127.0.0.1",
    ) -> int:
        """The status alone, without a client library and without waiting for the end of a stream."""
        found = 0
        raw: bytes | None = b"" if body is None else msgspec.json.encode(body)
        lines = [("host", "localhost"), *([] if body is None else [("content-type", "application/json")]), *headers]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in lines],
            "client": (address, 1),
            "server": ("127.0.0.1", 8080),
            "state": {"peer": Peer(*peer) if peer else None},
        }

        async def receive() -> dict[str, Any]:
            nonlocal raw
            if raw is None:
                await trio.sleep_forever()
            whole, raw = raw, None
            return {"type": "http.request", "body": whole, "more_body": False}

        with trio.CancelScope() as told:

            async def send(message: MutableMapping[str, Any]) -> None:
                nonlocal found
                if message["type"] == "http.response.start":
                    found = message["status"]
                    told.cancel()
                await trio.lowlevel.checkpoint()

            await self.api(scope, receive, send)  # type: ignore[arg-type]
        return found

    async def declare(self, **fields: object) -> dict[str, Any]:
        """An incident, as its answer shows it."""
        answer = await self.socket.post("/api/v1/incidents", json=BODY | fields)
        assert answer.status_code == 201, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    async def configure(self, **fields: object) -> dict[str, Any]:
        """An integration, as its answer shows it, secret included."""
        wanted = {
            "name": "Production ServiceNow",
            "base_url": SNOW,
            "credentials": {"username": "api", "password": "pass-word-1"},
        } | fields
        answer = await self.socket.post("/api/v1/integrations", json=wanted)
        assert answer.status_code == 201, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    async def token(self, scope: str, **fields: object) -> str:
        """The text of a new token."""
        answer = await self.socket.post("/api/v1/tokens", json={"name": scope, "scope": scope} | fields)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])


def signature(secret: str, body: bytes, *, timestamp: str = "", form: Literal["hex", "base64"] = "base64") -> str:
    """What ServiceNow would sign a body with."""
    signed = f"{timestamp}.".encode() + body if timestamp else body
    mac = hmac.new(secret.encode(), signed, hashlib.sha256)
    return mac.hexdigest() if form == "hex" else base64.b64encode(mac.digest()).decode()


def born(state: State, at_s: float) -> Change[None]:
    """The first record of a journal."""
    return Change("daemon", () if state.journal_id else (DaemonBorn("journal-1"),), None)


async def a_vault(disk: Disk, work: Work, ids: Ids, key: bytes = b"k" * 32) -> Vault:
    """That of an earlier life, if there was one."""
    table = read_table(disk, Path("/state"))
    return await Vault.load(disk, Path("/state"), work, ids, table, MasterKey(Secret(key), Path("/master.key")))


@asynccontextmanager
async def running(
    *,
    disk: SimDisk | None = None,
    auth: Literal["token", "none"] = "token",
    public_host: str = "sync.example.org",
    seed: int = 1,
) -> AsyncIterator[Daemon]:
    """A daemon without actors and listeners, for the time of the block."""
    rng = Random(seed)
    disk = disk or SimDisk(Random(seed))
    clock, ids, work = FakeClock(), SeededIds(rng), GatedWork(rng)
    journal = await Journal.open(disk, Path("/state"), clock, work)
    integrations = FakeIntegrations(journal)
    desk = Desk(
        journal=journal,
        platform=platform,
        integrations=integrations,
        vault=await a_vault(disk, work, ids),
        access=Access(auth=auth, public_host=public_host, users=FakeUsers(), now_s=clock.now_s),
        clock=clock,
        ids=ids,
        public_url="https://sync.example.org",
        allowed_hosts=("snow.internal",),
        webhook_counts=WebhookCounts(),
        keeping=Condition,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        await journal.transact(born, by="daemon", trace="birth")
        yield Daemon(desk, journal, integrations, work, clock, nursery)
        work.gate.set()
        journal.close()
