"""Remembers whom ServiceNow knows by which name, so that an assignee costs a request once an hour and not each time.

Who was found is believed for an hour, who was not for a minute: somebody may just have added the person. Bounded, and
gone with the process.
"""

from collections import OrderedDict
from functools import partial
from typing import Final

import trio

from syncd.actors.breaker import Breaker
from syncd.actors.ports import External
from syncd.core.people import Person, canonical_person

FOUND_KNOWN_S: Final = 3600.0
MISSED_KNOWN_S: Final = 60.0
PEOPLE_KNOWN_MAX: Final = 1000


class People:
    """The people of one integration's instance."""

    def __init__(self, external: External, breaker: Breaker) -> None:
        self._external = external
        self._breaker = breaker
        self._known: OrderedDict[str, tuple[float, Person]] = OrderedDict()

    async def find(self, text: str) -> Person:
        """Whom this text names; ``ExternalFailed`` when the instance cannot be asked now. Call it in a turn."""
        key = canonical_person(text)
        until, known = self._known.get(key, (0.0, None))
        if known is not None and trio.current_time() < until:
            return known
        person = await self._breaker.made(partial(self._external.find_person, text))
        self._known[key] = (trio.current_time() + (FOUND_KNOWN_S if person.sys_id else MISSED_KNOWN_S), person)
        self._known.move_to_end(key)
        if len(self._known) > PEOPLE_KNOWN_MAX:
            self._known.popitem(last=False)
        return person
