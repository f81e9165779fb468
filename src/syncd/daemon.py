"""Composition root: the real seams, the house, the two doors in front of it, and signals.

The only place that builds the real clock, disk, network, threads and sockets for the daemon. Order matters and is
numbered in ``run_daemon``: nothing listens before the journal is replayed, and the journal ends last. What the service
manager listens on for us it keeps open over restarts: who connects meanwhile waits, and is not refused.
"""

import faulthandler
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import trio

from syncd.config import Config, Listen
from syncd.core.daemon_status import EndView
from syncd.edges.api.access import Access
from syncd.edges.api.app import build_api
from syncd.edges.api.counts import WebhookCounts
from syncd.edges.api.desk import Desk
from syncd.edges.api.gate import ASGIApp, Gate
from syncd.edges.api.listeners import open_tcp, open_unix, take_over
from syncd.edges.api.peers import LocalUsers, PeerGate
from syncd.edges.api.serve import serve
from syncd.errors import AlreadyRunning, BadConfig, StartRefused
from syncd.house import House
from syncd.journal.writer import Journal
from syncd.lives import Life, ended, last_end, read_life, write_life
from syncd.master_key import LocalKeyFiles, MasterKey, load_master_key
from syncd.net import SystemNet, tls_context
from syncd.seams import Clock, Seams, SystemClock, SystemDisk, SystemIds, ThreadWork
from syncd.service_manager import ServiceManager, inherited_sockets
from syncd.systems import platform
from syncd.telemetry import set_level

log = logging.getLogger("syncd")

Listeners = list[trio.abc.Listener[trio.SocketStream]]

RECOVERY_S_MAX = 60  # between two pieces of a journal that is being read


async def run_daemon(config: Config, level_now: Callable[[], str]) -> None:
    """Run until SIGTERM or SIGINT. ``level_now`` gives the log level to use after a SIGHUP.

    Raises StartRefused before anything is served, JournalFailed when a sync failed.
    """
    faulthandler.enable()  # the watchdog's SIGABRT leaves on stderr where each thread was
    manager = ServiceManager(os.environ, os.getpid())
    sockets = inherited_sockets(os.environ, os.getpid())
    _check_loopback(config, sockets)
    _take_descriptors()
    # 1. Seams. The TLS context costs up to 100 ms of CPU, so it is made once, in a thread.
    work = ThreadWork()
    net = SystemNet(await work.run(tls_context), config.allowed_hosts)
    clock: Clock = SystemClock()
    seams = Seams(clock=clock, ids=SystemIds(), disk=SystemDisk(), net=net, work=work)

    async def master_key(is_sealed: bool) -> MasterKey:
        load = partial(load_master_key, config, LocalKeyFiles(), seams.ids, sealed_exists=is_sealed)
        return await work.run(load)

    # 2. The house: lock, journal, replay, key.
    await work.run(_make_folder, config.state_dir, "state_dir", 0o700)
    manager.tell("STATUS=Reading the journal")
    lives = _Lives(seams, config.state_dir)
    try:
        house = await House.open(config.state_dir, seams, master_key, partial(_tell_progress, manager))
    except AlreadyRunning:
        raise  # the folder, and what is on record in it, belong to another one
    except Exception as error:
        with trio.CancelScope(shield=True):
            await lives.end(None, error)
        raise
    before = await lives.begin(house.journal)
    _log_start(config, house, sockets)
    # 3. The doors, opened last and closed first.
    stop = trio.Event()

    async def doors() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(_signals, stop, level_now)
            if manager.watchdog_s is not None:
                nursery.start_soon(_feed_watchdog, manager, manager.watchdog_s, house.late)
            nursery.start_soon(_tell_stop, manager, stop)
            async with trio.open_nursery() as serving:
                app, listeners = await _doors(config, house, stop, sockets, before)
                await serving.start(partial(serve, app, listeners, stop=stop))
                manager.tell("READY=1", "STATUS=Serving")
            nursery.cancel_scope.cancel()

    try:
        await house.run(doors)
    except Exception as error:
        with trio.CancelScope(shield=True):
            await lives.end(house.journal.durable_position, error)
        raise
    await lives.end(house.journal.durable_position)
    log.info("stopped", extra={"position": house.journal.durable_position})


class _Lives:
    """Puts this run of the daemon on record; without it the daemon does as well."""

    def __init__(self, seams: Seams, folder: Path) -> None:
        self._seams, self._folder = seams, folder
        self._began_at_s = seams.clock.now_s()

    async def begin(self, journal: Journal) -> EndView | None:
        """Returns how the run before this one ended."""
        before = await self._seams.work.run(read_life, self._seams.disk, self._folder)
        await self._write(Life(self._began_at_s))
        return last_end(before, journal.resumed_position, journal.resumed_at_s)

    async def end(self, position: int | None, error: Exception | None = None) -> None:
        await self._write(ended(self._began_at_s, self._seams.clock.now_s(), position, error))

    async def _write(self, life: Life) -> None:
        try:
            await self._seams.work.run(write_life, self._seams.disk, self._folder, life)
        except OSError as failure:
            log.warning("how this run begins or ends is not on record", extra={"reason": str(failure)})


def _take_descriptors() -> None:
    """As many as this process may have: the usual 1,024 could all be clients, and the journal needs some."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # under a filter of system calls the unit has set it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _log_start(config: Config, house: House, sockets: Sequence[socket.socket]) -> None:
    state = house.journal.state
    ports = ["{}:{}".format(*one.getsockname()) for one in sockets if one.family != socket.AF_UNIX]
    paths = [one.getsockname() for one in sockets if one.family == socket.AF_UNIX]
    told = {
        "position": state.position,
        "incidents": len(state.incidents),
        "integrations": len(state.integrations),
        "listen": ", ".join(ports) or config.listen.url,
        "socket": ", ".join(paths) or str(config.socket),
    }
    log.info("started", extra=told)
    if (recovered := house.journal.recovered) is not None:
        log.warning("a torn tail was cut off the journal", extra={"copy": str(recovered.copy)})
    if config.auth == "none":
        log.warning("INCIDENTS_AUTH=none: whoever reaches the port may do everything", extra={"url": config.listen.url})


def _check_loopback(config: Config, sockets: Sequence[socket.socket]) -> None:
    """What ``config`` checks of its own address, for one that was handed over."""
    for one in sockets:
        if config.auth == "none" and one.family != socket.AF_UNIX and not Listen(one.getsockname()[0], 0).is_loopback:
            raise BadConfig(
                f"auth = 'none', and syncd.socket listens on {one.getsockname()[0]}: without tokens the API would be "
                "open to the network",
                hint="set auth to token (INCIDENTS_AUTH=token), or ListenStream= to a loopback address",
            )


def _tell_progress(manager: ServiceManager, done_bytes: int, all_bytes: int) -> None:
    """Between two pieces of the journal: a long one is no reason to give up on us."""
    percent = 100 * done_bytes // max(all_bytes, 1)
    manager.tell(f"EXTEND_TIMEOUT_USEC={RECOVERY_S_MAX * 1_000_000}", f"STATUS=Reading the journal, {percent} %")


async def _tell_stop(manager: ServiceManager, stop: trio.Event) -> None:
    await stop.wait()
    manager.tell("STOPPING=1", "STATUS=Stopping")


async def _feed_watchdog(manager: ServiceManager, within_s: float, who_is_late: Callable[[float], list[str]]) -> None:
    """Tell the service manager that all is well, twice as often as it must hear it, and only while it is so."""
    told: list[str] = []
    while True:
        late = who_is_late(within_s)
        if not late:
            manager.tell("WATCHDOG=1")
        elif late != told:
            log.error("the watchdog is not fed: no progress", extra={"actors": ", ".join(late), "within_s": within_s})
        told = late
        await trio.sleep(within_s / 2)


async def _doors(
    config: Config, house: House, stop: trio.Event, sockets: Sequence[socket.socket], before: EndView | None
) -> tuple[ASGIApp, Listeners]:
    """One application, and what it is to be served on: the TCP port and the Unix socket."""
    listeners, socket_path = await _listeners(config, sockets)
    users = LocalUsers(os.geteuid(), socket_path.stat().st_gid)
    desk = Desk(
        journal=house.journal,
        platform=platform,
        integrations=house.roster,
        vault=house.vault,
        access=Access(auth=config.auth, public_host=config.public_host, users=users, now_s=house.seams.clock.now_s),
        clock=house.seams.clock,
        ids=house.seams.ids,
        public_url=config.public_url,
        allowed_hosts=config.allowed_hosts,
        webhook_counts=WebhookCounts(),
        keeping=lambda: house.keeper.condition,
        last_end=before,
        stopping=stop,
    )
    gate = Gate(build_api(desk), refused=lambda status: desk.answer_counts.add("", status))
    return PeerGate(gate, users), listeners


async def _listeners(config: Config, sockets: Sequence[socket.socket]) -> tuple[Listeners, Path]:
    """What was handed over, and as configured what that lacks; and the path of the Unix socket."""
    listeners: Listeners = [take_over(one) for one in sockets]
    paths = [Path(one.getsockname()) for one in sockets if one.family == socket.AF_UNIX]
    if len(paths) == len(sockets):
        listeners += await open_tcp(config.listen.host, config.listen.port)
    if not paths:
        _make_folder(config.socket.parent, "socket", 0o755)
        listeners.append(open_unix(config.socket))
    return listeners, paths[0] if paths else config.socket


def _make_folder(folder: Path, key: str, mode: int) -> None:
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise BadConfig(
            f"{key}: the folder {folder} cannot be made: {error.strerror}",
            hint=f"set {key} ($INCIDENTS_{key.upper()}) to a path in a folder that exists and may be written",
        ) from error


async def _signals(
    stop: trio.Event, level_now: Callable[[], str], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """SIGTERM and SIGINT stop the daemon; SIGHUP re-reads the log level."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
        task_status.started()
        async for number in received:
            if number == signal.SIGHUP:
                try:
                    level = level_now()
                except StartRefused as error:  # it would not start with these settings, but it runs already
                    log.error("log level not re-read", extra={"reason": str(error), "hint": error.hint})  # noqa: TRY400
                else:
                    set_level(level)
                    log.warning("log level re-read", extra={"level": level})
            else:
                log.info("stopping", extra={"signal": signal.Signals(number).name})
                stop.set()
