"""What will happen in a world: who does what when, what goes wrong meanwhile, and when the power is cut.

Drawn from a seed, all of it, before anything runs; so a plan can be printed as one line of JSON, cut down to what
matters (``soak.py --shrink``) and run again.
"""

from typing import Final

import msgspec
from msgspec import Struct

FIELDS: Final = ("title", "description", "severity", "status")
TEXTS: Final = ("title", "description")
SEVERITIES: Final = ("SEV-1", "SEV-2", "SEV-3", "SEV-4")
BUSY_S: Final = 60.0
HOUR_S: Final = 3600.0
EXCLUSIVE: Final = "exclusive"
DIRECTIONS: Final = ("bidirectional", "inbound", "outbound", "none", "disabled")


class Deed(Struct, frozen=True, omit_defaults=True):
    """What somebody does. ``which`` counts incidents, or records, round.

    ``both``: the record gets ``value``, and then the incident ``second``; ``crossing``: the incident first, and the
    record while that is on its way.
    """

    at_s: float
    what: str
    which: int = 0
    field: str = ""
    value: str = ""
    second: str = ""


class Spell(Struct, frozen=True):
    """A fault for a while, as ``NAME[=VALUE][@PROBABILITY]``."""

    fault: str
    from_s: float
    to_s: float


class Cut(Struct, frozen=True, omit_defaults=True):
    """The power is cut. ``phase``: ``time`` (at ``at_s``), or, at the n-th time since ``at_s``,

    ``written``: a record with this ``event`` is written and not yet synced; ``synced``: it is on disk, and nobody
    knows; ``left``: a request that writes has left and not arrived; ``committed``: ServiceNow has done it, and nobody
    knows; ``opening``: at ``at_s``, and again at the next life's n-th use of the disk, while it opens its journal;
    ``snapshot``: a file of a snapshot is used.
    """

    at_s: float
    phase: str
    event: str = ""
    nth: int = 1


class Plan(Struct, frozen=True):
    """One world. ``beside``: where a second integration's records are: on the ``same instance``, or its ``own`` one."""

    kind: str
    seed: int
    settings: dict[str, object]
    switches: dict[str, str]
    deeds: tuple[Deed, ...]
    spells: tuple[Spell, ...] = ()
    cuts: tuple[Cut, ...] = ()
    lasts_s: float = BUSY_S
    beside: str = ""

    @property
    def line(self) -> str:
        """All of it, on one line."""
        return msgspec.json.encode(self).decode()


def when(deed: Deed) -> float:
    """Its time, to sort by."""
    return deed.at_s
