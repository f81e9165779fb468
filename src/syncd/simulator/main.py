"""``syncd simulator``: an instance on a port, maybe its clone on another, with their webhooks, until Ctrl-C.

Owns the command line and the log of requests and webhooks on standard output. Never decides how an instance behaves.
"""

import argparse
import random
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_plus

import trio

from syncd.simulator.delivery import Delivery
from syncd.simulator.fault_catalogue import catalogue_text
from syncd.simulator.instance import Instance, InstanceOptions, RequestLine
from syncd.simulator.outbound import SentWebhook
from syncd.simulator.server import serve

__all__ = ["main", "request_text", "run_simulator", "webhook_text"]

_EXAMPLES: Final = """examples:
  a data set to look at; the page with its incidents is at http://127.0.0.1:8090/
    syncd simulator
  an instance that calls a daemon and loses one answer in ten
    syncd simulator --seed 7 --user svc.sync:pw --fault answer_lost=0.1 \\
        --webhook-url http://127.0.0.1:8080/api/v1/webhooks/prod-snow --webhook-secret s3cret
  a stricter customer: closing refused, a prefix on each title, one answer in twenty 2 s late
    syncd simulator --fault close_by_api=refuse --fault 'title_prefix=[P] ' --fault slow=2@0.05
  production and its clone: the same sys_ids, the same secret, another name
    syncd simulator --name prod --clone-name test --clone-port 8091
  what can go wrong, and what to set: all names with a line each
    syncd simulator --list-faults

While it runs, http://127.0.0.1:8090/control lists what can be changed, for example:
    curl -d '{"name": "late_commit", "value": 20, "times": 1}' http://127.0.0.1:8090/control/faults
"""
_TARGET_LETTERS_MAX: Final = 200


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
    is_cloned = bool(options.clone_name) or options.clone_port is not None
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
    served = [_Served(instance, options.port)]
    if is_cloned:
        name = options.clone_name or f"{options.name}-clone"
        if name == options.name:
            sys.stderr.write(f"syncd simulator: --clone-name {name!r} is the name of the instance; choose another\n")
            return 2
        served.append(_Served(instance.add_clone(name), options.clone_port or 0))
    width = max(len(one.instance.options.name) for one in served) if is_cloned else 0
    for one in served:
        _log(one.instance, one.instance.options.name.ljust(width + 2) if is_cloned else "")
    failures: list[OSError] = []
    try:
        trio.run(_until_stopped, served, options.host)
    except* OSError as group:
        failures.append(_first(group))
    if failures:
        ports = " or ".join(f"{options.host}:{one.port}" for one in served)
        sys.stderr.write(f"syncd simulator: cannot listen on {ports}: {failures[0]}; try --port 0\n")
    return 1 if failures else 0


@dataclass(frozen=True)
class _Served:
    """An instance and the port that was asked for; 0 is any free one."""

    instance: Instance
    port: int


async def _until_stopped(served: Sequence[_Served], host: str) -> None:
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as stops:
            for one in served:
                bound = await nursery.start(run_simulator, one.instance, host, one.port)
                _say(f"ServiceNow simulator {one.instance.options.name} at http://{host}:{bound}/")
            _say(
                f"Its API user is {served[0].instance.options.api_user}; the page asks for no password. Ctrl-C ends it."
            )
            async for _ in stops:
                break
        nursery.cancel_scope.cancel()


def _first(group: BaseExceptionGroup[OSError]) -> OSError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _log(instance: Instance, prefix: str) -> None:
    """Print each request as it is answered, and each webhook as it is delivered or not."""
    instance.on_request.append(lambda line: _say(prefix + request_text(line)))
    instance.outbound.on_delivered.append(lambda sent: _say(prefix + webhook_text(sent)))


def request_text(line: RequestLine) -> str:
    """One request for the log: time (UTC), status, method, user, path and query, and what a refusal said."""
    target = _printable(unquote_plus(line.target))
    if len(target) > _TARGET_LETTERS_MAX:
        target = target[:_TARGET_LETTERS_MAX] + "…"
    said = f"  ({_printable(line.refusal)})" if line.refusal else ""
    status = str(line.status or "reset")
    return f"{_clock(line.at_s)} {status:>5} {line.method:<8}{line.user_name or '-':<14}{target}{said}"


def webhook_text(sent: SentWebhook) -> str:
    """One webhook for the log, in the columns of a request."""
    status = str(sent.status or "fail")
    error = f"  ({_printable(sent.error)})" if sent.error else ""
    return f"{_clock(sent.outgoing.at_s)} {status:>5} {'webhook':<8}{'-':<14}{sent.outgoing.url}{error}"


def _clock(at_s: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(at_s))


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(letter if letter.isprintable() else " " for letter in text)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
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
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    add("--port", type=int, default=8090, help="port to listen on; 0 picks a free one (%(default)s)")
    add("--seed", type=int, default=1, help="another seed, another data set and other accidents (%(default)s)")
    add("--name", default=InstanceOptions.name, help="name of the instance (%(default)s)")
    add(
        "--incidents",
        type=int,
        default=InstanceOptions.incidents,
        help="how many incidents it begins with (%(default)s)",
    )
    add(
        "--user",
        action="append",
        default=[],
        type=_account,
        metavar="NAME:PASSWORD",
        help="an API account; repeatable, the first is the API user (svc.sync:sync-secret)",
    )
    add("--clock-offset", type=float, default=0.0, metavar="SECONDS", help="how far its clock is ahead (0)")
    add("--zone", default=InstanceOptions.zone, help="time zone of users without their own (%(default)s)")
    add(
        "--fault",
        action="append",
        default=[],
        metavar="NAME[=VALUE][@PROBABILITY][*TIMES]",
        help="arm a fault or set a switch; repeatable",
    )
    add("--list-faults", action="store_true", help="print every fault and switch with one line each, and exit")
    add("--webhook-url", default="", metavar="URL", help="where the business rule calls; without it there is no rule")
    add(
        "--webhook-secret", default="", metavar="SECRET", help="what the rule signs with; without it calls are unsigned"
    )
    add("--clone-name", default="", metavar="NAME", help="serve a clone of that name as well: same data, same webhook")
    add("--clone-port", type=int, default=None, metavar="PORT", help="port of the clone; 0 picks a free one (0)")
    return parser
