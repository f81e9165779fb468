"""Parking: a link whose record crashes us is set aside with the reason, so that it holds up nobody else.

A parked link is neither merged nor written. It is tried again as soon as anything about it is new: the incident is
edited, its record shows something new, a person decides something about it, or a sweep has ended. A link whose record
is closed in ServiceNow is parked as well (``closing.py``); that is no failure, and a sweep does not end it. So is one
whose record was not shown in two looks: it is gone or hidden, which look the same, and the next look that shows it
ends that.
"""

from collections.abc import Iterable
from typing import Final

from syncd.core.brake import limit
from syncd.core.events import Change, LinkParked, LinkReleased
from syncd.core.model import Integration, Link
from syncd.core.state import State

PARKED_MAX: Final = 10
PARKED_SHARE_MAX: Final = 0.2


def park(state: State, name: str, doing: str, crash: str) -> Change[bool]:
    """Set a link aside. ``doing``: what crashed. False when so many are parked that it cannot be the records."""
    link = state.links.get(name)
    if link is None or link.state == "parked":
        return Change("", (), result=True)
    under = [has_failed(one) for one in state.links_under(link.integration_id)]
    if under.count(True) >= max(PARKED_MAX, PARKED_SHARE_MAX * len(under)):
        return Change("", (), result=False)
    settings = state.integrations[link.integration_id].settings
    reason = (
        f"{doing} it failed twice: {crash}; it is tried again when the incident or its record changes, when the daemon "
        f"starts, and by: im integration reconcile {settings.handle} --auto-heal"
    )
    return Change(settings.organization_id, (LinkParked(name, reason),), result=True)


def has_failed(link: Link) -> bool:
    """It is parked since we failed on it."""
    return link.state == "parked" and not (link.closed_there or link.gone_there)


def gone(
    state: State,
    integration: Integration,
    external_ids: Iterable[str],
    asked: int,
    *,
    forced: bool = False,
    before: int = 0,
) -> list[LinkParked]:
    """Park the links of records that were not shown in two looks, the last of which was asked for at ``asked``.

    None if so many are missing at once that it cannot be the records, unless a person has ``forced`` it. ``before``: so
    many are taken as missed together with these. A record that somebody was shown since then is not gone.
    """
    names = [state.link_of_record.get((integration.id, one), "") for one in sorted(external_ids)]
    links = [state.links[name] for name in names if name]
    found = [one.id for one in links if not one.gone_there and one.observed_at <= asked]
    if not found or (before + len(found) > limit(sum(1 for _ in state.links_under(integration.id))) and not forced):
        return []
    reason = (
        "ServiceNow does not show the record: deleted there, or hidden from our account. It is looked for every five "
        f"minutes; if it is gone for good: im integration unlink {integration.settings.handle} "
    )
    return [LinkParked(name, reason + state.links[name].incident_id, gone_there=True) for name in found]


def gone_one_by_one(
    state: State, integration: Integration, external_ids: Iterable[str], asked: int
) -> list[LinkParked]:
    """The same for those whom webhooks and writes find missing one after the other: all that are parked count."""
    before = sum(one.gone_there for one in state.links_under(integration.id))
    return gone(state, integration, external_ids, asked, before=before)


def release(state: State, integration_id: str) -> Change[None]:
    """Try every link of an integration again that was parked after a failure."""
    integration = state.integrations.get(integration_id)
    links = state.links_under(integration_id)
    parked = [one.id for one in links if has_failed(one)]
    if integration is None or not parked:
        return Change("", (), result=None)
    return Change(integration.settings.organization_id, tuple(map(LinkReleased, parked)), result=None)
