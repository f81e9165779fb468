"""Remembers whom ServiceNow knows by which name, so that an assignee costs a request once an hour and not each time.

Who was found is believed for an hour, who was not for a minute: somebody may just have added the person. The groups of
whoever was refused are believed for ten minutes. Bounded, and gone with the process.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Generic, TypeVar

import trio

from syncd.actors.breaker import Breaker
from syncd.actors.ports import External
from syncd.core.groups import Group
from syncd.core.people import Person, canonical_person

FOUND_KNOWN_S: Final = 3600.0
MISSED_KNOWN_S: Final = 60.0
PEOPLE_KNOWN_MAX: Final = 1000
GROUPS_KNOWN_S: Final = 600.0
GROUPS_KNOWN_MAX: Final = 1000

T = TypeVar("T")


class Known(Generic[T]):
    """What was asked lately, by key: so many answers at most, each as long as ``known_s`` says."""

    def __init__(self, most: int, known_s: Callable[[T], float]) -> None:
        self._most = most
        self._known_s = known_s
        self._answers: OrderedDict[str, tuple[float, T]] = OrderedDict()

    async def get(self, key: str, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer for this key, asked for when it is not known, or not any more."""
        held = self._answers.get(key)
        if held is not None and trio.current_time() < held[0]:
            return held[1]
        answer = await ask()
        self._answers[key] = (trio.current_time() + self._known_s(answer), answer)
        self._answers.move_to_end(key)
        if len(self._answers) > self._most:
            self._answers.popitem(last=False)
        return answer


class People:
    """The people of one integration's instance."""

    def __init__(self, external: External, breaker: Breaker) -> None:
        self._external = external
        self._breaker = breaker
        self._people = Known[Person](PEOPLE_KNOWN_MAX, lambda one: FOUND_KNOWN_S if one.sys_id else MISSED_KNOWN_S)
        self._groups = Known[Sequence[Group] | None](GROUPS_KNOWN_MAX, lambda _: GROUPS_KNOWN_S)

    async def find(self, text: str) -> Person:
        """Whom this text names; ``ExternalFailed`` when the instance cannot be asked now. Call it in a turn."""
        ask = partial(self._breaker.made, partial(self._external.find_person, text))
        return await self._people.get(canonical_person(text), ask)

    async def groups_of(self, sys_id: str) -> Sequence[Group] | None:
        """The groups that a person is in; None when that cannot be known. Raises and is called as ``find``."""
        ask = partial(self._breaker.made, partial(self._external.groups_of, sys_id))
        return await self._groups.get(sys_id, ask)
