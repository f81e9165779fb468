"""What went wrong lately on the way to an instance, each kind of it once, with what to do about it."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

TROUBLES_KEPT: Final = 5

# By the outcome of a request (``errors.ExternalFailed``). ``{INTEGRATION}`` stands for the handle.
REMEDIES: Final[Mapping[str, str]] = {
    "refused": "see what was refused and why: im integration dlq {INTEGRATION}, and what waits since its record is "
    "closed: im integration links {INTEGRATION}",
    "gone": "see which links wait for it: im integration links {INTEGRATION}",
    "throttled": "nothing is lost, it goes on by itself; to ask for less: "
    "im integration configure {INTEGRATION} --rate-limit N",
    "unavailable": "nothing is lost, it is tried again by itself; to find out why: im integration test {INTEGRATION}",
    "ambiguous": "it is looked up before anything is sent again; what waits: im integration links {INTEGRATION}",
    "paused": "see which step fails: im integration test {INTEGRATION}",
}


class Trouble(Struct, frozen=True):
    """``kind``: the outcome of the request. ``at_s``: the last time it was met, ``times`` in all.

    ``way_out``: what ends it; empty when it follows from the kind.
    """

    at_s: float
    kind: str
    message: str
    status: int | None = None
    detail: str = ""
    times: int = 1
    way_out: str = ""


def with_trouble(known: tuple[Trouble, ...], met: Trouble) -> tuple[Trouble, ...]:
    """The last few kinds, the newest first; one that is met again is told once, with how often."""
    same = [one for one in known if (one.kind, one.message) == (met.kind, met.message)]
    others = [one for one in known if one not in same]
    return (replace(met, times=sum((one.times for one in same), met.times)), *others)[:TROUBLES_KEPT]


def remedy(trouble: Trouble, handle: str) -> str:
    """What to do about it."""
    return trouble.way_out or REMEDIES[trouble.kind].replace("{INTEGRATION}", handle)
