"""Who may call: peers of the Unix socket by the kernel's word, bearer tokens on TCP, and nobody's browser.

It owns the rules for ``Host``, ``Origin`` and ``Sec-Fetch-Site``, scopes, and the count of wrong tokens. It reads the
request's headers, State and the user databases, and changes nothing. A browser page can make this machine connect to
us; it cannot choose our ``Host`` or hide its ``Origin``, so these two are checked whatever else is right.
"""

import grp
import pwd
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, Protocol
from urllib.parse import urlsplit

import trio
from msgspec import Struct

from syncd.core import tokens
from syncd.core.model import Token
from syncd.core.state import State
from syncd.core.tokens import Scope
from syncd.credentials import digest_of, is_same, scope_in
from syncd.errors import Forbidden, Malformed, Refused, TooMany, Unauthenticated

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
WRONG_TOKENS_MAX: Final = 20
WRONG_TOKENS_WINDOW_S: Final = 60.0
ADDRESSES_MAX: Final = 4096
USERS_KEPT_S: Final = 60.0
USERS_KEPT_MAX: Final = 1024
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")


class Misdirected(Refused):
    """The ``Host`` is not one of ours."""

    status, title = 421, "Misdirected request"


class Users(Protocol):
    """This machine's users, as far as the socket needs to know them."""

    def name_of(self, uid: int) -> str:
        """A user's name, or the number as text."""
        ...

    def may_use_socket(self, uid: int, gid: int) -> bool:
        """root, the daemon's own user, and members of the socket's group."""
        ...


class _KnownUser(Struct):
    """What the databases said of a user, and when on Trio's clock; ``is_member`` None: not asked yet."""

    name: str
    at: float
    is_member: bool | None = None


class LocalUsers:
    """The users of the password and group databases. ``socket_gid``: the group that owns the socket file.

    A look-up blocks, for long where users come over the network; so root and the daemon's own user need none, and what
    was said of another one holds for a minute.
    """

    def __init__(self, own_uid: int, socket_gid: int) -> None:
        self._always = {0: "root"}
        self._always.setdefault(own_uid, _user_name(own_uid) if own_uid else "root")
        self._socket_gid = socket_gid
        self._known: OrderedDict[int, _KnownUser] = OrderedDict()

    @property
    def kept(self) -> int:
        """Users that are remembered at this moment."""
        return len(self._known)

    def name_of(self, uid: int) -> str:
        return self._always.get(uid) or self._user(uid).name

    def may_use_socket(self, uid: int, gid: int) -> bool:
        if uid in self._always or gid == self._socket_gid:
            return True
        user = self._user(uid)
        if user.is_member is None:
            try:  # SO_PEERCRED tells the primary group only
                user.is_member = user.name in grp.getgrgid(self._socket_gid).gr_mem
            except KeyError:
                user.is_member = False
        return user.is_member

    def _user(self, uid: int) -> _KnownUser:
        now = trio.current_time()
        user = self._known.get(uid)
        if user is None or now - user.at > USERS_KEPT_S:
            self._known.pop(uid, None)
            self._known[uid] = user = _KnownUser(_user_name(uid), now)
            while len(self._known) > USERS_KEPT_MAX:
                self._known.popitem(last=False)
        return user


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


class Caller(Struct, frozen=True):
    """Who calls. ``by`` is what the journal says; ``key`` keeps the idempotency keys of callers apart."""

    by: str
    key: str
    scope: Scope
    token_id: str = ""


class Call(Struct, frozen=True):
    """What the rules look at. ``headers``: by lower-case name. ``address``: the client's, empty on the Unix socket.

    ``peer``: (pid, uid, gid) on the Unix socket, None on TCP.
    """

    method: str
    headers: Mapping[str, Sequence[str]]
    peer: tuple[int, int, int] | None
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
        self._hosts = LOCAL_HOSTS | {public_host.lower()} - {""}
        self._users = users
        self._now_s = now_s
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()
        self.last_used_at_s: dict[str, float] = {}

    def check_origin(self, call: Call) -> None:
        """Refuse a foreign ``Host``, and a foreign page's request that would change something."""
        host = call.header("host") or ""
        match = _HOST.fullmatch(host)
        name = match.group(1).strip("[]").lower() if match else ""
        if call.peer is None and name not in self._hosts:
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

    def identify(self, call: Call, state: State) -> Caller:
        """Who calls; ``Unauthenticated``, ``Forbidden`` or ``TooMany`` otherwise."""
        if call.peer is not None:
            return self._peer(*call.peer)
        if self._auth == "none":
            return Caller("anonymous", "anonymous", "admin")
        return self._bearer(call, state)

    def _peer(self, _pid: int, uid: int, gid: int) -> Caller:
        name = self._users.name_of(uid)
        if not self._users.may_use_socket(uid, gid):
            raise Forbidden(
                f"user {name} may not use this socket", hint="join the socket's group, or use a token over TCP"
            )
        return Caller(f"user:{name}", f"uid:{uid}", "admin")

    def _bearer(self, call: Call, state: State) -> Caller:
        given = call.header("authorization")
        if given is None:
            raise Unauthenticated(
                "a token is needed", hint="send Authorization: Bearer <token>; make one: im token create --scope read"
            )
        kind, _, text = given.partition(" ")
        token = self._token_of(text.strip(), state) if kind.lower() == "bearer" else None
        if token is None:
            self._count_guess(call.address)  # a right token is never refused for the wrong ones of a neighbour
            raise Unauthenticated(
                "the token is not valid here: unknown, revoked or expired", hint="make another: im token create"
            )
        self.last_used_at_s[token.id] = self._now_s()
        return Caller(f"token:{token.name}", f"token:{token.id}", token.scope, token.id)

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


def _same_origin(origin: str, host: str) -> bool:
    try:
        return urlsplit(origin).netloc.lower() == host.lower() != ""
    except ValueError:
        return False
