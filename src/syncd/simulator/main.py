"""``syncd simulator``: one instance on a port, with its webhooks, until Ctrl-C."""

import argparse
import random
import signal
import sys
import time
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import trio

from syncd.simulator.delivery import Delivery
from syncd.simulator.fault_catalogue import catalogue_text
from syncd.simulator.instance import Instance, InstanceOptions, RequestLine
from syncd.simulator.server import serve

__all__ = ["main", "run_simulator"]

_EXAMPLE: Final = """example:
  syncd simulator --port 8090 --seed 7 --fault answer_lost=0.1 \\
      --webhook-url http://127.0.0.1:8080/api/v1/webhooks/prod-snow --webhook-secret s3cret
"""


async def run_simulator(
    instance: Instance, host: str, port: int, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve an instance and deliver its webhooks until cancelled; reports the port that was bound."""
    delivery = Delivery(instance)
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(
            lambda task_status: serve(instance, host, port, delivery=delivery, task_status=task_status)
        )
        nursery.start_soon(delivery.run)
        task_status.started(bound)


def main(arguments: Sequence[str]) -> int:
    """Parse the command line and run; 0 after Ctrl-C or SIGTERM, 1 without a port, 2 for wrong usage."""
    options = _parser().parse_args(list(arguments))
    if options.list_faults:
        sys.stdout.write(catalogue_text() + "\n")
        return 0
    users = dict(options.user)
    api_user = next(iter(users), InstanceOptions.api_user)
    setup = InstanceOptions(
        name=options.name,
        seed=options.seed,
        incidents=options.incidents,
        api_user=api_user,
        api_password=users.get(api_user, InstanceOptions.api_password),
        users=users,
        clock_offset_s=options.clock_offset,
        zone=options.zone,
        webhook_url=options.webhook_url,
        webhook_secret=options.webhook_secret,
        faults=tuple(options.fault),
    )
    try:
        instance = Instance(setup, time.time, random.Random(options.seed))
    except ValueError as error:
        sys.stderr.write(f"syncd simulator: {error}\n")
        return 2
    instance.on_request.append(_print_line)
    failures: list[OSError] = []
    try:
        trio.run(_until_stopped, instance, options.host, options.port)
    except* OSError as group:
        failures.append(_first(group))
    if failures:
        sys.stderr.write(
            f"syncd simulator: cannot listen on {options.host}:{options.port}: {failures[0]}; try --port 0\n"
        )
    return 1 if failures else 0


async def _until_stopped(instance: Instance, host: str, port: int) -> None:
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as stops:
            bound = await nursery.start(run_simulator, instance, host, port)
            sys.stdout.write(f"ServiceNow simulator {instance.options.name} at http://{host}:{bound}/\n")
            sys.stdout.flush()
            async for _ in stops:
                break
        nursery.cancel_scope.cancel()


def _first(group: BaseExceptionGroup[OSError]) -> OSError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _print_line(line: RequestLine) -> None:
    status = line.status or "reset"
    path = urlsplit(line.target).path
    at = time.strftime("%H:%M:%S", time.gmtime(line.at_s))
    sys.stdout.write(f"{at} {status} {line.method} {path} {line.user_name}\n")
    sys.stdout.flush()


def _account(text: str) -> tuple[str, str]:
    name, colon, password = text.partition(":")
    if not name or not colon:
        raise argparse.ArgumentTypeError(f"{text!r} is not an account; write NAME:PASSWORD")
    return name, password


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="syncd simulator",
        description="A ServiceNow on this machine, to rehearse a mapping on: Table API, rules, webhooks, and faults.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    add("--port", type=int, default=8090, help="port to listen on; 0 picks a free one (8090)")
    add("--seed", type=int, default=1, help="another seed, another data set and other accidents (1)")
    add("--name", default=InstanceOptions.name, help="name of the instance")
    add("--incidents", type=int, default=InstanceOptions.incidents, help="how many incidents the data set has")
    add(
        "--user",
        action="append",
        default=[],
        type=_account,
        metavar="NAME:PASSWORD",
        help="an API account; the first is the API user (svc.sync:sync-secret)",
    )
    add("--clock-offset", type=float, default=0.0, metavar="SECONDS", help="how far its clock is ahead (0)")
    add("--zone", default=InstanceOptions.zone, help="time zone of users without their own (%(default)s)")
    add("--fault", action="append", default=[], metavar="NAME[=VALUE]", help="arm a fault or set a switch; repeatable")
    add("--webhook-url", default="", help="where the business rule calls")
    add("--webhook-secret", default="", help="what it signs with")
    add("--list-faults", action="store_true", help="print every fault and switch, and exit")
    return parser
