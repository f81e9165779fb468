"""The queue of an integration: what waits to be written, for how long, and when it will be gone."""

from msgspec import Struct

from syncd.core.duration import duration_s
from syncd.core.forecast import Pace, forecast, not_before
from syncd.core.health import Counts
from syncd.core.model import Integration
from syncd.core.sending import over_at_s
from syncd.core.state import State
from syncd.core.tally import Tally


class Queue(Struct, frozen=True):
    """What waits. `outbox`: changes to be written; `inflight`: of these under way; `retrying`: tried before, in vain.

    `looked_up`: creates and notes of `outbox` that got no clear answer, and are looked for before they are sent again;
    `oldest_looked_up`: the oldest is one of these. `stalled`: changes beside these that do not go by waiting:
    their link is parked, their record is not shown, or the direction is inbound. `oldest_age_s`: of `outbox`.
    `clears_in_s`: when all of it is written, if nothing new comes; null when nothing waits, or nothing is written now.
    `paced_by`: what sets the pace: our `rate_limit`, the instance's `answers` (how long they take, over
    `max_concurrency`), its `hourly-rule`, the `instance` as it does not answer, the `next-try` of what failed, or
    `look-ups`; null while the integration is paused. `hints`: records that we were told
    of and have not read yet; `undecided`: links with something new that has not been compared yet.
    """

    outbox: int
    inflight: int
    retrying: int
    oldest_age_s: float | None
    clears_in_s: float | None
    paced_by: Pace | None
    hints: int
    undecided: int
    stalled: int
    looked_up: int
    oldest_looked_up: bool


def queue_of(state: State, integration: Integration, counts: Counts, tally: Tally, at_s: float) -> Queue:
    """What waits under an integration now, and when it will be gone."""
    settings = integration.settings
    is_inbound = settings.sync_direction == "inbound"  # what waited when it became so goes when that ends
    waiting = 0 if is_inbound else tally.waiting
    ahead = None
    if waiting and settings.writes and integration.credentials and not counts.halted:
        ahead = forecast(
            waiting,
            answers=counts.breaker == "closed",
            rate=settings.rate_limit,
            concurrency=settings.max_concurrency,
            answer_s=counts.latency.lately(at_s).quantile(0.5),
            hourly_limit=counts.hourly_limit,
            left=counts.remaining_budget,
            resets_in_s=counts.budget_resets_in_s,
        )
        ahead = not_before(
            ahead, next_try_in_s=tally.next_try_at_s - at_s, looked_up_in_s=_looked_up_in_s(integration, tally, at_s)
        )
    since_s = None if is_inbound else tally.oldest_since_s
    clears_in_s = None if ahead is None else ahead.clears_in_s
    return Queue(
        outbox=waiting,
        inflight=tally.inflight,
        retrying=0 if is_inbound else tally.retrying,
        oldest_age_s=None if since_s is None else round(max(0.0, at_s - since_s), 1),
        clears_in_s=None if clears_in_s is None else round(clears_in_s, 1),
        paced_by=None if ahead is None else ahead.paced_by,
        hints=len(state.hints.get(integration.id, ())),
        undecided=len(state.dirty.get(integration.id, ())),
        stalled=tally.stalled + tally.waiting - waiting,
        looked_up=0 if is_inbound else len(tally.looked_for),
        oldest_looked_up=tally.is_oldest_looked_for and not is_inbound,
    )


def _looked_up_in_s(integration: Integration, tally: Tally, at_s: float) -> float:
    """In how many seconds the last create or note without a clear answer has been looked for long enough."""
    quota_s = duration_s(integration.settings.transaction_quota)
    over = (over_at_s(one.started_at_s, one.ended_at_s, quota_s) for one in tally.looked_for)
    return max(over, default=at_s) - at_s
