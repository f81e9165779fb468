"""Counts of the doors since the start of the daemon: webhooks by integration, answers by route."""

from collections import Counter, defaultdict


class WebhookCount:
    """Of one integration. ``last_at_s``: Unix seconds of the last authentic one.

    ``stranger``: the last other instance that signed with its secret, at ``stranger_at_s``.
    """

    def __init__(self) -> None:
        self.last_at_s: float | None = None
        self.accepted = 0
        self.rejected = 0
        self.duplicates = 0
        self.stranger = ""
        self.stranger_at_s = 0.0


class WebhookCounts:
    """Of all of them; only integrations that exist are ever counted, so it cannot grow without bound."""

    def __init__(self) -> None:
        self._of: defaultdict[str, WebhookCount] = defaultdict(WebhookCount)

    def of(self, integration_id: str) -> WebhookCount:
        """The counts of one integration, to be read or raised."""
        return self._of[integration_id]


class AnswerCounts:
    """Answers by route and class of status. A route is one of ours, or ``none``, so their number is bounded."""

    def __init__(self) -> None:
        self.of: Counter[tuple[str, str]] = Counter()

    def add(self, route: str, status: int) -> None:
        """One more answer; ``route`` empty: of no route of ours."""
        self.of[route or "none", f"{status // 100}xx"] += 1
