"""Who may use the Unix socket: root, the daemon's own user and the members of the socket's group, by the kernel's word.

It owns that rule and the names of this machine's users. Whoever may not is answered before a byte of the request's body
is read. What a caller who may is allowed to do is ``access.py``.
"""

import pwd
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final, Protocol, cast

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from msgspec import Struct

from syncd.edges.api.gate import ASGIApp, Problem, send_problem
from syncd.edges.api.listeners import Peer
from syncd.errors import Forbidden

USERS_KEPT_S: Final = 60.0
USERS_KEPT_MAX: Final = 1024


class Users(Protocol):
    """This machine's users, as far as the socket needs to know them."""

    def name_of(self, uid: int) -> str:
        """A user's name, or the number as text."""
        ...

    def may_use_socket(self, peer: Peer) -> bool:
        """root, the daemon's own user, and members of the socket's group."""
        ...


class _KnownUser(Struct):
    """What the database said of a user, and when on Trio's clock."""

    name: str
    at: float


class LocalUsers:
    """The users of the password database. ``socket_gid``: the group that owns the socket file.

    A look-up blocks, for long where users come over the network; so root and the daemon's own user need none, and what
    was said of another one holds for a minute. Membership needs none: it is what the peer's process has.
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
        if uid in self._always:
            return self._always[uid]
        now = trio.current_time()
        user = self._known.get(uid)
        if user is None or now - user.at > USERS_KEPT_S:
            self._known.pop(uid, None)
            self._known[uid] = user = _KnownUser(_user_name(uid), now)
            while len(self._known) > USERS_KEPT_MAX:
                self._known.popitem(last=False)
        return user.name

    def may_use_socket(self, peer: Peer) -> bool:
        return peer.uid in self._always or self._socket_gid in {peer.gid, *peer.groups}


def check_peer(peer: Peer, users: Users) -> None:
    """``Forbidden`` unless this process may use the socket."""
    if not users.may_use_socket(peer):
        raise Forbidden(
            f"user {users.name_of(peer.uid)} may not use this socket",
            hint="join the socket's group, or use a token over TCP",
        )


class PeerGate:
    """An ASGI application in front of the gate: it refuses by the peer alone, before anything reads the body."""

    def __init__(self, app: ASGIApp, users: Users) -> None:
        self._app = app
        self._users = users

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Refuse, or let the application answer."""
        peer = cast("Mapping[str, Peer | None]", scope.get("state") or {}).get("peer")
        try:
            if peer is not None:
                check_peer(peer, self._users)
        except Forbidden as error:
            told = Problem(status=error.status, title=error.title, detail=f"{error}; {error.hint}")
            await send_problem(told, send)
        else:
            await self._app(scope, receive, send)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
