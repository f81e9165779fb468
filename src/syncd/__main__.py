"""``syncd serve``, ``syncd demo`` and ``syncd simulator``: flags to settings, and then to what they start."""

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import trio
from cyclopts import App, Parameter

from syncd import __version__
from syncd.config import read_config
from syncd.daemon import run_daemon
from syncd.demo import run_demo
from syncd.errors import FAULT, JournalFailed, StartRefused, SyncdError, first_of
from syncd.seams import SystemClock
from syncd.simulator.main import main as simulator_main
from syncd.telemetry import configure_logging, log

app = App(
    name="syncd",
    help="Keeps the incidents of an incident platform and ServiceNow in two-way sync. The command line is `im`.",
    version=__version__,
)


@app.command
def serve(  # noqa: PLR0913 one for each flag
    *,
    config: Path | None = None,
    listen: str | None = None,
    socket: Path | None = None,
    state_dir: Path | None = None,
    auth: Literal["token", "none"] | None = None,
    public_url: str | None = None,
    master_key_file: Path | None = None,
    log_level: Literal["debug", "info", "warning", "error"] | None = None,
    sync_trace: bool | None = None,
) -> int:
    """Run the daemon until SIGTERM. Flags come before $INCIDENTS_... variables, and those before the config file.

    Example: syncd serve --listen 127.0.0.1:8080 --state-dir ./state --socket ./syncd.sock

    Parameters
    ----------
    config
        The TOML file with the settings; /etc/syncd/syncd.toml unless given.
    listen
        Address and port of the HTTP API and the webhooks, such as 127.0.0.1:8080.
    socket
        The Unix socket that `im` talks to.
    state_dir
        Where the journal is kept.
    auth
        `token`: every request over TCP needs a token. `none`: no tokens, on a loopback address only.
    public_url
        How ServiceNow reaches this daemon, such as https://sync.example.com.
    master_key_file
        The key that seals stored credentials; made on the first start.
    log_level
        How much is logged.
    sync_trace
        Log each decision and each request, tied together by one trace id per change.
    """
    flags: dict[str, object] = {
        "config": config,
        "listen": listen,
        "socket": socket,
        "state_dir": state_dir,
        "auth": auth,
        "public_url": public_url,
        "master_key_file": master_key_file,
        "log_level": log_level,
        "sync_trace": sync_trace,
    }
    clock = SystemClock()
    read = partial(read_config, flags, os.environ, Path.read_bytes)
    settings = read()
    configure_logging(settings.log_level, sys.stderr, clock.now_s, sync_trace=settings.sync_trace)
    failures: list[SyncdError] = []
    try:
        trio.run(run_daemon, settings, lambda: read().log_level)
    except* (StartRefused, JournalFailed) as group:
        failures += filter(None, [first_of(group, (StartRefused, JournalFailed))])
    except* Exception:  # noqa: BLE001 the last one to see it
        log.exception("an error of our own ended the daemon")
        failures.append(SyncdError("an error of our own ended the daemon", hint="the log has it; please report it"))
    return _told(failures[0]) if failures else 0


@app.command
def demo(*, once: bool = False, seed: int = 1) -> int:
    """Run the whole system on this machine against the built-in ServiceNow, and tell a short story with times.

    Example: syncd demo --once

    Parameters
    ----------
    once
        Exit after the story, with 0 if every step was done within 5 seconds.
    seed
        Another seed, another data set in the simulated ServiceNow.
    """
    return trio.run(run_demo, once, seed)


@app.command(help_flags=[])
def simulator(*arguments: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
    """Run the built-in ServiceNow simulator alone; `syncd simulator --help` shows its options."""
    status: int = simulator_main(arguments)
    return status


def _told(error: SyncdError) -> int:
    sys.stderr.write(f"syncd: {error}\n")
    if error.hint:
        sys.stderr.write(f"  {error.hint}\n")
    if error.page:
        sys.stderr.write(f'  see docs/operations.md, "{error.page}"\n')
    return error.exit_code if isinstance(error, StartRefused) else FAULT


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point; exits with 0, 70 (a fault), 75 (held by another daemon) or 78 (settings or journal refused)."""
    try:
        status = app(arguments)
    except StartRefused as error:
        status = _told(error)
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
