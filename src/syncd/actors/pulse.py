"""Whether every actor gets on: the service manager's watchdog is fed only while all of them do.

An actor is late when it has neither passed its loop nor ended a request for a while, although it waits for nothing that
may take long. Waiting at a doorbell or a mailbox, for the instance, and for an answer (which has a time limit of its
own, in ``systems``) is rest. Work on one link is watched apart from the loop that started it, since that one goes on.
Owns no task: whoever feeds the watchdog looks.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import trio


class _Pulse:
    """One loop, or one piece of work: when it last got on, and how many of its tasks rest."""

    __slots__ = ("beat_at", "name", "rests")

    def __init__(self, name: str) -> None:
        self.name = name
        self.rests = 0
        self.beat_at = trio.current_time()


class Watch:
    """The pulses of one house."""

    def __init__(self) -> None:
        self._pulses: dict[_Pulse, None] = {}

    def begin(self) -> None:
        """From here on it watches over what this task starts."""
        _watch.set(self)

    def late(self, after_s: float) -> list[str]:
        """Who has not got on for so long, by name."""
        now = trio.current_time()
        return sorted({one.name for one in self._pulses if not one.rests and now - one.beat_at > after_s})

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
def resting() -> Iterator[None]:
    """What is waited for within may take its time; having waited is getting on."""
    pulse = _pulse.get()
    if pulse is None:
        yield
        return
    pulse.rests += 1
    try:
        yield
    finally:
        pulse.rests -= 1
        pulse.beat_at = trio.current_time()
