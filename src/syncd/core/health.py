"""What is known of an integration beside State: what its actors know, and what the webhook door counts."""

from collections.abc import Mapping

from msgspec import Struct

from syncd.core.coverage import Coverage
from syncd.core.lag import Lag
from syncd.core.polling import Polling
from syncd.core.troubles import Trouble


class Health(Struct, frozen=True, kw_only=True):
    """How an integration's connection does, as its actors know it since the start of the daemon.

    ``halted``: why nothing is tried at all (refused credentials, an actor that gave up); empty when it runs.
    ``way_out``: what ends that; empty when it follows from the reason. ``trouble``: what the last request met, empty
    when it went well. ``breaker``: closed, open or paused.
    ``last_reconcile_at_s``: when all links were last read. ``braked``: what of the look at the start was held.
    ``blind``: why it was not acted upon at all.
    ``query_faults``: queries that the instance does not keep to.
    ``outcomes``: requests by how they ended. ``latency``: how long answers took. ``hourly_limit``: requests that an
    hourly rule, if there is one, allows, and ``budget_resets_in_s``: when it gives new ones.
    ``troubles``: what was met lately, the newest first.
    ``restarts``: how often each actor was started again. ``polling``: None where nothing is polled.
    ``coverage``: how many changes webhooks announced.
    """

    halted: str = ""
    way_out: str = ""
    trouble: str = ""
    breaker: str = "closed"
    requests: int = 0
    throttled: int = 0
    errors: int = 0
    remaining_budget: int | None = None
    hourly_limit: int | None = None
    last_reconcile_at_s: float | None = None
    braked: str = ""
    blind: str = ""
    query_faults: tuple[str, ...] = ()
    outcomes: Mapping[str, int] = {}
    latency: Lag = Lag()
    budget_resets_in_s: float = 0.0
    troubles: tuple[Trouble, ...] = ()
    restarts: Mapping[str, int] = {}
    polling: Polling | None = None
    coverage: Coverage = Coverage()


class Counts(Health, frozen=True, kw_only=True):
    """The connection's health and the webhook door's counts: what is known of an integration beside State.

    ``stranger``: another instance that sends webhooks with this one's secret, lately.
    """

    last_webhook_at_s: float | None = None
    accepted: int = 0
    rejected: int = 0
    duplicates: int = 0
    stranger: str = ""
