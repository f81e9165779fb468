"""API tokens as decisions: made, used, revoked, and what a scope includes. Only digests come here, never the text.

That a token was used is journaled at most once an hour, so reading costs no write; in between the doors remember it.
"""

from collections.abc import Callable
from typing import Final, Literal, TypeAlias, TypeVar, get_args

from msgspec import Struct

from syncd.core.events import DAEMON_STREAM, Change, TokenCreated, TokenRevoked, TokenUsed
from syncd.core.fields import Fields, given, shown
from syncd.core.model import Token
from syncd.core.state import State
from syncd.errors import Invalid, Problem, Unknown

T = TypeVar("T")
Decide = Callable[[State, float], Change[T]]
Scope: TypeAlias = Literal["read", "operate", "admin"]

SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
USE_KEPT_EVERY_S: Final = 3600.0


class NewToken(Struct, frozen=True):
    """A wanted token."""

    name: str
    scope: Scope
    expires_at_s: float | None


def read(body: Fields) -> NewToken:
    """A wanted token from a request's object; ``Invalid`` with every fault."""
    name = body.text("name", letters_max=100)
    scope = body.choice("scope", SCOPES, required=True)
    expires_at_s = body.optional_moment_s("expires_at")
    body.done("the token")
    return NewToken(given(name, "api"), given(scope, "read"), given(expires_at_s, None))


def create(wanted: NewToken, *, token_id: str, digest: str) -> Decide[Token]:
    """A new token; ``Invalid`` when it would have expired already."""

    def decide(_state: State, at_s: float) -> Change[Token]:
        if wanted.expires_at_s is not None and wanted.expires_at_s <= at_s:
            problem = Problem("expires_at", "lies in the past; give a later time, or leave it out")
            raise Invalid("the token would have expired already", problems=(problem,))
        token = Token(token_id, wanted.name, wanted.scope, digest, at_s, wanted.expires_at_s)
        return Change(DAEMON_STREAM, (TokenCreated(token),), token)

    return decide


def revoke(token_id: str) -> Decide[None]:
    """A token is refused from now on; ``Unknown`` when there is none of that id."""

    def decide(state: State, _at_s: float) -> Change[None]:
        if token_id not in state.tokens:
            raise Unknown(f"there is no token {shown(token_id)}", hint="list them: im token list")
        return Change(DAEMON_STREAM, (TokenRevoked(token_id),), None)

    return decide


def use(token_id: str) -> Decide[None]:
    """A token was used; journals nothing when its last use is on record already, or when it is gone."""

    def decide(state: State, at_s: float) -> Change[None]:
        token = state.tokens.get(token_id)
        events = (TokenUsed(token_id),) if token is not None and is_use_due(token, at_s) else ()
        return Change(DAEMON_STREAM, events, None)

    return decide


def is_use_due(token: Token, at_s: float) -> bool:
    """Whether a use at this time is to be journaled."""
    return token.last_used_at_s is None or abs(at_s - token.last_used_at_s) >= USE_KEPT_EVERY_S


def covers(scope: str, needed: str) -> bool:
    """Whether a scope includes another: admin includes operate, operate includes read."""
    words: tuple[str, ...] = SCOPES
    return words.index(scope) >= words.index(needed)
