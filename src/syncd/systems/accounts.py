"""How our accounts stand with the instances: what each was told there, whichever of our connections had asked.

A connection is made anew with every change of settings; this outlives it. Integrations that sign in at one address as
one account share it: ``Retry-After``, an hourly rule and the lock after refused logins are that account's. The rate
limit is an integration's own setting, and so is what it has used of it. Of all this only refused logins are durable,
with each integration that was refused (``actors/guard.py``).
"""

import math
from hashlib import sha256
from typing import Final

import msgspec
import trio
from msgspec import Struct

from syncd.core.backoff import RETRY_AFTER_S_MAX, Bucket, HourlyBudget
from syncd.errors import ExternalFailed
from syncd.seams import Clock
from syncd.systems.logins import Logins
from syncd.systems.offset import OffsetMeter
from syncd.systems.signin import Credentials

LOGINS_KEPT: Final = 8


class Account:
    """One of ours at one instance. ``meter``: of the instance's clock. ``budget``: what its hourly rule has left."""

    def __init__(self) -> None:
        self.meter = OffsetMeter()
        self.budget = HourlyBudget()
        self._logins: dict[bytes, Logins] = {}  # the last that were asked for stand last
        self._quiet_until = self._paced_at = -math.inf
        self._pacing = trio.Lock()

    def logins(self, credentials: Credentials) -> Logins:
        """What is known of these credentials; of very old ones it is forgotten."""
        key = sha256(msgspec.json.encode(credentials)).digest()  # what is of no use any more is not kept in clear
        logins = self._logins.pop(key, None) or Logins(shows_secret=not credentials.client_id)
        self._logins[key] = logins
        if len(self._logins) > LOGINS_KEPT:
            del self._logins[next(iter(self._logins))]
        return logins

    def be_quiet(self, wait_s: float) -> None:
        """The instance asks to be left alone for so long."""
        self._quiet_until = max(self._quiet_until, trio.current_time() + min(wait_s, RETRY_AFTER_S_MAX))

    def check(self) -> None:
        """``ExternalFailed`` (``throttled``) while the instance has asked to be left alone."""
        if (wait_s := self._quiet_until - trio.current_time()) > 0:
            words = "not sent: the instance has asked to be left alone"
            raise ExternalFailed("throttled", words, retry_after_s=wait_s)

    async def paced(self, clock: Clock) -> None:
        """Return when the hourly rule allows to begin something: what is left of its requests is spread over what is

        left of the hour, in the instance's time.
        """
        async with self._pacing:
            while True:
                due = self._paced_at + self.budget.pause_s(clock.now_s() + self.meter.offset.s)
                if due <= trio.current_time():
                    break
                await trio.sleep_until(due)  # it moves meanwhile
            self._paced_at = trio.current_time()


class Rate:
    """What an integration has used of its rate limit."""

    def __init__(self) -> None:
        self._bucket: Bucket | None = None

    async def take(self, rate: float) -> None:
        """Return when one more request may leave, at ``rate`` a second and with a burst of one second's worth."""
        now = trio.current_time()
        self._bucket, wait_s = (self._bucket or Bucket(max(1.0, rate), now)).take(now, rate)
        if wait_s > 0:
            await trio.sleep(wait_s)


class Terms(Struct, frozen=True):
    """What outlives one integration's connection."""

    account: Account
    used: Rate


class Accounts:
    """All of them, for as long as the process lives."""

    def __init__(self) -> None:
        self._accounts: dict[tuple[str, str], Account] = {}
        self._rates: dict[tuple[str, str], Rate] = {}

    def terms(self, integration_id: str, base_url: str, credentials: Credentials) -> Terms:
        """Of an integration that signs in like that at this address. Another address begins anew."""
        account = self._accounts.setdefault((base_url, credentials.account), Account())
        return Terms(account, self._rates.setdefault((integration_id, base_url), Rate()))
