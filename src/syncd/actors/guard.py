"""Lets nothing through to an instance that is not the one this integration is pinned to.

After a clone, a rename or a wrong turn of a proxy, another instance may stand at the address, with records of the same
ids: a write there is a write into the wrong system. So the first request of every start, and after every doubt, asks
who is there. An account that may not see the name is let through, and only webhooks can tell then.
"""

from syncd.actors.ports import External, Journal
from syncd.core import registry
from syncd.core.model import PinnedInstance
from syncd.errors import ExternalFailed


class Guard:
    """One integration's. ``admit`` is what its breaker asks first."""

    def __init__(self, integration_id: str, by: str, journal: Journal, external: External) -> None:
        self._integration_id = integration_id
        self._by = by
        self._journal = journal
        self._external = external

    async def admit(self) -> None:
        """Pin the instance at first contact; ``ExternalFailed`` (``paused``) when it is another one later."""
        name = await self._external.instance_name()
        if not name:
            return
        one = self._journal.state.integrations.get(self._integration_id)
        pinned = one.instance if one is not None else None
        if pinned is None or not pinned.by_api:
            wanted = PinnedInstance(name, by_api=True)
            await self._journal.transact(registry.pin(self._integration_id, wanted), by=self._by, trace="")
        elif pinned.name != name:
            raise ExternalFailed(
                "paused",
                f"the instance at this address says it is {name!r}, and this integration belongs to {pinned.name!r}",
                hint="nothing is read or written there; if it is the right one under another name, confirm it: "
                "im integration configure … --base-url …",
            )
