"""One world: the real daemon, a simulated ServiceNow, people on both sides, and what goes wrong between them.

Everything is drawn from the seed. ``check`` holds the promises of docs/sync.md against the end of the story, with its
own idea of the mapping.
"""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import httpx
import trio
from msgspec import UNSET, Struct

from syncd.core.events import LinkJoined, Merged, SendSettled
from syncd.core.model import Conflict, Settings
from syncd.core.state import State, link_id
from syncd.edges.api.access import Access
from syncd.edges.api.app import build_api
from syncd.edges.api.counts import WebhookCounts
from syncd.edges.api.desk import Desk
from syncd.edges.api.gate import Gate
from syncd.edges.api.peers import LocalUsers
from syncd.errors import JournalFailed
from syncd.house import House
from syncd.seams import Seams
from syncd.simulator.instance import Instance, InstanceOptions
from syncd.simulator.records import Committed
from syncd.simulator.wire import Outgoing, Refusal
from syncd.systems import platform
from tests.simulation.disk import SimDisk, SimWork
from tests.simulation.seams import EPOCH_S, SimClock, SimIds, SimNet

STATE_DIR = Path("/state")
URL = "http://127.0.0.1:8080"
INSTANCE_HOST = "127.0.0.1:9999"
WEBHOOK_SECRET = "the-webhook-secret-of-this-world"
STATUS_SHOWN = {
    "1": "open",
    "2": "open",
    "3": "mitigated",
    "4": "mitigated",
    "5": "mitigated",
    "6": "resolved",
    "7": "closed",
    "8": "canceled",
}
SEVERITY_SHOWN = {"1": "SEV-1", "2": "SEV-2", "3": "SEV-3", "4": "SEV-4", "5": "SEV-4"}
COLUMN = {"title": "short_description", "description": "description", "severity": "priority", "status": "state"}
CLOSE = {"close_code": "Solution provided", "close_notes": "fixed"}


class Edit(Struct, frozen=True):
    """A person's acknowledged edit. ``subject``: incident id or sys_id. ``shared``: the platform had that value."""

    side: str
    subject: str
    field: str
    value: str
    at_s: float
    shared: bool = False


class World:
    """The world of one seed. ``house`` is the daemon's present life, None while it is down."""

    def __init__(self, rng: Random, settings: dict[str, object] | None = None) -> None:
        self.rng = rng
        self.edits: list[Edit] = []
        self.declared: dict[str, str] = {}
        self.created: list[str] = []
        self.conflicts: list[Conflict] = []
        self.taken: set[tuple[str, str, str]] = set()
        self.house: House | None = None
        self.integration_id = ""
        self.crashes = 0
        self._settings = settings or {}
        self._disk = SimDisk(Random(rng.getrandbits(32)))
        self._clock = SimClock(rng.uniform(-120, 120))  # further apart, and signed timestamps are refused
        self._key = rng.randbytes(32)
        options = InstanceOptions(incidents=0, clock_offset_s=rng.uniform(-120, 120))
        self.instance = Instance(options, lambda: EPOCH_S + trio.current_time(), Random(rng.getrandbits(32)))
        self.instances = {INSTANCE_HOST: self.instance}
        self.instance.set_switch("webhook_timestamp", rng.choice(("on", "off")))
        self._stored: set[tuple[str, str, str]] = set()
        self.instance.records.on_commit.append(self._remember)
        self._door: httpx.AsyncBaseTransport | None = None
        self._remembered = State()
        self._scope = trio.CancelScope()
        self._down = trio.Event()
        self._up = trio.Event()

    # The daemon's lives

    async def run(self, story: Callable[["World"], "object"]) -> None:
        """Run ``story`` with the daemon alive from the start, until the story ends."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await self.start()
            nursery.start_soon(self._deliver)
            await story(self)  # type: ignore[misc]
            nursery.cancel_scope.cancel()

    async def start(self) -> None:
        """Begin a life on what the disk holds; returns when it serves."""
        self._scope, self._down, self._up = trio.CancelScope(), trio.Event(), trio.Event()
        self._nursery.start_soon(self._live, self._disk, self._scope, self._down)
        await self._up.wait()
        if not self.integration_id:
            await self._configure()

    async def _configure(self) -> None:
        body: dict[str, object] = {
            "organization_id": "default",
            "integration_type": "servicenow",
            "name": "Demo",
            "base_url": f"http://{INSTANCE_HOST}",
            "credentials": {"username": "svc.sync", "password": "sync-secret"},
            "webhook_secret": WEBHOOK_SECRET,
            "external_defaults": CLOSE,
            **self._settings,
        }
        answer = await self.ask("POST", "/api/v1/integrations", body)
        assert answer is not None
        assert answer.status_code == 201, answer.text
        self.integration_id = answer.json()["id"]
        self.instance.set_webhook(f"{URL}/api/v1/webhooks/{self.integration_id}", WEBHOOK_SECRET)

    async def _live(self, disk: SimDisk, scope: trio.CancelScope, down: trio.Event) -> None:
        ids = SimIds(Random(self.rng.getrandbits(32)))
        work = SimWork(Random(self.rng.getrandbits(32)), pause_s_max=0.002)
        seams = Seams(clock=self._clock, ids=ids, disk=disk, net=SimNet(self.instances), work=work)
        try:
            with scope:
                house = await House.open(STATE_DIR, seams, self._master_key)
                await house.run(lambda: self._serve(house))
        except* (JournalFailed, OSError):
            if not disk.is_gone:
                raise
        finally:
            down.set()

    async def _master_key(self, _: bool) -> bytes:
        await trio.lowlevel.checkpoint()
        return self._key

    async def _serve(self, house: House) -> None:
        desk = Desk(
            journal=house.journal,
            platform=platform,
            integrations=house.roster,
            vault=house.vault,
            access=Access(auth="none", public_host="", users=LocalUsers(0, 0), now_s=self._clock.now_s),
            clock=self._clock,
            ids=house.seams.ids,
            public_url=URL,
            allowed_hosts=(),
            webhook_counts=WebhookCounts(),
        )
        self.house = house
        self._remembered = house.journal.state
        app = Gate(build_api(desk))
        self._door = httpx.ASGITransport(app)  # type: ignore[arg-type] # httpx spells ASGI's types in its own way
        self._up.set()
        await trio.sleep_forever()

    async def crash(self) -> None:
        """The power goes; what was not synced may be lost. A new life begins a little later."""
        self.crashes += 1
        self.house = None
        self._disk = self._disk.crash() if self.rng.random() < 0.5 else self._disk.kill()
        self._scope.cancel()
        await self._down.wait()
        await trio.sleep(self.rng.uniform(0, 3))
        await self.start()

    async def stop(self) -> None:
        """Kill the process; the next ``start`` finds everything that it wrote."""
        self.house = None
        self._disk = self._disk.kill()
        self._scope.cancel()
        await self._down.wait()

    def forget_key(self) -> None:
        """The next life has another master key, which opens nothing that is sealed."""
        self._key = self.rng.randbytes(32)

    # Webhooks

    async def _deliver(self) -> None:
        while True:
            for outgoing in self.instance.due():
                self._nursery.start_soon(self._post, outgoing)
            await trio.sleep(0.1)

    async def _post(self, outgoing: Outgoing) -> None:
        path = outgoing.url.removeprefix(URL)
        answer = await self.ask("POST", path, outgoing.body, dict(outgoing.headers))
        self.instance.delivered(outgoing, answer.status_code if answer is not None else None)

    async def ask(
        self, method: str, path: str, body: bytes | dict[str, object], headers: dict[str, str] | None = None
    ) -> httpx.Response | None:
        """One HTTP request to the daemon from outside; None when no answer came."""
        house, door = self.house, self._door
        if house is None or door is None:
            return None
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **(headers or {})}
        request = httpx.Request(method, f"{URL}{path}", headers=sent, content=content)
        with trio.move_on_after(5):
            answer = await door.handle_async_request(request)
            await answer.aread()
            return answer if house is self.house else None
        return None

    # People

    async def declare(self) -> None:
        """Somebody declares an incident on the platform."""
        title = f"declared {len(self.edits)}"
        severity = self.rng.choice(("SEV-1", "SEV-2", "SEV-3", "SEV-4"))
        answer = await self.ask("POST", "/api/v1/incidents", {"title": title, "severity": severity})
        if answer is not None and answer.status_code == 201:
            self.declared[answer.json()["id"]] = title

    def value(self, field: str, side: str) -> str:
        """What somebody might set a field to, in platform terms."""
        if field == "severity":
            return self.rng.choice(("SEV-1", "SEV-2", "SEV-3", "SEV-4"))
        if field == "status":
            return self.rng.choice(("open", "open", "mitigated", "mitigated", "resolved"))
        long = "x" * 200 if self.rng.random() < 0.1 else ""
        return f"{field} {len(self.edits)} by {side} {long}".strip()

    async def edit_platform(self) -> None:
        """Somebody edits an incident on the platform."""
        state = self.house.journal.state if self.house is not None else None
        if state is None or not state.incidents:
            return
        incident_id = self.rng.choice(sorted(state.incidents))
        field = self.rng.choice(tuple(COLUMN))
        value = self.value(field, "platform")
        at_s = trio.current_time()
        if state.incidents[incident_id].value(field) == value:
            return  # no edit at all
        answer = await self.ask("PATCH", f"/api/v1/incidents/{incident_id}", {field: value})
        if answer is not None and answer.status_code == 200:
            self.edits.append(Edit("platform", incident_id, field, value, at_s))

    def edit_external(self) -> None:
        """Somebody edits a record in ServiceNow."""
        rows = self.instance.incidents()
        if not rows:
            return
        row = self.rng.choice(rows)
        field = self.rng.choice(tuple(COLUMN))
        value = self.value(field, "external")
        fields: dict[str, object] = {COLUMN[field]: value}
        if field == "severity":
            impact, urgency = {"SEV-1": (1, 1), "SEV-2": (2, 1), "SEV-3": (2, 2), "SEV-4": (3, 3)}[value]
            fields = {"impact": str(impact), "urgency": str(urgency)}
        elif field == "status":
            state = {"open": self.rng.choice("12"), "mitigated": "3", "resolved": "6"}[value]
            fields = {"state": state, **(CLOSE if state == "6" else {})}
        before = self.shown(row, field)
        user = self.rng.choice(("beth.anglin", "fred.luddy"))
        try:
            self.instance.edit_as(user, row["sys_id"], fields)
        except Refusal:
            return
        after = self.shown(self.instance.record(row["sys_id"]), field)
        if after != before:  # In Progress instead of New is no edit
            shared = self._platform_value(row["sys_id"], field) == after
            self.edits.append(Edit("external", row["sys_id"], field, after, trio.current_time(), shared))

    def _platform_value(self, sys_id: str, field: str) -> str | None:
        """What the platform holds for a record's field, or held when the daemon went down."""
        name = self._remembered.link_of_record.get((self.integration_id, sys_id), "")
        link = self._remembered.links.get(name)
        return self._remembered.incidents[link.incident_id].value(field) if link is not None else None

    def create_external(self) -> None:
        """Somebody creates a record in ServiceNow."""
        title = f"created {len(self.created)}"
        row = self.instance.create_as("beth.anglin", {"short_description": title, "impact": "2", "urgency": "2"})
        self.created.append(row["sys_id"])

    @staticmethod
    def shown(row: dict[str, str], field: str) -> str:
        """A record's field in platform terms, by this test's own table."""
        raw = row[COLUMN[field]]
        if field == "severity":
            return SEVERITY_SHOWN[raw]
        return STATUS_SHOWN.get(raw, raw) if field == "status" else raw.strip()

    def _remember(self, committed: Committed) -> None:
        """What ServiceNow ever stored, as (sys_id, field, value)."""
        for field in COLUMN:
            self._stored.add((committed.row["sys_id"], field, self.shown(committed.row, field)))

    # The end

    @property
    def state(self) -> State:
        """The daemon's state; it must be alive."""
        assert self.house is not None
        return self.house.journal.state

    @property
    def settings(self) -> Settings:
        """The integration's settings."""
        return self.state.integrations[self.integration_id].settings

    def writes(self) -> int:
        """Requests so far that change something in ServiceNow."""
        return sum(self.instance.counts[method] for method in ("POST", "PATCH", "PUT", "DELETE"))

    async def reconcile(self) -> None:
        """A reconcile run, to its end."""
        assert self.house is not None
        await self.house.roster.reconcile(self.integration_id)

    async def replay_webhooks(self, times: int) -> None:
        """Every webhook ever sent, again, in order, so many times."""
        bodies = [sent.outgoing for sent in self.instance.webhooks()]
        for _ in range(times):
            for outgoing in bodies:
                await self._post(outgoing)

    async def _taken_over(self) -> set[tuple[str, str, str]]:
        """What the platform took over from ServiceNow, or held as well, as (link, field, value)."""
        assert self.house is not None
        taken: set[tuple[str, str, str]] = set()
        for record in await self.house.journal.since(0, 1_000_000):
            for event in record.events:
                if isinstance(event, Merged):
                    moved = [one for one in event.decided if one.value is not UNSET or one.reason == "converged"]
                    taken.update((event.link_id, one.field, str(one.halves.platform)) for one in moved)
                elif isinstance(event, LinkJoined):
                    taken.update((event.link_id, field, str(both.platform)) for field, both in event.settled.items())
        return taken

    async def check(self) -> None:
        """Convergence (C1), no silent loss (C2), nothing doubled (C7)."""
        state = self.state
        rows = {row["sys_id"]: row for row in self.instance.incidents()}
        linked = {link.external_id: link for link in state.links.values()}
        assert set(linked) == set(rows), f"unlinked: {set(rows) - set(linked)}, invented: {set(linked) - set(rows)}"
        assert len(linked) == len(state.links) == len(state.incidents)
        for incident_id in self.declared:
            mine = [row for row in rows.values() if row["correlation_id"].endswith(f":{incident_id}")]
            assert len(mine) == 1, f"{incident_id} has {len(mine)} records"
        for link in linked.values():
            incident, row = state.incidents[link.incident_id], rows[link.external_id]
            listed = {f for letter in state.dead_letters.values() if letter.link_id == link.id for f in letter.fields}
            for field in COLUMN:
                ours, theirs = str(incident.value(field)), self.shown(row, field)
                same = ours == theirs or (len(ours) > 160 and ours.startswith(theirs))
                assert same or field in listed, f"{link.id} {field}: {ours!r}, {theirs!r} there; {link.base[field]}"
        await self._check_no_loss(rows)

    async def _overwritten(self) -> set[tuple[str, str]]:
        """(link, field) of writes that the journal says fell on a record which somebody else had just written.

        ServiceNow has no conditional write: between our read and our write an edit can be overwritten without a trace
        of its value. It must be noticed.
        """
        assert self.house is not None
        records = await self.house.journal.since(0, 1_000_000)
        sent = [event for record in records for event in record.events if isinstance(event, SendSettled)]
        return {(event.link_id, field) for event in sent if event.unseen_writes for field in event.halves}

    async def _check_no_loss(self, rows: dict[str, dict[str, str]]) -> None:
        state = self.state
        overwritten = await self._overwritten()
        came = await self._taken_over()
        lost = {(c.incident_id, c.field, value) for c in state.conflicts.values() for value in (c.platform, c.external)}
        for number, edit in enumerate(self.edits):
            later = self.edits[number + 1 :]
            if edit.shared or any(
                (one.side, one.subject, one.field) == (edit.side, edit.subject, edit.field) for one in later
            ):
                continue
            if edit.side == "platform":
                incident_id = edit.subject
                current = str(state.incidents[incident_id].value(edit.field)) == edit.value
                link = state.links[link_id(self.integration_id, incident_id)]
                shown = edit.value[:160] if edit.field == "title" else edit.value
                crossed = (link.external_id, edit.field, shown.strip()) in self._stored
            else:
                link = state.links[state.link_of_record[self.integration_id, edit.subject]]
                if (link.id, edit.field) in overwritten:
                    continue
                incident_id = link.incident_id
                current = self.shown(rows[edit.subject], edit.field) == edit.value
                crossed = (link.id, edit.field, edit.value) in came
            kept = (incident_id, edit.field, edit.value) in lost
            met = (link.id, edit.field, edit.value) in came
            assert current or crossed or kept or met, f"lost: {edit}"
