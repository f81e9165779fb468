"""Webhook coverage: how many of the changes in ServiceNow were announced by a webhook, and how many were only found.

A change is a count of a record (``sys_mod_count``) that a poll or a run reads first, or that a webhook names. One that
is found counts as unannounced only if, a fair while later, no webhook has named that record with that count or a newer
one, or without any count within that while. Our own writes count neither way, nor what happened before the daemon
listened. Kept in memory since the start of the daemon, and never older than an hour (docs/sync.md, "Webhook coverage").
"""

from collections import deque
from collections.abc import Callable, Iterator
from math import inf
from typing import Final

import msgspec
from msgspec import Struct

from syncd.core.events import Hinted
from syncd.core.hints import Read
from syncd.core.model import Integration
from syncd.core.polling import Polling
from syncd.core.state import State
from syncd.core.views import Time, rfc3339

FAIR_S: Final = 60.0  # an async rule waits its turn, and a webhook may come after the poll that found its change
WINDOW_S: Final = 3600.0
KEPT_MAX: Final = 20_000  # of each kind
WORTH_TELLING: Final = 3
SHARE_MIN: Final = 0.9
DIGITS_MAX: Final = 15


class Coverage(Struct, frozen=True):
    """Of the last hour, or since ``since_s`` if that is later. ``announced`` and ``unannounced`` changes.

    ``last_at_s``: when the last of the announced was.
    """

    announced: int = 0
    unannounced: int = 0
    since_s: float = 0.0
    last_at_s: float = 0.0

    @property
    def share(self) -> float | None:
        """The share that was announced; None when nothing has happened."""
        total = self.announced + self.unannounced
        return self.announced / total if total else None


class _Body(Struct):
    """What a webhook's body tells of the change."""

    sys_mod_count: int | str | None = None
    updated_by: str | None = None


class Announcements:
    """What was told and what was found of one integration. Times are Unix seconds, as they go by."""

    def __init__(self, since_s: float) -> None:
        self._since_s = since_s
        self._told_newest: dict[str, tuple[int, float]] = {}
        self._told: deque[tuple[float, str]] = deque(maxlen=KEPT_MAX)
        self._found_newest: dict[str, int] = {}
        self._waiting: deque[tuple[float, str, int]] = deque(maxlen=KEPT_MAX)
        self._missed: deque[float] = deque(maxlen=KEPT_MAX)

    @property
    def since_s(self) -> float:
        """Since when it listens."""
        return self._since_s

    def hear(self, at_s: float, event: Hinted, account: str) -> None:
        """Take note of an event, if it is a webhook about a change that ``account``, which is ours, did not make."""
        if not event.body:
            return  # a hint of our own
        try:
            body = msgspec.json.decode(event.body, type=_Body)
        except msgspec.DecodeError:
            body = _Body()
        if not account or body.updated_by != account:
            text = str(body.sys_mod_count)
            is_count = text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX
            self.told(at_s, event.external_id, int(text) if is_count else None)

    def told(self, at_s: float, external_id: str, count: int | None) -> None:
        """A webhook named a change. ``count`` None: it did not say which."""
        newest, bare_at_s = self._told_newest.pop(external_id, (-1, -inf))
        if count is None:
            self._told.append((at_s, external_id))
            self._told_newest[external_id] = newest, at_s
        else:
            if count > newest:
                self._told.append((at_s, external_id))
            self._told_newest[external_id] = max(count, newest), bare_at_s
        while len(self._told_newest) > KEPT_MAX:
            del self._told_newest[next(iter(self._told_newest))]

    def found(self, at_s: float, external_id: str, count: int) -> None:
        """A poll or a run read a change that nobody had read before."""
        if count > self._found_newest.get(external_id, -1):
            self._found_newest.pop(external_id, None)
            self._found_newest[external_id] = count
            self._waiting.append((at_s, external_id, count))
        while len(self._found_newest) > KEPT_MAX:
            del self._found_newest[next(iter(self._found_newest))]

    def coverage(self, at_s: float, is_linked: Callable[[str], bool]) -> Coverage:
        """The figures as of now. ``is_linked``: whether a record is of any concern."""
        while self._waiting and self._waiting[0][0] <= at_s - FAIR_S:
            found_at_s, external_id, count = self._waiting.popleft()
            newest, bare_at_s = self._told_newest.get(external_id, (-1, -inf))
            if (
                newest < count
                and not found_at_s - FAIR_S <= bare_at_s <= found_at_s + FAIR_S
                and is_linked(external_id)
            ):
                self._missed.append(found_at_s)
        while self._told and self._told[0][0] < at_s - WINDOW_S:
            self._told.popleft()
        while self._missed and self._missed[0] < at_s - WINDOW_S:
            self._missed.popleft()
        told = [told_at_s for told_at_s, external_id in self._told if is_linked(external_id)]
        last_at_s = told[-1] if told else 0.0
        return Coverage(len(told), len(self._missed), max(self._since_s, at_s - WINDOW_S), last_at_s)


def unread(state: State, read: Read, integration: Integration, since_s: float) -> Iterator[tuple[str, int]]:
    """The changes that a look shows and nobody had read, nor told of before. ``since_s``: earlier ones do not count."""
    hints = state.hints.get(integration.id, {})
    for seen in read.rows:
        hint = hints.get(seen.external_id)
        link = state.links.get(state.link_of_record.get((integration.id, seen.external_id), ""))
        is_ours = seen.updated_by != "" and seen.updated_by == integration.account
        if seen.mod_count is None or is_ours or (seen.updated_at_s or 0.0) - read.offset.s < since_s:
            continue
        if hint is not None and (hint.mod_count is None or hint.mod_count >= seen.mod_count):
            continue
        if link is None or (link.known_count is not None and seen.mod_count > link.known_count):
            yield seen.external_id, seen.mod_count


class CoverageView(Struct, frozen=True):
    """Changes in ServiceNow of the last hour, or since the daemon began to listen, if that is later.

    `announced` by a webhook; `unannounced`: found by a poll or a run, and by no webhook within a minute. `share` of the
    announced, null when nothing happened. Our own writes do not count.
    """

    share: float | None
    announced: int
    unannounced: int
    since: Time


def view(coverage: Coverage) -> CoverageView | None:
    """What ``sync-status`` shows of it; None when nobody listens."""
    if not coverage.since_s:
        return None
    share = None if coverage.share is None else round(coverage.share, 4)
    return CoverageView(share, coverage.announced, coverage.unannounced, rfc3339(coverage.since_s))


def troubles(coverage: Coverage, handle: str, polls: Polling | None) -> Iterator[str]:
    """Why the webhooks are worth a look, if they are.

    Where changes are polled for, none need come: it is no trouble until one has come since then.
    """
    share = coverage.share
    if share is None or share >= SHARE_MIN or coverage.unannounced < WORTH_TELLING:
        return
    if polls is None or coverage.last_at_s > polls.since_s:
        total = coverage.announced + coverage.unannounced
        yield (
            f"webhooks announced {share:.0%} of {total} changes in the last hour, and the others were only found by "
            f"looking: whether ServiceNow reaches us, its rule is active and its signature right: "
            f'im integration test {handle}; see docs/operations.md, "Changes from ServiceNow do not arrive"'
        )
