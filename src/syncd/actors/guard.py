"""Lets nothing through to an instance that is not the one this integration is pinned to, or that is ahead of us.

After a clone, a rename or a wrong turn of a proxy, another instance may stand at the address, with records of the same
ids: a write there is a write into the wrong system. So the first request of every start, and after every doubt, asks
who is there. An account that may not see the name is let through, and only webhooks can tell then.

Once a start it also asks for what a later life of this journal may have written there: after an old backup was restored
nothing is read or written before a person has looked (``core/behind.py``).
"""

from syncd.actors.breaker import REFUSED_S_MIN
from syncd.actors.ports import External, Journal
from syncd.core import behind, registry
from syncd.core.model import PinnedInstance
from syncd.errors import ExternalFailed


class Guard:
    """One integration's. ``admit`` is what its breaker asks first."""

    def __init__(self, integration_id: str, by: str, journal: Journal, external: External) -> None:
        self._integration_id = integration_id
        self._by = by
        self._journal = journal
        self._external = external
        self._is_ours_up_to_date = False

    async def admit(self) -> None:
        """Pin the instance at first contact; ``ExternalFailed`` (``paused``) when it is another one later.

        So it is when the journal is older than what the instance shows.
        """
        failure: ExternalFailed | None = None
        try:
            await self._admit_instance()
        except ExternalFailed as error:
            failure = error
        await self._keep_login(failure)
        if failure is not None:
            raise failure
        if not self._is_ours_up_to_date:
            await self._compare_with_ours()
            self._is_ours_up_to_date = True

    async def _keep_login(self, failure: ExternalFailed | None) -> None:
        """A kill must be no reason to try refused credentials again: each try brings a lock of the account nearer."""
        one = self._journal.state.integrations.get(self._integration_id)
        wait_s = failure.retry_after_s or 0.0 if failure is not None and failure.outcome == "paused" else 0.0
        if wait_s > REFUSED_S_MIN:
            decide = registry.login_refused(self._integration_id, wait_s)
            await self._journal.transact(decide, by=self._by, trace="")
        elif failure is None and one is not None and one.refused_until_s is not None:
            await self._journal.transact(registry.login_accepted(one.id), by=self._by, trace="")

    async def _admit_instance(self) -> None:
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

    async def _compare_with_ours(self) -> None:
        journal = self._journal
        one = journal.state.integrations.get(self._integration_id)
        if one is None:
            return
        words = one.behind
        if not words and one.created_at_s <= journal.resumed_at_s and one.confirmed_at <= journal.resumed_position:
            since_s = journal.resumed_at_s + self._external.offset.s - behind.MARGIN_S
            try:
                shown = await self._external.written_since(behind.prefix_of(one.id), one.account, since_s)
            except ExternalFailed as error:
                if error.outcome not in ("refused", "gone"):
                    raise
                return  # our account may not ask that: then nothing can be known
            words = behind.evidence(
                journal.state,
                one,
                shown,
                resumed_at_s=journal.resumed_at_s,
                opened_at_s=journal.opened_at_s,
                offset=self._external.offset,
            )
            if words:
                await journal.transact(
                    lambda state, at_s: behind.found_behind(state, at_s, one.id, words), by=self._by, trace=""
                )
        if words:
            raise ExternalFailed(
                "paused",
                f"the journal is older than what ServiceNow shows: {words}",
                hint="was an old backup restored? nothing is read or written until that is confirmed: see "
                'docs/operations.md, "After a restore", then '
                f"im integration configure {one.settings.handle} --base-url {one.settings.base_url}",
            )
