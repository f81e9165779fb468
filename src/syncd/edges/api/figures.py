"""How everything does at this moment, for status and metrics alike: a view of State and of what is counted beside it.

Links are counted a piece at a time, with others having their turn in between, so that a scrape holds up nobody.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Final

import msgspec
import trio

from syncd import __version__
from syncd.core import daemon_status, status
from syncd.core.daemon_status import DaemonView, JournalView
from syncd.core.health import Counts
from syncd.core.lens import lens_of
from syncd.core.model import Integration
from syncd.core.status import StatusView
from syncd.core.tally import Tally
from syncd.core.views import optional_time, rfc3339
from syncd.edges.api.desk import Desk

LINKS_A_STEP: Final = 1000
STRANGER_TOLD_S: Final = 3600.0


class Figures(msgspec.Struct, frozen=True):
    """One integration: what is shown of it, and what that was made of."""

    status: StatusView
    counts: Counts


async def figures_of(desk: Desk, integrations: Iterable[Integration]) -> list[Figures]:
    """Of some integrations, in their order, without those that were deleted meanwhile."""
    wanted = list(integrations)
    tallies = await _tallies(desk, wanted)
    now_s, found = desk.clock.now_s(), []
    for one in wanted:
        present = desk.state.integrations.get(one.id)
        if present is not None:
            counts = _counts(desk, one.id)
            found.append(Figures(status.status(desk.state, present, counts, now_s, tallies[one.id]), counts))
    return found


async def daemon_view(desk: Desk, found: list[Figures]) -> DaemonView:
    """The daemon as a whole, with all of its integrations."""
    journal, now_s = desk.journal, desk.clock.now_s()
    segments, size_bytes = await journal.footprint()
    kept = desk.keeping()
    view = JournalView(
        position=journal.state.position,
        durable_position=journal.durable_position,
        oldest_position=journal.first_position,
        segments=segments,
        bytes=size_bytes,
        disk="full" if journal.full else "silent" if journal.silent else "ok",
        commit=status.spread(journal.commits.lately(now_s)),
        replay_s=round(journal.replay_s, 3),
        snapshot_at=optional_time(kept.snapshot_at_s or None),
        snapshot_failure=kept.failure or None,
        scrubbed_at=optional_time(kept.scrubbed_at_s or None),
        damage=list(kept.damage),
    )
    statuses = [one.status for one in found]
    reasons = daemon_status.reasons(statuses, view)
    return DaemonView(
        version=__version__,
        started_at=rfc3339(journal.opened_at_s),
        uptime_s=round(max(0.0, now_s - journal.opened_at_s), 1),
        last_end=desk.last_end,
        state="degraded" if reasons else "healthy",
        reasons=reasons,
        incidents=len(desk.state.incidents),
        journal=view,
        integrations=[daemon_status.line(one) for one in statuses],
        restarts=sum(sum(one.counts.restarts.values()) for one in found),
    )


async def _tallies(desk: Desk, wanted: list[Integration]) -> dict[str, Tally]:
    tallies = {one.id: Tally(lens_of(one.settings)) for one in wanted}
    links = iter(list(desk.state.links.values()))
    while step := list(islice(links, LINKS_A_STEP)):
        for link in step:
            if (tally := tallies.get(link.integration_id)) is not None:
                tally.add(link)
        await trio.lowlevel.checkpoint()
    return tallies


def _counts(desk: Desk, integration_id: str) -> Counts:
    health, webhooks = desk.integrations.health(integration_id), desk.webhook_counts.of(integration_id)
    return Counts(
        **msgspec.structs.asdict(health),
        last_webhook_at_s=webhooks.last_at_s,
        accepted=webhooks.accepted,
        rejected=webhooks.rejected,
        duplicates=webhooks.duplicates,
        stranger=webhooks.stranger if desk.clock.now_s() - webhooks.stranger_at_s <= STRANGER_TOLD_S else "",
    )
