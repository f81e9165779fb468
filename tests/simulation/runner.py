"""One seed, one world: Trio under a seeded scheduler and a virtual clock, with every real source of the outside sealed.

The only module that touches Trio's private scheduling switches (``_ALLOW_DETERMINISTIC_SCHEDULING`` and ``_r``); it
checks that they exist, and ``test_determinism.py`` proves their effect on every run.
"""

import hashlib
import logging
import os
import random
import socket
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import NoReturn

import trio
import trio.testing
from msgspec import Struct

_CORE = trio._core._run

World = Callable[[random.Random], Callable[[], Awaitable[None]]]


class Trace(trio.abc.Instrument):
    """A digest over every task step, with its virtual time. Tasks are numbered by their first run."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._numbers: dict[object, int] = {}
        self.steps = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count one step."""
        number = self._numbers.setdefault(task, len(self._numbers))
        self._digest.update(b"%d@%.9f;" % (number, trio.current_time()))
        self.steps += 1

    def hexdigest(self) -> str:
        """The digest so far."""
        return self._digest.hexdigest()


class Run(Struct, frozen=True):
    """How a world went, as far as another process must agree."""

    digest: str
    steps: int


def _forbidden(*_: object, **__: object) -> NoReturn:
    raise AssertionError("a real clock, thread, socket or source of entropy was used inside the simulation")


@contextmanager
def sealed(scheduler: random.Random) -> Iterator[None]:
    """Make Trio's scheduling a function of ``scheduler`` and refuse the real outside."""
    patches: list[tuple[object, str, object]] = [
        (_CORE, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
        (_CORE, "_r", scheduler),
        (trio.to_thread, "run_sync", _forbidden),
        (socket.socket, "connect", _forbidden),
        (time, "time", _forbidden),
        (os, "urandom", _forbidden),
        (uuid, "uuid4", _forbidden),
        (logging, "time", SimpleNamespace(**{**vars(time), "time": lambda: 0.0})),  # a log record stamps itself
    ]
    for owner, name, _ in patches:
        if not hasattr(owner, name):
            raise RuntimeError(f"{owner} has no {name} any more: the sealed runner must be looked at")
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in patches]
    for owner, name, value in patches:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def simulate(world: World, seed: int) -> Run:
    """Run one world to its end; the same seed gives the same ``Run`` in every process."""
    trace = Trace()
    rng = random.Random(f"world {seed}")
    with sealed(random.Random(f"schedule {seed}")):
        trio.run(world(rng), clock=trio.testing.MockClock(autojump_threshold=0), instruments=[trace])
    return Run(trace.hexdigest(), trace.steps)
