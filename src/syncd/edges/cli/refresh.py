"""Figures once, or again every two seconds until Ctrl-C: what `im status` and `im integration sync-status` share.

A daemon that goes away meanwhile, such as for a restart, is waited for: whoever watches wants to see it come back.
"""

import sys
from collections.abc import Callable
from typing import Annotated, Final

from cyclopts import Parameter
from msgspec import Struct

from syncd.edges.cli.client import RequestRefused
from syncd.edges.cli.render import pretty_json
from syncd.edges.cli.session import Flag, Session
from syncd.edges.cli.transport import Unreachable

EVERY_S: Final = 2.0
_CLEAR: Final = "\x1b[H\x1b[J"  # to a terminal only
_PASSING: Final = frozenset({429, 503})

Watches = Annotated[Flag, Parameter(name="--watch", help="Again every 2 s, until Ctrl-C; with json one object a line.")]


class Shown(Struct, frozen=True):
    """One look: the JSON of it, the text for people, made when it is wanted, and the exit code that it stands for."""

    body: bytes
    text: Callable[[float], str]
    code: int = 0


def show(session: Session, look: Callable[[], Shown], *, watches: bool) -> int:
    """Print one look, or go on looking. ``look`` raises what the daemon said, or that there is none."""
    shown = look()
    if not watches:
        session.show(shown.body, lambda: shown.text(session.now_s))
        return shown.code
    elapsed_s = 0.0
    while True:
        if session.is_json:
            print(pretty_json(shown.body, indent=-1), flush=True)
        else:
            print(f"{_CLEAR if sys.stdout.isatty() else ''}{shown.text(session.now_s + elapsed_s)}\n", flush=True)
        elapsed_s += _pause(session)
        while (following := _again(session, look)) is None:
            elapsed_s += _pause(session)
        shown = following


def _pause(session: Session) -> float:
    session.world.sleep_s(EVERY_S)
    return EVERY_S


def _again(session: Session, look: Callable[[], Shown]) -> Shown | None:
    try:
        return look()
    except Unreachable as error:
        session.remark(f"{error}; trying again")
    except RequestRefused as error:
        if error.status not in _PASSING:
            raise
        session.remark(f"{error}; trying again")
    return None
