"""Integrations that share an instance: whose a record without a link may be.

One of them must not make an incident of what another made or has; the two would make records of each other's incidents
for ever (docs/sync.md, "Directions"). Looks at State only.
"""

from collections.abc import Iterator

from syncd.core.model import Integration, Observation
from syncd.core.sending import looks_up
from syncd.core.state import State


def _beside(state: State, integration: Integration) -> Iterator[Integration]:
    url = integration.settings.base_url
    return (one for one in state.integrations.values() if one.settings.base_url == url and one.id != integration.id)


def may_be_ours(state: State, integration: Integration, seen: Observation) -> bool:
    """One of our accounts made it, and has a create on that instance whose outcome is not known."""
    return bool(seen.created_by) and any(
        one.account == seen.created_by and any(looks_up(state.links[name]) for name in state.outbox.get(one.id, ()))
        for one in (integration, *_beside(state, integration))
    )


def is_linked_beside(state: State, integration: Integration, seen: Observation) -> bool:
    """Another integration has the record already: one of the same organization, or one that made it itself."""
    return any(
        (other.id, seen.external_id) in state.link_of_record
        and (
            other.settings.organization_id == integration.settings.organization_id
            or (seen.created_by != "" and seen.created_by == other.account)
        )
        for other in _beside(state, integration)
    )
