"""The way to one instance: one request in its turn, whole answer or typed error.

Owns the connections, the number of requests under way and the sign-in; the rate, and what the account was told to wait
for, outlive it (``accounts.py``). Holds no cookies (a session would pin us to one node and serialise us), follows no
redirect, reads no environment, accepts no compression, and bounds every answer in bytes and time. Retries nothing:
what to do next is the caller's decision, by ``ExternalFailed.outcome``.
"""

import logging
from collections.abc import Mapping
from typing import Final

import httpx
import msgspec
import trio

from syncd.core.lag import Lag
from syncd.core.sending import Offset
from syncd.errors import ExternalFailed
from syncd.seams import Clock
from syncd.systems.accounts import Account, Rate, Terms
from syncd.systems.answers import Answer, Row, date_s, is_lost_session, rate_rule, retry_after_s, rows_of
from syncd.systems.exchange import ask, request_of
from syncd.systems.signin import Credentials, SignIn

log: Final = logging.getLogger("syncd.systems")

RECORD_BYTES_MAX: Final = 1024 * 1024  # an answer that shows one record
REPEAT_S_MAX: Final = 0.5
SLOW_REFUSAL_S: Final = 20.0
TOKEN_PATH: Final = "/oauth_token.do"  # noqa: S105 an address


class Line:
    """One integration's. ``rate``: requests a second; ``concurrency``: requests at once, reads included.

    ``terms``: outlives it.
    """

    def __init__(
        self,
        base_url: str,
        credentials: Credentials,
        transport: httpx.AsyncBaseTransport,
        clock: Clock,
        *,
        rate: float,
        concurrency: int,
        terms: Terms | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._sign_in = SignIn(credentials, self._post_form)
        self._transport = transport
        self._clock = clock
        terms = terms or Terms(Account(), Rate())
        self._account, self._used = terms.account, terms.used
        self._logins = self._account.logins(credentials)
        self._rate = rate
        # In front of the pool: a request cancelled while it waits inside httpx's pool wedges that pool for good.
        self._slots = trio.CapacityLimiter(concurrency)
        self.latency = Lag()

    @property
    def offset(self) -> Offset:
        """The instance's clock minus ours, as measured so far."""
        return self._account.meter.offset

    @property
    def is_clock_known(self) -> bool:
        """Whether any answer has told the instance's clock."""
        return self._account.meter.is_known

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def _exchange(
        self, method: str, path: str, parameters: Mapping[str, str], body: dict[str, str] | None, bytes_max: int
    ) -> list[Row]:
        """The rows of one answer."""
        rows, _ = await self._answered(method, path, parameters, body, bytes_max)
        return rows

    async def _answered(
        self, method: str, path: str, parameters: Mapping[str, str], body: dict[str, str] | None, bytes_max: int
    ) -> tuple[list[Row], Answer]:
        """One request within the rate budget, whole answer or typed error. A request with a body changes something.

        It is made once more when its token was refused, or its session had lost its roles: then nothing was done.
        """
        query = str(httpx.QueryParams(parameters)).replace("%2C", ",")  # a comma may stand there, and lists are long
        target = f"{self._base_url}{path}?{query}"
        content = None if body is None else msgspec.json.encode(body)
        kind = None if body is None else "application/json"
        writes = body is not None
        async with self._slots, self._logins.turn():
            try:
                signed = await self._sign_in.headers()
                answer, took_s = await self._timed(
                    request_of(method, target, signed, content, kind), bytes_max, writes=writes
                )
                is_lost = (answer.status == 401 and self._sign_in.forget(signed)) or is_lost_session(answer)
                # A write rests on a fresh read: after a slow answer the next try makes another one first.
                if is_lost and (not writes or took_s < REPEAT_S_MAX):
                    signed = await self._sign_in.headers()
                    again = request_of(method, target, signed, content, kind)
                    answer, took_s = await self._timed(again, bytes_max, writes=writes)
            except ExternalFailed as error:
                if error.outcome == "paused" and error.status is not None:  # no token is given
                    self._logins.refused(error)
                raise
            return self._judged(method, path, answer, took_s, writes=writes), answer

    def _judged(self, method: str, path: str, answer: Answer, took_s: float, *, writes: bool) -> list[Row]:
        """The rows of an answer, or its typed error; and what it says of our credentials."""
        left_at = trio.current_time() - took_s
        try:
            rows = rows_of(answer, writes=writes)
        except ExternalFailed as error:
            told = {"method": method, "path": path, "status": answer.status}
            log.debug("not done", extra={**told, "transaction": answer.headers.get("x-transaction-id", "")})
            if error.status == 401:
                self._logins.refused(error)
            elif error.outcome in ("refused", "gone"):
                self._logins.accepted(left_at)
            if writes and error.outcome == "refused" and took_s >= SLOW_REFUSAL_S:
                error.outcome = "ambiguous"  # an operation that took so long may have been completed all the same
            raise
        self._logins.accepted(left_at)
        return rows

    async def _post_form(self, form: dict[str, str]) -> Answer:
        """Ask the token endpoint, in the place of the request that needs the token."""
        content = str(httpx.QueryParams(form)).encode("ascii")
        request = request_of("POST", f"{self._base_url}{TOKEN_PATH}", {}, content, "application/x-www-form-urlencoded")
        answer, _ = await self._timed(request, RECORD_BYTES_MAX, writes=False)
        return answer

    async def _timed(self, request: httpx.Request, bytes_max: int, *, writes: bool) -> tuple[Answer, float]:
        """One answer, from which the instance's clock and its hourly rule are read, and how long it took."""
        asked = trio.current_time()
        await self._used.take(self._rate)
        self._logins.check(asked)
        self._account.check()
        left_at_s, left_at = self._clock.now_s(), trio.current_time()
        try:
            answer = await ask(self._transport, request, bytes_max, self._sign_in.hide, writes=writes, heard=self._hear)
        finally:
            self.latency = self.latency.after(trio.current_time() - left_at, self._clock.now_s())
        if (date_at_s := date_s(answer.headers)) is not None:
            self._account.meter.add(date_at_s, left_at_s, self._clock.now_s())
        self._account.budget = self._account.budget.after(rate_rule(answer.headers), throttled=answer.status == 429)
        return answer, trio.current_time() - left_at

    def _hear(self, status: int, headers: Mapping[str, str]) -> None:
        """A 429 counts from its headers on: its body may trickle, and never end."""
        if status == 429 and (wait_s := retry_after_s(headers)) is not None:
            self._account.be_quiet(wait_s)

    async def paced(self) -> None:
        """Return when the instance's hourly rule allows to begin something, which may be a long time.

        To be awaited before anything is read or decided: a write must not wait behind the read that it rests on.
        """
        await self._account.paced(self._clock)

    def were_refused(self, wait_s: float) -> None:
        """The last that an earlier life knew: our credentials, which it did not mean to try for so long still."""
        self._logins.were_refused(wait_s)

    def ask_for_a_login(self) -> None:
        """A person wants to know whether we are let in, however often that was refused."""
        self._logins.ask_for_one()

    @property
    def remaining_budget(self) -> int | None:
        """Requests that the instance's hourly rule has left for us, by our own count; None without a rule."""
        return self._account.budget.left

    @property
    def hourly_limit(self) -> int | None:
        """Requests that the instance's hourly rule allows; None without a rule, and before an answer told of it."""
        return self._account.budget.limit

    @property
    def budget_resets_in_s(self) -> float:
        """When that rule gives new requests; 0 without a rule."""
        if self._account.budget.left is None:
            return 0.0
        return max(0.0, self._account.budget.reset_at_s - (self._clock.now_s() + self._account.meter.offset.s))
