"""Who gets in: authentication, sessions with their queue, and the rate rule.

Owns sessions, rate counters and tokens. Every failed login has one and the same body, whatever the reason. Never looks
at what a request wants beyond its headers.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from syncd.simulator.accounts import Account, Actor
from syncd.simulator.kernel import Kernel
from syncd.simulator.oauth import Tokens
from syncd.simulator.wire import Refusal, Request, Response

__all__ = ["Gate"]

_WAITING_MAX: Final = 10
_SESSIONS_MAX: Final = 1000
_RULE_SYS_ID: Final = "7f1c0ff7c3102010d8b7dfe2c1d3ae63"


@dataclass
class _Session:
    """One session runs one transaction at a time; ``ends_at_s``: when those that were let in will be done."""

    ends_at_s: deque[float] = field(default_factory=deque)


@dataclass
class _RateCount:
    """Requests of one user in the hour that ends at ``resets_at_s``; only the flushed count is held against him."""

    resets_at_s: float
    seen: int = 0
    flushed: int = 0
    flushed_at_s: float = 0.0


class Gate:
    """Lets requests in, or not."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._sessions: dict[str, _Session] = {}
        self._rates: dict[str, _RateCount] = {}
        self.tokens = Tokens(kernel)

    def actor(self, request: Request) -> Actor:
        """Who is asking; raises the one 401 for every failure."""
        account = self._account(request)
        if account is None:
            refusal = Refusal(401, "User is not authenticated", "Required to provide Auth information")
            refusal.headers.append(("WWW-Authenticate", 'BASIC realm="Service-now"'))
            raise refusal
        return self._kernel.accounts.actor(account.user_name)

    def _account(self, request: Request) -> Account | None:
        authorization = request.header("authorization")
        scheme = authorization.partition(" ")[0].casefold()
        if scheme == "basic":
            self._kernel.accounts.lockout_after = int(self._kernel.switches.number("lockout_after"))
            account = self._kernel.accounts.by_basic(authorization)
            return None if account is not None and self._is_basic_refused(account) else account
        if scheme == "bearer":
            return self.tokens.account(authorization[7:].strip())
        key = request.header("x-sn-apikey")
        if key and self._kernel.switches.is_on("api_key_policy"):
            return self._kernel.accounts.by_api_key(key)
        return None

    def _is_basic_refused(self, account: Account) -> bool:
        """Basic authentication restriction: from its date on it is refused, except to those who are allowed."""
        enforced_at = self._kernel.switches.text("basic_enforced_at")
        is_enforced = bool(enforced_at) and self._kernel.clock.stamp() >= enforced_at
        if account.is_basic_restricted:
            return True
        return is_enforced and "snc_basic_auth_api_access" not in account.roles

    def wait_s(self, request: Request, takes_s: float) -> float | None:
        """How long a request waits for its session's earlier ones; None when the queue is full and it is dropped."""
        session_id = session_of(request)
        if not session_id or not self._kernel.switches.is_on("sessions"):
            return 0.0
        now_s = self._kernel.clock.host_s()
        if len(self._sessions) >= _SESSIONS_MAX:
            self._sessions = {name: one for name, one in self._sessions.items() if one.ends_at_s[-1] > now_s}
        session = self._sessions.setdefault(session_id, _Session())
        ends = session.ends_at_s
        while ends and ends[0] <= now_s:
            ends.popleft()
        if len(ends) > _WAITING_MAX:  # one runs, ten wait
            return None
        starts_at_s = ends[-1] if ends else now_s
        ends.append(starts_at_s + takes_s)
        return starts_at_s - now_s

    def busy(self, request: Request, answered_at_s: float) -> None:
        """Keep a session busy until its newest request is answered, however slow that is."""
        session = self._sessions.get(session_of(request))
        if session is not None and session.ends_at_s:
            session.ends_at_s[-1] = max(session.ends_at_s[-1], answered_at_s)

    def rate_headers(self, user_name: str) -> list[tuple[str, str]]:
        """Count a request under the rate rule; its headers, or none without a rule. Raises Refusal (429) above it."""
        rule = self._kernel.faults.standing("rate_limit")
        if rule is None:
            return []
        now_s = self._kernel.clock.at_s()
        count = self._rates.get(user_name)
        if count is None or now_s >= count.resets_at_s:
            count = self._rates[user_name] = _RateCount((now_s // 3600 + 1) * 3600, flushed_at_s=now_s)
        limit, flush_s = int(rule.seconds), self._kernel.switches.number("rate_flush_s")
        if now_s - count.flushed_at_s >= flush_s:
            count.flushed, count.flushed_at_s = count.seen, now_s
        headers = [
            ("X-RateLimit-Limit", str(limit)),
            ("X-RateLimit-Reset", str(int(count.resets_at_s))),
            ("X-RateLimit-Rule", _RULE_SYS_ID),
        ]
        if count.flushed >= limit:
            detail = f"Rate limit of {limit} requests per hour for Table API exceeded"
            refusal = Refusal(429, "Rate limit exceeded", detail)
            refusal.headers = [*headers, ("Retry-After", str(int(count.resets_at_s - now_s) + 1))]
            raise refusal
        count.seen += 1
        return headers

    def cookies(self, request: Request, response: Response) -> None:
        """Set the session cookies of a new session, as every answer to a request without one does."""
        if self._kernel.switches.is_on("sessions") and not session_of(request):
            session_id = f"{self._kernel.random.getrandbits(128):032X}"
            route = f"glide.{self._kernel.random.getrandbits(64):016x}"
            response.headers.append(("Set-Cookie", f"JSESSIONID={session_id}; Path=/; HttpOnly"))
            response.headers.append(("Set-Cookie", f"glide_user_route={route}; Path=/; HttpOnly"))


def session_of(request: Request) -> str:
    """The JSESSIONID that a request carries, ``""`` without one."""
    for cookie in request.header("cookie").split(";"):
        name, _, value = cookie.strip().partition("=")
        if name == "JSESSIONID":
            return value
    return ""
