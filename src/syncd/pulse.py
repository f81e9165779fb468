"""Whether every actor gets on: the service manager's watchdog is fed only while all of them do.

An actor is late when it has neither passed its loop nor ended a request for a while, although it waits for nothing that
may take long. Waiting at a doorbell or a mailbox, for the instance, and for an answer (which has a time limit of its
own, in ``systems``) is rest. Waiting for the disk is rest for ten minutes. Work on one link is watched apart from the
loop that started it, since that one goes on. Owns no task: whoever feeds the watchdog looks.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Final, TypeVar, TypeVarTuple

import trio

from syncd.seams import Work

T = TypeVar("T")
Args = TypeVarTuple("Args")

DISK_S_MAX: Final = 600.0
"""How long the disk may take over one thing. A volume that is moved, or a sector that is read again and again, takes
minutes, and a restart would help neither; after this a person has to look, and a restart shows it.
"""


class _Pulse:
    """One loop, or one piece of work: when it last got on, and until when each of its tasks that rest may do so."""

    __slots__ = ("beat_at", "name", "rests")

    def __init__(self, name: str) -> None:
        self.name = name
        self.rests: list[float] = []
        self.beat_at = trio.current_time()

    def is_late(self, after_s: float) -> bool:
        return trio.current_time() - max([self.beat_at, *self.rests]) > after_s


class Watch:
    """The pulses of one house."""

    def __init__(self) -> None:
        self._pulses: dict[_Pulse, None] = {}

    def begin(self) -> None:
        """From here on it watches over what this task starts."""
        _watch.set(self)

    def late(self, after_s: float) -> list[str]:
        """Who has not got on for so long, by name."""
        return sorted({one.name for one in self._pulses if one.is_late(after_s)})

    @contextmanager
    def over(self, name: str) -> Iterator[None]:
        """Watch over what happens within."""
        pulse = _Pulse(name)
        self._pulses[pulse] = None
        before = _pulse.set(pulse)
        try:
            yield
        finally:
            _pulse.reset(before)
            del self._pulses[pulse]


_watch: ContextVar[Watch | None] = ContextVar("_watch", default=None)
_pulse: ContextVar[_Pulse | None] = ContextVar("_pulse", default=None)


@contextmanager
def watched(name: str) -> Iterator[None]:
    """Have the present house watch over what happens within; who waits for it meanwhile rests."""
    watch = _watch.get()
    if watch is None:
        yield
    else:
        with resting(), watch.over(name):
            yield


@contextmanager
def resting(for_s: float = math.inf) -> Iterator[None]:
    """What is waited for within may take its time, but no longer than ``for_s``; having waited is getting on."""
    pulse = _pulse.get()
    if pulse is None:
        yield
        return
    until = trio.current_time() + for_s
    pulse.rests.append(until)
    try:
        yield
    finally:
        pulse.rests.remove(until)
        pulse.beat_at = trio.current_time()


def unwatched() -> Context:
    """Where to start what is not this task's work, as ``unwatched().run(nursery.start_soon, …)``.

    Otherwise this task would be taken to rest as long as that is watched, or rests.
    """
    context = copy_context()
    context.run(_pulse.set, None)
    return context


class PatientWork:
    """Threads that work on the disk: who waits for one rests, as long as the disk may take."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def run(self, call: Callable[[*Args], T], *args: *Args) -> T:
        """As ``Work.run``."""
        with resting(DISK_S_MAX):
            return await self._work.run(call, *args)
