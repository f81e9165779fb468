"""Who may call: peers of the Unix socket by the kernel's word, bearer tokens on TCP, and nobody's browser.

It owns the rules for ``Host``, ``Origin`` and ``Sec-Fetch-Site``, scopes, and the count of wrong tokens. It reads the
request's headers and State, and changes nothing; who may use the socket at all is ``peers.py``. A browser page can make
this machine connect to us; it cannot choose our ``Host`` or hide its ``Origin``, so these two are checked whatever else
is right.
"""

import logging
import math
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

import trio
from msgspec import Struct

from syncd.callers import digest_of, scope_in
from syncd.core import tokens
from syncd.core.events import Source
from syncd.core.model import Token
from syncd.core.state import State
from syncd.core.tokens import Scope
from syncd.credentials import is_same
from syncd.edges.api.listeners import Peer
from syncd.edges.api.peers import Users, check_peer
from syncd.errors import Forbidden, Malformed, Refused, TooMany, Unauthenticated

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
WRONG_TOKENS_MAX: Final = 20
WRONG_TOKENS_WINDOW_S: Final = 60.0
ADDRESSES_MAX: Final = 4096
_PORT_MAX: Final = 65535

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")

log = logging.getLogger("syncd.http")


class Misdirected(Refused):
    """The ``Host`` is not one of ours."""

    status, title = 421, "Misdirected request"


class Caller(Struct, frozen=True):
    """Who calls. ``by`` is the name that people read, ``source`` what tells callers apart."""

    by: str
    source: Source
    scope: Scope
    token_id: str = ""


class Call(Struct, frozen=True):
    """What the rules look at. ``headers``: by lower-case name. ``address``: the client's, empty on the Unix socket.

    ``peer``: the process on the Unix socket, None on TCP.
    """

    method: str
    headers: Mapping[str, Sequence[str]]
    peer: Peer | None
    address: str

    def header(self, name: str) -> str | None:
        """The one value of a header; ``Malformed`` when it is repeated."""
        values = self.headers.get(name, ())
        if len(values) > 1:
            raise Malformed(f"the header {name} comes {len(values)} times", hint="send it once")
        return values[0] if values else None


class Access:
    """The rules, with what they remember: when a token was last used, and who guessed wrong."""

    def __init__(
        self, *, auth: Literal["token", "none"], public_host: str, users: Users, now_s: Callable[[], float]
    ) -> None:
        self._auth = auth
        self._hosts = LOCAL_HOSTS | {f"[{public_host}]" if ":" in public_host else public_host} - {""}
        self._users = users
        self._now_s = now_s
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()
        self._warn_at = -math.inf
        self.last_used_at_s: dict[str, float] = {}

    def check_origin(self, call: Call) -> None:
        """Refuse a foreign ``Host``, and a foreign page's request that would change something."""
        host = call.header("host") or ""
        if call.peer is None and _name_in(host) not in self._hosts:
            raise Misdirected(
                f"this daemon is not {host[:100]!r}",
                hint="call it by localhost or its public_url; INCIDENTS_PUBLIC_URL sets that",
            )
        if call.method in SAFE_METHODS:
            return
        site = call.header("sec-fetch-site")
        if site is not None and site not in {"same-origin", "none"}:
            raise Forbidden(f"a request from another site (Sec-Fetch-Site: {site[:20]}) may not change anything here")
        origin = call.header("origin")
        if origin is not None and not _same_origin(origin, host):
            raise Forbidden(f"a request from the origin {origin[:100]!r} may not change anything here")

    def identify(self, call: Call, state: State, needed: Scope) -> Caller:
        """Who calls; ``Unauthenticated``, ``Forbidden`` or ``TooMany`` otherwise. ``needed``: the route's scope."""
        if call.peer is not None:
            return self._peer(call.peer)
        if self._auth == "none":
            return Caller("anonymous", Source("anonymous", call.address), "admin")
        return self._bearer(call, state, needed)

    def _peer(self, peer: Peer) -> Caller:
        check_peer(peer, self._users)
        source = Source(f"uid:{peer.uid}", f"pid:{peer.pid}")
        return Caller(f"user:{self._users.name_of(peer.uid)}", source, "admin")

    def _bearer(self, call: Call, state: State, needed: Scope) -> Caller:
        given = call.header("authorization")
        if given is None:
            raise Unauthenticated(
                "a token is needed",
                hint=f"send Authorization: Bearer <token>; make one: im token create --scope {needed}",
            )
        kind, _, text = given.partition(" ")
        token = self._token_of(text.strip(" \t"), state) if kind.lower() == "bearer" else None
        if token is None:
            self._count_guess(call.address)  # a right token is never refused for the wrong ones of a neighbour
            raise Unauthenticated(
                "the token is not valid here: unknown, revoked or expired",
                hint=f"make another: im token create --scope {needed}",
            )
        return Caller(f"token:{token.name}", Source(token.id, call.address), token.scope, token.id)

    def _token_of(self, text: str, state: State) -> Token | None:
        if scope_in(text) is None:
            return None
        digest = digest_of(text)
        for token in state.tokens.values():
            if is_same(token.digest, digest):
                is_over = token.expires_at_s is not None and token.expires_at_s <= self._now_s()
                return None if is_over else token
        return None

    def _count_guess(self, address: str) -> None:
        """Remember a wrong token; ``TooMany`` when this address sent too many of them lately."""
        now = trio.current_time()
        guesses = [at for at in self._wrong.pop(address, []) if at > now - WRONG_TOKENS_WINDOW_S]
        is_over = len(guesses) >= WRONG_TOKENS_MAX
        self._wrong[address] = guesses if is_over else [*guesses, now]
        while len(self._wrong) > ADDRESSES_MAX:
            self._wrong.popitem(last=False)
        if is_over:
            if now >= self._warn_at:  # a line a minute, however many addresses there are
                self._warn_at = now + WRONG_TOKENS_WINDOW_S
                log.warning("wrong tokens are slowed down", extra={"address": address})
            raise TooMany(
                f"{len(guesses)} wrong tokens in a minute from {address}",
                hint="use a valid token",
                retry_after_s=int(guesses[0] + WRONG_TOKENS_WINDOW_S - now) + 1,
            )


def check_scope(caller: Caller, needed: Scope) -> None:
    """``Forbidden`` when the caller's scope does not include what a route needs."""
    if not tokens.covers(caller.scope, needed):
        raise Forbidden(
            f"scope {caller.scope} does not include {needed}, which this needs",
            hint=f"use a token of scope {needed}: im token create --scope {needed}",
        )


def _name_in(host: str) -> str:
    """The name or bracketed address of a ``Host`` value, without its port; empty for what is none."""
    match = _HOST.fullmatch(host)
    return match.group(1).lower() if match and int(match.group(2) or 0) <= _PORT_MAX else ""


def _same_origin(origin: str, host: str) -> bool:
    """Whether a page of that origin came from the host that is called; a proxy may have made http of its https."""
    return origin.lower() in {f"http://{host}".lower(), f"https://{host}".lower()}
