"""The webhook door's memory: secrets that were opened already, and refusals that the log was told of.

It owns two promises to a stranger at the door: each signature costs the same, whether the integration exists or not,
and however many are refused, the log grows by a line a minute for each integration and reason. It decides nothing.
"""

import logging
from collections.abc import Callable
from typing import Final

import trio
from msgspec import Struct

from syncd.core import registry
from syncd.core.model import Integration, WebhookSecret
from syncd.core.state import State
from syncd.credentials import Secret
from syncd.errors import CannotUnseal
from syncd.vault import Vault

LINE_EVERY_S: Final = 60.0

log = logging.getLogger("syncd.webhooks")


class _Opened(Struct, frozen=True):
    """An integration's secrets as they were when they were opened; ``secrets`` None where one did not open."""

    sealed: tuple[WebhookSecret, ...]
    secrets: tuple[Secret | None, ...]


class Keyring:
    """Webhook secrets in clear, each opened once; those of an integration are opened anew when they change."""

    def __init__(self, vault: Vault, nobody: Secret) -> None:
        self._vault = vault
        self._nobody = nobody
        self._opened: dict[str, _Opened] = {}

    def tried(self, state: State, integration: Integration | None, at_s: float) -> list[Secret]:
        """What to check a signature against: as many secrets for any integration, and for none, as some one has."""
        known = [] if integration is None else self._valid(state, integration, at_s)
        size = max((len(registry.valid_secrets(one, at_s)) for one in state.integrations.values()), default=1)
        return [*known, *[self._nobody] * (max(size, 1) - len(known))]

    def _valid(self, state: State, integration: Integration, at_s: float) -> list[Secret]:
        opened = self._opened.get(integration.id)
        if opened is None or opened.sealed is not integration.webhook_secrets:  # a change makes another tuple
            opened = self._open(state.journal_id, integration)
            self._opened = {one: kept for one, kept in self._opened.items() if one in state.integrations}
            self._opened[integration.id] = opened
        return [
            secret
            for sealed, secret in zip(opened.sealed, opened.secrets, strict=True)
            if secret is not None and registry.is_valid(sealed, at_s)
        ]

    def _open(self, journal_id: str, integration: Integration) -> _Opened:
        place = registry.slot(journal_id, integration.id, registry.WEBHOOK_SECRET)
        secrets: list[Secret | None] = []
        for one in integration.webhook_secrets:
            try:
                secrets.append(self._vault.open(one.sealed, *place))
            except CannotUnseal as error:
                secrets.append(None)
                told = {"integration": integration.settings.handle, "reason": str(error), "hint": error.hint}
                log.error("a webhook secret does not open", extra=told)  # noqa: TRY400 no traceback
        return _Opened(integration.webhook_secrets, tuple(secrets))


class _Count(Struct):
    """Refusals that no line has told of yet, and when the next line may be written, on Trio's clock."""

    untold: int = 0
    next_line_at: float = 0.0


class Refusals:
    """Tells the log of refused webhooks, seldom. Names no word of the caller's."""

    def __init__(self, now: Callable[[], float] = trio.current_time) -> None:
        self._now = now
        self._counts: dict[tuple[str, str], _Count] = {}

    def add(self, reason: str, integration: Integration | None = None) -> None:
        """Count one, and write the line when it is time for one. ``reason`` is one of a few texts of ours."""
        named = "" if integration is None else integration.id
        count = self._counts.setdefault((reason, named), _Count(0, self._now()))
        count.untold += 1
        if self._now() < count.next_line_at:
            return
        about = {"integration": named} if named else {}
        log.warning("webhooks refused", extra={"times": count.untold, "reason": reason, **about})
        count.untold, count.next_line_at = 0, self._now() + LINE_EVERY_S
