"""Parking: a link whose record crashes us is set aside with the reason, so that it holds up nobody else.

A parked link is neither merged nor written. It is tried again as soon as anything about it is new: the incident is
edited, its record shows something new, a person decides something about it, or a sweep has ended. A link whose record
is closed in ServiceNow is parked as well (``closing.py``); that is no failure, and a sweep does not end it.
"""

from typing import Final

from syncd.core.events import Change, LinkParked, LinkReleased
from syncd.core.state import State

PARKED_MAX: Final = 10
PARKED_SHARE_MAX: Final = 0.2


def park(state: State, name: str, doing: str, crash: str) -> Change[bool]:
    """Set a link aside. ``doing``: what crashed. False when so many are parked that it cannot be the records."""
    link = state.links.get(name)
    if link is None or link.state == "parked":
        return Change("", (), result=True)
    under = [one.state == "parked" and not one.closed_there for one in state.links_under(link.integration_id)]
    if under.count(True) >= max(PARKED_MAX, PARKED_SHARE_MAX * len(under)):
        return Change("", (), result=False)
    settings = state.integrations[link.integration_id].settings
    reason = (
        f"{doing} it failed twice: {crash}; it is tried again when the incident or its record changes, when the daemon "
        f"starts, and by: im integration reconcile {settings.handle} --auto-heal"
    )
    return Change(settings.organization_id, (LinkParked(name, reason),), result=True)


def release(state: State, integration_id: str) -> Change[None]:
    """Try every link of an integration again that was parked after a failure."""
    integration = state.integrations.get(integration_id)
    links = state.links_under(integration_id)
    parked = [one.id for one in links if one.state == "parked" and not one.closed_there]
    if integration is None or not parked:
        return Change("", (), result=None)
    return Change(integration.settings.organization_id, tuple(map(LinkReleased, parked)), result=None)
