"""Polling: how often an instance that cannot reach us may be asked, up to where it has been, and what notes tell.

What a poll shows ends in ``hints.settle_read``, like every read (docs/sync.md, "Polling"). Looks at State only.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from syncd.core.duration import duration_s
from syncd.core.events import Change, Event, Polled
from syncd.core.looks import look_again
from syncd.core.model import Integration, SeenNote, Settings
from syncd.core.state import State
from syncd.core.views import Time, optional_time

SHARE: Final = 0.5  # of the requests that a limit allows; the rest is for what polls find, and for writes
TOLD_EVERY_S: Final = 300.0


class Pace(Struct, frozen=True):
    """How often we poll: ``asked_s`` is the setting, ``used_s`` what becomes of it. ``reason``: why they differ."""

    asked_s: float
    used_s: float
    reason: str = ""


class Polling(Pace, frozen=True, kw_only=True):
    """How the polls of an integration do. ``last_at_s``: when the last one ended well. ``trouble``: why none does.

    ``since_s``: since when it is polled with these settings.
    """

    since_s: float = 0.0
    last_at_s: float | None = None
    trouble: str = ""


class Polls(Struct, frozen=True):
    """How often changes are looked for: as asked, and in fact, both in seconds; `reason`: why they differ.

    `seen_upto`: all changes up to here have been seen, by ServiceNow's clock.
    """

    asked_interval_s: float
    used_interval_s: float
    reason: str
    last_poll: Time | None
    seen_upto: Time | None


def pace(settings: Settings, hourly_limit: int | None) -> Pace | None:
    """How often to poll, a quiet poll being one request; None: not at all.

    ``hourly_limit``: requests that a rule of the instance allows, as far as its answers have told.
    """
    if settings.poll_interval == "off":
        return None
    asked_s = duration_s(settings.poll_interval)
    floors = [(1 / (settings.rate_limit * SHARE), f"rate_limit allows {settings.rate_limit:g} requests a second")]
    if hourly_limit is not None:
        floors.append((3600 / max(1.0, hourly_limit * SHARE), f"ServiceNow allows {hourly_limit} requests an hour"))
    least_s, why = max(floors)
    if asked_s >= least_s:
        return Pace(asked_s, asked_s)
    return Pace(asked_s, float(math.ceil(least_s)), f"{why}, of which polls take half at most")


def polled(state: State, integration_id: str, upto_s: float) -> Change[None]:
    """Polls have come to ``upto_s`` (instance clock); on record now and then, since to look twice does no harm."""
    integration = state.integrations.get(integration_id)
    if integration is None:
        return Change("", (), result=None)
    known_s = integration.polled_upto_s
    if known_s is not None and upto_s < known_s + TOLD_EVERY_S:
        return Change("", (), result=None)
    return Change(integration.settings.organization_id, (Polled(integration_id, upto_s),), result=None)


def look_at(state: State, at_s: float, integration_id: str, external_id: str) -> Change[None]:
    """A hint of our own, unless one waits: the record is to be read by itself."""
    integration = state.integrations.get(integration_id)
    if integration is None or external_id in state.hints.get(integration_id, {}):
        return Change("", (), result=None)
    hinted = look_again(state, integration_id, external_id, at_s)
    return Change(integration.settings.organization_id, (hinted,), result=None)


def told_by_notes(state: State, at_s: float, integration_id: str, notes: Sequence[SeenNote]) -> Change[int]:
    """Hints for the linked records that have notes among these which we do not know; the result counts them.

    On some instances a note moves neither stamp nor count of its record, so that nothing else tells of it.
    """
    integration = state.integrations.get(integration_id)
    if integration is None:
        return Change("", (), result=0)
    told: dict[str, Event] = {}
    for note in notes:
        link = state.links.get(state.link_of_record.get((integration_id, note.external_id), ""))
        if link is None or (note.author and note.author == integration.account) or note.external_id in told:
            continue
        present = state.notes.get(link.incident_id, ())
        if not any(one.external_id == note.id and one.origin == integration_id for one in present):
            hinted = look_again(state, integration_id, note.external_id, at_s)
            hint = None if hinted.hint is None else replace(hinted.hint, has_note=True)
            told[note.external_id] = replace(hinted, hint=hint)
    return Change(integration.settings.organization_id, tuple(told.values()), result=len(told))


def shown(integration: Integration, polling: Polling | None) -> Polls | None:
    """What ``sync-status`` shows of the polls; None when there are none."""
    if polling is None:
        return None
    return Polls(
        asked_interval_s=polling.asked_s,
        used_interval_s=polling.used_s,
        reason=polling.reason,
        last_poll=optional_time(polling.last_at_s),
        seen_upto=optional_time(integration.polled_upto_s),
    )


def troubles(polling: Polling | None, trouble: str, handle: str) -> Iterator[str]:
    """Why polls find nothing, if so. ``trouble``: what the last request met, which is told already."""
    if polling is not None and polling.trouble and polling.trouble not in trouble:
        yield f"polls do not get through: {polling.trouble}; find out why: im integration test {handle}"


def remarks(polling: Polling | None) -> Iterator[str]:
    """What is worth knowing about them and no trouble."""
    if polling is not None and polling.reason:
        yield (
            f"polled every {polling.used_s:g} s instead of every {polling.asked_s:g} s: {polling.reason}; changes made "
            'in ServiceNow come that much later; see docs/sync.md, "Polling"'
        )
