"""One world: the real daemon, a simulated ServiceNow, people on both sides, and a way between that can be troubled.

Everything is drawn from the seed. The world lives through it and writes down what happens (``ledger.py``, ``way.py``);
whether the promises held is for ``oracle.py`` and ``manners.py`` to say.
"""

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import httpx
import trio

from syncd.core.events import Record
from syncd.core.model import Settings
from syncd.core.reconciling import WantedRun, running
from syncd.core.run import Mode, Run
from syncd.core.state import State
from syncd.credentials import Secret
from syncd.edges.api.access import Access
from syncd.edges.api.counts import WebhookCounts
from syncd.edges.api.desk import Desk
from syncd.edges.api.gate import Gate
from syncd.edges.api.peers import LocalUsers
from syncd.errors import Busy, JournalFailed
from syncd.house import House
from syncd.journal.keeper import Limits
from syncd.master_key import MasterKey
from syncd.seams import Seams
from syncd.simulator.instance import Instance, InstanceOptions
from syncd.simulator.records import Committed
from syncd.simulator.tables import Column, Row
from syncd.systems import platform
from tests.simulation.disk import SimDisk, SimWork
from tests.simulation.doors import LivingApi
from tests.simulation.knife import Knife
from tests.simulation.ledger import Ledger
from tests.simulation.people import People
from tests.simulation.places import OWN_COLUMNS
from tests.simulation.plan import Cut
from tests.simulation.post import Post
from tests.simulation.seams import EPOCH_S, SimClock, SimIds
from tests.simulation.silence import Silence
from tests.simulation.times import Times
from tests.simulation.way import Life, Way, WayNet

STATE_DIR = Path("/state")
URL = "http://127.0.0.1:8080"
INSTANCE_HOST = "127.0.0.1:9999"
WEBHOOK_SECRET = "the-webhook-secret-of-this-world"
ACCOUNT = "svc.sync"
CLOSE = {"close_code": "Solution provided", "close_notes": "fixed"}
LATE_S = 60.0  # so long may lie between a write's departure and its commit
DOWN_S_MAX = 3.0  # how long a life that ended suddenly is mourned
ENDS_S = 86_400.0  # a world that is not over by then waits for nothing
SNAPSHOT_RECORDS = 30
RECORDS_A_LOOK = 1_000_000
LIMITS: Limits | None = None  # of the keeper; as in real life


class World:
    """The world of one seed. ``house`` is the daemon's present life, None while it is down."""

    def __init__(self, rng: Random, settings: dict[str, object] | None = None) -> None:
        self.rng = rng
        self.house: House | None = None
        self.integration_id = ""
        self.crashes = 0
        self.torn = 0
        self.met: Counter[str] = Counter()
        """How often what happened, by name; filled by whoever sees it."""
        self._settings = settings or {}
        self._disk = SimDisk(Random(rng.getrandbits(32)))
        self._clock = SimClock(rng.uniform(-120, 120))  # further apart, and signed timestamps are refused
        self._key = rng.randbytes(32)
        options = InstanceOptions(incidents=0, clock_offset_s=rng.uniform(-120, 120))
        self.instance = Instance(options, lambda: EPOCH_S + trio.current_time(), Random(rng.getrandbits(32)))
        self.instances = {INSTANCE_HOST: self.instance}
        for name in OWN_COLUMNS:
            self.instance.kernel.incidents.add_column(Column(name, name, length_max=4000, owner="incident"))
        self.instance.set_switch("webhook_timestamp", rng.choice(("on", "off")))
        self.beside = ""
        """A second integration's id, where there is one."""
        self.post = Post(self.instances, URL, self.ask)
        self.way = Way(self.instances, Random(rng.getrandbits(32)))
        self.people = People(self.instance)
        self.ledger = Ledger(ACCOUNT, Times(EPOCH_S + self._clock.skew_s), self.people)
        self.instance.records.on_commit.append(self._committed)
        self.life = Life(0)
        self.silence = Silence(self.ledger, lambda: self.life.number)
        self.ledger.ears.append(self.silence.heard)
        self._knife: Knife | None = None
        self._door: httpx.AsyncBaseTransport | None = None
        self._scope = trio.CancelScope()
        self._down = trio.Event()
        self._up = trio.Event()
        self._cut = trio.Event()
        self._serving = trio.Event()
        self._dies_at: int | None = None
        self._ended_at = 0.0

    # The daemon's lives

    async def run(self, story: Callable[["World"], Awaitable[None]]) -> None:
        """Run ``story`` with the daemon alive from the start, until the story ends."""
        self.post.listen(self.instance)
        with trio.fail_after(ENDS_S):
            await self._run(story)

    async def _run(self, story: Callable[["World"], Awaitable[None]]) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = self.way.nursery = nursery
            await self.start()
            nursery.start_soon(self.post.deliver, nursery)
            nursery.start_soon(self._revive)
            await story(self)
            nursery.cancel_scope.cancel()

    async def start(self) -> None:
        """Begin a life on what the disk holds; returns when it serves, or is dead already."""
        self.life = Life(self.life.number + 1)
        self._scope, self._down, self._up = trio.CancelScope(), trio.Event(), trio.Event()
        self._nursery.start_soon(self._live, self._disk, self._scope, self._down, self._up)
        await self._up.wait()
        if not self.integration_id:
            await self._configure()

    async def _configure(self) -> None:
        body: dict[str, object] = {
            "organization_id": "default",
            "integration_type": "servicenow",
            "name": "Demo",
            "base_url": f"http://{INSTANCE_HOST}",
            "credentials": {"username": ACCOUNT, "password": "sync-secret"},
            "webhook_secret": WEBHOOK_SECRET,
            "external_defaults": CLOSE,
            **self._settings,
        }
        answer = await self.ask("POST", "/api/v1/integrations", body)
        assert answer is not None
        assert answer.status_code == 201, answer.text
        self.integration_id = answer.json()["id"]
        self.set_webhook(WEBHOOK_SECRET)

    def set_webhook(self, secret: str) -> None:
        """Let the business rule sign with this secret."""
        self.instance.set_webhook(f"{URL}/api/v1/webhooks/{self.integration_id}", secret)

    async def _live(self, disk: SimDisk, scope: trio.CancelScope, down: trio.Event, up: trio.Event) -> None:
        ids = SimIds(Random(self.rng.getrandbits(32)))
        work = SimWork(Random(self.rng.getrandbits(32)), pause_s_max=0.002)
        seams = Seams(clock=self._clock, ids=ids, disk=disk, net=WayNet(self.way, self.life), work=work)
        disk.dies_at, self._dies_at = self._dies_at, None
        try:
            with scope:
                house = await House.open(STATE_DIR, seams, self._master_key, limits=LIMITS)
                disk.dies_at = None
                house.keeper._limits = Limits(snapshot_records=SNAPSHOT_RECORDS)
                self.torn += house.journal.recovered is not None
                await house.run(lambda: self._serve(house, up))
        except* (JournalFailed, OSError):
            if not self._is_to_be_expected(disk):
                raise
        finally:
            up.set()
            down.set()

    def _is_to_be_expected(self, disk: SimDisk) -> bool:
        """This life has ended in an error. Whoever watches over the process starts it again, where that may help."""
        if disk is not self._disk:
            return True  # the power was cut: another life begins anyhow
        if not disk.is_gone and disk.space_bytes is None:
            return False
        self.met["crash during recovery" if disk.is_gone else "ended by a full disk"] += 1
        self._end(disk.crash() if disk.is_gone else disk.kill())
        self._cut.set()
        return True

    async def _master_key(self, _: bool) -> MasterKey:
        await trio.lowlevel.checkpoint()
        return MasterKey(Secret(self._key), Path("/master.key"))

    async def _serve(self, house: House, up: trio.Event) -> None:
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
            keeping=lambda: house.keeper.condition,
        )
        meanwhile: list[Record] = []
        stop = house.journal.subscribe(meanwhile.extend)
        earlier = await house.journal.since(self.ledger.position, RECORDS_A_LOOK)
        self.ledger.durable(earlier, self._ended_at if self.life.number > 1 else trio.current_time())
        self.ledger.durable(meanwhile, trio.current_time())
        stop()
        house.journal.subscribe(lambda records: self.ledger.durable(records, trio.current_time()))
        self.house = house
        app = Gate(LivingApi(desk))
        self._door = httpx.ASGITransport(app)  # type: ignore[arg-type] # httpx spells ASGI's types in its own way
        up.set()
        self._serving.set()
        await trio.sleep_forever()

    def committed_silently(self, committed: Committed) -> None:
        """A script has changed a record there, and nobody is told."""
        self._committed(committed)

    def _committed(self, committed: Committed) -> None:
        exchange = self.way.handling
        at = trio.current_time()
        self.silence.told(committed.row["sys_id"])  # whatever was silent there is replaced, or announced with this
        self.way.remember(committed)
        self.ledger.committed(committed, at, exchange.left_at if exchange is not None else self._left_at(committed, at))
        if self._knife is not None and committed.actor.user_name == ACCOUNT:
            self._knife.committed()

    def _left_at(self, committed: Committed, at: float) -> float:
        """When the request of a late commit of ours had left."""
        sys_id = committed.row["sys_id"]
        mine = (one for one in self.way.exchanges if one.writes and one.record == sys_id)
        return min((one.left_at for one in mine if one.left_at > at - LATE_S), default=at)

    def cut_power(self, *, is_gentle: bool = False) -> None:
        """End this life at this very instant: of what was not synced only a part may be left.

        ``is_gentle``: only the process is killed, and the page cache stays. Another life begins a little later.
        """
        self.crashes += 1
        self._end(self._disk.kill() if is_gentle else self._disk.crash())
        self._cut.set()

    def cut_power_again(self, nth: int) -> None:
        """The same, and the next life dies as well, at its n-th use of the disk, if it has not opened by then."""
        self._dies_at = nth
        self.cut_power()

    def set_clock_back(self, by_s: float) -> None:
        """Somebody sets the clock of the daemon's machine."""
        self._clock.skew_s -= by_s
        self.ledger.times.set_clock(trio.current_time(), EPOCH_S + self._clock.skew_s)

    def fill_disk(self, space_bytes: int | None) -> None:
        """No more than this may be appended; None: there is room again."""
        if space_bytes is None and self.house is not None:
            self.met["disk full and healed"] += self.house.journal.full
        self._disk.space_bytes = space_bytes

    def _end(self, left: SimDisk) -> None:
        self.house = None
        self.life.died_at = self._ended_at = trio.current_time()
        if self._serving.is_set():
            self._serving = trio.Event()
        self._disk = left
        self._scope.cancel()

    async def _revive(self) -> None:
        while True:
            await self._cut.wait()
            self._cut = trio.Event()
            await self._down.wait()
            await trio.sleep(self.rng.uniform(0, DOWN_S_MAX))
            await self.start()

    async def stop(self) -> None:
        """Kill the process; the next ``start`` finds everything that it wrote."""
        self._end(self._disk.kill())
        await self._down.wait()

    async def alive(self) -> None:
        """Return once the daemon serves; it may have died again before its waiters ran."""
        while self.house is None:
            await self._serving.wait()

    def arm_knife(self, cut: Cut) -> None:
        """Have the power cut at the n-th time, from now on, that something happens."""
        self._knife = knife = Knife(cut, self._strike)
        self._disk.watch, self._disk.on_call = knife.disk, knife.used
        self.way.on_left = [knife.left]

    def _strike(self) -> None:
        assert self._knife is not None
        self.met[f"cut {self._knife.cut.phase}"] += 1
        self.sheathe()
        self.cut_power()

    def sheathe(self) -> None:
        """Nobody waits for a moment to cut the power at any more."""
        self._disk.on_call = None
        self._disk.watch, self._knife, self.way.on_left = None, None, []

    def forget_key(self) -> None:
        """The next life has another master key, which opens nothing that is sealed."""
        self._key = self.rng.randbytes(32)

    # Instances

    def add_instance(self, host: str, instance: Instance) -> None:
        """Another instance, at another address."""
        self.instances[host] = instance
        self.post.listen(instance)
        instance.records.on_commit.append(self._committed_beside)

    def _committed_beside(self, committed: Committed) -> None:
        exchange, at = self.way.handling, trio.current_time()
        self.ledger.committed(committed, at, exchange.left_at if exchange is not None else self._left_at(committed, at))

    def holder(self, sys_id: str) -> Instance:
        """The instance that has this record."""
        return next(one for one in self.instances.values() if sys_id in one.kernel.incidents.rows)

    def rows(self) -> dict[str, Row]:
        """All records of all instances."""
        return {row["sys_id"]: row for one in self.instances.values() for row in one.incidents()}

    async def replay_webhooks(self, times: int) -> None:
        """Every webhook ever sent, again, in order, so many times."""
        for _ in range(times):
            await self.post.replay()

    # From outside

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

    @property
    def state(self) -> State:
        """The daemon's state; it must be alive."""
        assert self.house is not None
        return self.house.journal.state

    @property
    def settings(self) -> Settings:
        """The integration's settings."""
        return self.state.integrations[self.integration_id].settings

    @property
    def is_at_rest(self) -> bool:
        """Nothing is under way, or waits for anything but a person."""
        if self.house is None:
            return False
        return all(self._is_at_rest(name) for name in (self.integration_id, self.beside) if name)

    def _is_at_rest(self, name: str) -> bool:
        assert self.house is not None
        state = self.state
        queues = (state.dirty, state.hints, *((state.outbox, state.unlinked) if self.settings.writes else ()))
        is_well = self.house.roster.health(name).breaker == "closed"
        brings_in = (one := state.integrations[name].importing) is not None and one.status == "running"
        is_looking = brings_in or running(state, name) is not None
        return is_well and not is_looking and not any(queue.get(name) for queue in queues)

    def unrest(self) -> str:
        """What is under way, or waits, in words."""
        if self.house is None:
            return "the daemon is down"
        state, name = self.state, self.integration_id
        health = self.house.roster.health(name)
        links = [state.links[link_id].outbox for link_id in state.outbox.get(name, {})]
        return f"{health.breaker} {health.trouble}, {links}, {state.dirty}, {state.hints}, {state.unlinked}"

    def writes(self) -> int:
        """Requests so far that change something in ServiceNow."""
        counts = [one.counts for one in self.instances.values()]
        return sum(one[method] for one in counts for method in ("POST", "PATCH", "PUT", "DELETE"))

    async def reconcile(self, mode: Mode = "heal", *, forced: bool = False, name: str = "") -> Run:
        """A reconcile run, to its end; ``Busy`` when the instance could not be asked."""
        assert self.house is not None
        roster, name = self.house.roster, name or self.integration_id
        begun = await roster.reconcile(name, WantedRun(mode, forced), by="tester", trace="run", source=None)
        await roster.run_ended(name, begun.id)
        run = self.state.runs[name][begun.id]
        if run.stopped_by == "instance" or run.status == "interrupted":
            raise Busy(run.reason)
        return run
