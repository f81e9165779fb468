"""Composition root: the real seams, the house, the two doors in front of it, and signals.

The only place that builds the real clock, disk, network, threads and sockets for the daemon. Order matters and is
numbered in ``run_daemon``: nothing listens before the journal is replayed, and the journal ends last.
"""

import logging
import os
import resource
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio

from syncd.config import Config
from syncd.credentials import LocalKeyFiles, load_master_key
from syncd.edges.api.access import Access
from syncd.edges.api.app import build_api
from syncd.edges.api.counts import WebhookCounts
from syncd.edges.api.desk import Desk
from syncd.edges.api.gate import Gate
from syncd.edges.api.listeners import open_tcp, open_unix
from syncd.edges.api.peers import LocalUsers, PeerGate
from syncd.edges.api.serve import serve
from syncd.errors import BadConfig, StartRefused
from syncd.house import House
from syncd.net import SystemNet, tls_context
from syncd.seams import Clock, Seams, SystemClock, SystemDisk, SystemIds, ThreadWork
from syncd.systems import platform
from syncd.telemetry import set_level

log = logging.getLogger("syncd")


async def run_daemon(config: Config, level_now: Callable[[], str]) -> None:
    """Run until SIGTERM or SIGINT. ``level_now`` gives the log level to use after a SIGHUP.

    Raises StartRefused before anything is served, JournalFailed when a sync failed.
    """
    _take_descriptors()
    # 1. Seams. The TLS context costs up to 100 ms of CPU, so it is made once, in a thread.
    work = ThreadWork()
    net = SystemNet(await work.run(tls_context), config.allowed_hosts)
    clock: Clock = SystemClock()
    seams = Seams(clock=clock, ids=SystemIds(), disk=SystemDisk(), net=net, work=work)

    async def master_key(is_sealed: bool) -> bytes:
        load = partial(load_master_key, config, LocalKeyFiles(), seams.ids, sealed_exists=is_sealed)
        return await work.run(load)

    # 2. The house: lock, journal, replay, key.
    await work.run(_make_folder, config.state_dir, "state_dir", 0o700)
    house = await House.open(config.state_dir, seams, master_key)
    _log_start(config, house)
    # 3. The doors, opened last and closed first.
    stop = trio.Event()

    async def doors() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(_signals, stop, level_now)
            await _serve(config, house, stop)
            nursery.cancel_scope.cancel()

    await house.run(doors)
    log.info("stopped", extra={"position": house.journal.durable_position})


def _take_descriptors() -> None:
    """As many as this process may have: the usual 1,024 could all be clients, and the journal needs some."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _log_start(config: Config, house: House) -> None:
    state = house.journal.state
    told = {
        "position": state.position,
        "incidents": len(state.incidents),
        "integrations": len(state.integrations),
        "listen": config.listen.url,
        "socket": str(config.socket),
    }
    log.info("started", extra=told)
    if (recovered := house.journal.recovered) is not None:
        log.warning("a torn tail was cut off the journal", extra={"copy": str(recovered.copy)})
    if config.auth == "none":
        log.warning("INCIDENTS_AUTH=none: whoever reaches the port may do everything", extra={"url": config.listen.url})


async def _serve(config: Config, house: House, stop: trio.Event) -> None:
    """Serve one application behind the TCP port and the Unix socket until ``stop``."""
    tcp = await open_tcp(config.listen.host, config.listen.port)
    _make_folder(config.socket.parent, "socket", 0o755)
    unix = open_unix(config.socket)
    users = LocalUsers(os.geteuid(), config.socket.stat().st_gid)
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
        stopping=stop,
    )
    await serve(PeerGate(Gate(build_api(desk)), users), [*tcp, unix], stop=stop)


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
