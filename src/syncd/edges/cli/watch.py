"""`im watch`: what happens, as it happens, one line for each event.

It goes on by itself where a connection was lost, behind the last event that it printed, so nothing is missed and
nothing is printed twice.
"""

import gc
from collections.abc import Iterable, Iterator
from typing import Annotated, Final

from cyclopts import Parameter

from syncd.edges.cli.client import Query, RequestRefused, path_of, read
from syncd.edges.cli.happenings import gist
from syncd.edges.cli.render import COLUMNS_MAX, clip, clock, pretty_json, safe
from syncd.edges.cli.session import Injected, Session
from syncd.edges.cli.shapes import CloudEvent
from syncd.edges.cli.transport import Unreachable

RETRIES_S: Final = (0.0, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 10.0, 10.0, 10.0, 15.0)  # a minute: longer than a restart
_PASSING: Final = frozenset({429, 503})


def watch(
    *,
    since: Annotated[
        str | None, Parameter(help="Begin behind this position, or id of an event; 0: with the oldest that is kept.")
    ] = None,
    incident: Annotated[str | None, Parameter(help="Only this incident.")] = None,
    integration: Annotated[str | None, Parameter(help="Only what the sync of this integration does.")] = None,
    kind: Annotated[str | None, Parameter(name="--type", help="Only types that begin so, such as im.sync.")] = None,
    session: Injected,
) -> int:
    """Follow what happens, as it happens.

    One line for each event, until Ctrl-C; --format json prints one object a line.

    Example: im watch --integration prod-snow
    """
    gc.enable()  # other commands are gone too soon for it to pay
    query = {"incident": incident, "integration": integration, "type": kind}
    for body in _followed(session, query, since):
        if session.is_json:
            line = pretty_json(body, indent=-1)
        else:
            line = clip(safe(_line(read(body, CloudEvent), session.now_s)), COLUMNS_MAX)
        print(line, flush=True)
    return 0


def _line(event: CloudEvent, now_s: float) -> str:
    """When, about what, which kind, who, and then as much of what as fits; where, if "who" does not say it."""
    by = event.by or "nobody"
    is_its_own = event.type.startswith("im.integration.") and bool(event.integration)  # about itself, by its handle
    where = f" ({event.integration})" if event.integration and not is_its_own and event.integration not in by else ""
    subject = event.integration if is_its_own else event.subject
    words = [clock(event.time), subject or "", event.type, f"{by}{where}", gist(event, now_s)]
    return "  ".join(word for word in words if word)


def _followed(session: Session, query: Query, since: str | None) -> Iterator[bytes]:
    """The JSON of each event, over as many connections as it takes. Raises what the first one, or the last, met."""
    last, tries = since, 0
    is_begun = False
    while True:
        lost: RequestRefused | Unreachable | None = None
        try:
            with session.client.stream(path_of("events"), {**query, "since": last}) as stream:
                is_begun = is_begun or since is not None
                for event_id, body in _events(stream.lines()):
                    if tries > 1:
                        session.remark("connected again")
                    is_begun, tries = True, 0
                    if body:
                        yield body
                    last = event_id or last
        except RequestRefused as error:
            if not is_begun or error.status not in _PASSING:
                raise
            lost = error
        except Unreachable as error:
            if not is_begun:
                raise
            lost = error
        if tries == len(RETRIES_S):
            raise lost or Unreachable("the daemon ends every stream at once", hint="see its log")
        if tries == 1:
            session.remark("the connection was lost; trying again")
        session.world.sleep_s(RETRIES_S[tries])
        tries += 1


def _events(lines: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Id and data of each block of Server-Sent Events; one without data only moves the place. A cut one is left out."""
    event_id, parts = "", list[str]()
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            yield event_id, "\n".join(parts).encode()
            event_id, parts = "", []
        elif name == "id":
            event_id = value
        elif name == "data":
            parts.append(value)
