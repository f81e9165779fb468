"""``syncd simulator``: an instance on a port, with a readable log of its requests.

Owns the command line and the real outside: the wall clock, the port, the HTTP client that sends webhooks. Everything
else is ``Instance``.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import httpx
import trio

from syncd.simulator.clock import ZONES, stamp_of
from syncd.simulator.control import ROUTES
from syncd.simulator.delivery import deliver, run_deliveries
from syncd.simulator.fault_catalogue import catalogue_text
from syncd.simulator.instance import Instance, InstanceOptions, RequestLine
from syncd.simulator.server import serve_connection

__all__ = ["main", "run_simulator"]

_EXAMPLE: Final = """\
example:
  syncd simulator --port 8081 --seed 7 --user svc.sync:s3cret \\
      --webhook-url http://127.0.0.1:8080/api/v1/webhooks/int_1 --webhook-secret k --fault slow=2@0.1 --fault webhook_lost=0.2

  The page at http://127.0.0.1:8081/ shows and edits incidents. Every API call is the one of ServiceNow:
  curl -u svc.sync:s3cret 'http://127.0.0.1:8081/api/now/v2/table/incident?sysparm_limit=1'

control API (no authentication):
"""


async def run_simulator(
    options: InstanceOptions,
    host: str,
    port: int,
    *,
    on_request: Callable[[RequestLine], None] | None = None,
    task_status: trio.TaskStatus[tuple[Instance, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an instance until cancelled. Port 0 takes a free one; ``started`` tells the instance and its port."""
    instance = Instance(options, time.time, random.Random(options.seed))
    if on_request is not None:
        instance.on_request.append(on_request)
    limits = httpx.Limits(max_connections=20, max_keepalive_connections=4)
    async with (
        httpx.AsyncClient(timeout=None, trust_env=False, limits=limits) as client,
        trio.open_nursery() as nursery,
    ):
        # No httpx timeout: the deadline around each call is in ``deliver``.
        listeners = await trio.open_tcp_listeners(port, host=host)
        await nursery.start(run_deliveries, instance, client, time.time)
        serve = partial(serve_connection, instance=instance, deliver=partial(deliver, instance, client))
        await nursery.start(trio.serve_listeners, serve, listeners)
        task_status.started((instance, listeners[0].socket.getsockname()[1]))


def main(argv: Sequence[str]) -> int:
    """Run ``syncd simulator`` with these arguments until interrupted; returns the exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.list_faults:
        print(catalogue_text())
        return 0
    users: dict[str, str] = {}
    for text in arguments.user:
        name, separator, password = text.partition(":")
        if not separator or not name:
            parser.error(f"--user {text!r}: write NAME:PASSWORD")
        users[name] = password
    options = InstanceOptions(
        name=arguments.name,
        seed=arguments.seed,
        incidents=arguments.incidents,
        users=users,
        clock_offset_s=arguments.clock_offset,
        zone=arguments.zone,
        webhook_url=arguments.webhook_url,
        webhook_secret=arguments.webhook_secret,
        faults=tuple(arguments.fault),
    )
    try:
        Instance(options, time.time, random.Random(0))  # a wrong fault or zone is a usage error, said before the start
    except ValueError as error:
        parser.error(str(error))
    try:
        trio.run(_run, options, arguments.host, arguments.port, strict_exception_groups=True)
    except KeyboardInterrupt:
        return 0
    except* OSError as group:
        print(f"cannot listen on {arguments.host}:{arguments.port}: {group.exceptions[0]}; choose another --port", file=sys.stderr)
        return 1
    return 0


async def _run(options: InstanceOptions, host: str, port: int) -> None:
    async with trio.open_nursery() as nursery:
        instance, bound_port = await nursery.start(partial(run_simulator, on_request=_print_line), options, host, port)
        api_user = instance.options.api_user
        print(f"ServiceNow simulator {instance.kernel.name} on http://{host}:{bound_port}/ (page), user {api_user}", flush=True)
        print(f"{len(instance.incidents())} incidents; control API at http://{host}:{bound_port}/control", flush=True)


def _print_line(line: RequestLine) -> None:
    status = line.status or "reset"
    delay = f"  +{line.delay_s:.1f} s" if line.delay_s else ""
    body = line.body.decode("utf-8", "replace")[:160]
    print(f"{stamp_of(line.at_s)[11:]}  {status}  {line.method:6} {line.target}  {line.user_name or '-'}{delay}  {body}".rstrip(), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="syncd simulator",
        description="A ServiceNow instance to rehearse on: Table API, incident rules, webhooks, and faults on request.",
        epilog=_EXAMPLE + ROUTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=8081, help="port to listen on, 0 takes a free one (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="data set and chance follow from it (default %(default)s)")
    parser.add_argument("--incidents", type=int, default=25, metavar="N", help="how many incidents there are (default %(default)s)")
    parser.add_argument("--name", default="dev12345", help="instance name, sent with webhooks (default %(default)s)")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME[=VALUE][@P][*TIMES]", help="arm a fault or set a switch; repeatable")
    parser.add_argument("--list-faults", action="store_true", help="print all faults and switches, and exit")
    parser.add_argument("--user", action="append", default=[], metavar="NAME:PASSWORD", help="add a user, or set a password; repeatable (svc.sync:sync-secret exists)")
    parser.add_argument("--webhook-url", default="", help="where the business rule sends changes")
    parser.add_argument("--webhook-secret", default="", help="secret it signs them with")
    parser.add_argument("--clock-offset", type=float, default=0.0, metavar="SECONDS", help="how far the instance's clock is ahead")
    parser.add_argument("--zone", default="America/Los_Angeles", choices=sorted(ZONES), metavar="ZONE", help="zone of users without their own (default %(default)s)")
    return parser
