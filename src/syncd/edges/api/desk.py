"""What every route needs: the journal behind a deadline, who calls, and the seams.

It owns the promise of the API: a 2xx on a write means it is on disk, and no answer shows what is not. It never decides;
decisions come from core and ``systems`` and run inside ``transact``.
"""

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
import trio
from msgspec import Struct, field
from quart import Response, g

from syncd.actors.ports import Decide, Integrations, Journal, Keeping, Platform
from syncd.core import registry, tokens
from syncd.core.daemon_status import EndView
from syncd.core.model import SealedSecret
from syncd.core.state import State
from syncd.credentials import Secret
from syncd.edges.api.access import Access, Caller
from syncd.edges.api.answers import answer
from syncd.edges.api.counts import AnswerCounts, WebhookCounts
from syncd.errors import Busy
from syncd.seams import Clock, Ids
from syncd.vault import Vault

T = TypeVar("T")

DURABLE_S_MAX: Final = 2.0
RETRY_AFTER_S: Final = 5


class Desk(Struct, frozen=True, kw_only=True):
    """What the API stands on. ``public_url``: where ServiceNow reaches us, no trailing slash.

    ``last_end``: how the run before this one ended. ``stopping`` is set when streams are to end.
    """

    journal: Journal
    platform: Platform
    integrations: Integrations
    vault: Vault
    access: Access
    clock: Clock
    ids: Ids
    public_url: str
    allowed_hosts: tuple[str, ...]
    webhook_counts: WebhookCounts
    keeping: Keeping
    last_end: EndView | None = None
    answer_counts: AnswerCounts = field(default_factory=AnswerCounts)
    stopping: trio.Event = field(default_factory=trio.Event)

    @property
    def state(self) -> State:
        """The newest state; nothing of it may leave before ``settled``."""
        return self.journal.state

    async def change(self, decide: Decide[T]) -> T:
        """Run a decision for the present caller; ``Busy`` when it is not on disk in time."""
        with trio.move_on_after(DURABLE_S_MAX):
            who = caller()
            return await self.journal.transact(decide, by=who.by, trace=trace_id(), source=who.source)
        raise not_durable()

    async def note_use(self) -> None:
        """Remember that the present caller's token was used; on disk too, once an hour."""
        token = self.state.tokens.get(caller().token_id)
        if token is not None:
            now_s = self.access.last_used_at_s[token.id] = self.clock.now_s()
            if tokens.is_use_due(token, now_s):
                await self.change(tokens.use(token.id))

    async def show(self, value: object) -> Response:
        """Answer with a value taken from State, once everything it rests on is durable."""
        body = msgspec.json.encode(value)
        await self.settled()
        return answer(body.decode())

    async def settled(self) -> None:
        """``Busy`` when what State holds is not on disk in time."""
        with trio.move_on_after(DURABLE_S_MAX):
            await self.journal.settled()
            return
        raise not_durable()

    async def shown(self, make: Callable[[], Response]) -> Response:
        """Like ``show``, for an answer that is more than a value."""
        made = make()
        await self.settled()
        return made

    async def seal(self, integration_id: str, field: str, text: str) -> SealedSecret:
        """A secret for its slot, as the journal keeps it."""
        return await self.vault.seal(Secret(text), *registry.slot(self.state.journal_id, integration_id, field))


def not_durable() -> Busy:
    """What a caller hears when the disk does not answer."""
    return Busy(
        f"nothing could be made durable within {DURABLE_S_MAX:g} s; the disk may be full or slow",
        hint="it may still be carried out: read the present state before you repeat it",
        retry_after_s=RETRY_AFTER_S,
    )


def caller() -> Caller:
    """Who makes the present request."""
    one: Caller = g.caller
    return one


def trace_id() -> str:
    """The name that ties together what happens for the present request."""
    word: str = g.trace
    return word
