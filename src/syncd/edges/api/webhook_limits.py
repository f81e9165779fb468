"""How many webhooks are taken: refused ones from one source, authentic ones for one integration.

It owns the figures and the memory of both, which is bounded. Two rules follow from who can be told apart. Nobody
without the secret may use up an integration's allowance, so that one is asked after the signature. And behind a proxy
all callers have one address, so good webhooks pay nothing there: only what was refused counts against a source, and a
small body is checked even when the source has used up what it may.
"""

from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from msgspec import Struct

from syncd.core.backoff import Bucket


class Rate(Struct, frozen=True):
    """``burst`` at once, then ``per_s``; the ``keys_max`` that used it last are remembered."""

    per_s: float
    burst: float
    keys_max: int = 10_000


# What a refused webhook costs is the reading and one HMAC for each secret. A wrong secret in ServiceNow still gets the
# 401 that says so, a thousand times.
REFUSED_FROM_SOURCE: Final = Rate(per_s=10.0, burst=1_000.0)
# A script over 10,000 records may send all of their webhooks at once; no business rule repeats one that was refused.
TAKEN_FOR_INTEGRATION: Final = Rate(per_s=200.0, burst=10_000.0)
CHECKED_ALWAYS_BYTES: Final = 64 * 1024
IPV6_SOURCE_BITS: Final = 64


class Allowance:
    """One token bucket a key, on any clock. Whoever was not seen lately has a full one."""

    def __init__(self, rate: Rate) -> None:
        self.rate: Final = rate
        self._buckets: dict[str, Bucket] = {}  # least recently used first

    def wait_s(self, key: str, now_s: float) -> float:
        """How long until there is something left for ``key``; 0 when there is."""
        return self._next(key, now_s)[1]

    def take(self, key: str, now_s: float) -> float:
        """Use one, and return 0; or how long to wait, with nothing used."""
        bucket, wait_s = self._next(key, now_s)
        if wait_s > 0:
            return wait_s
        self._buckets.pop(key, None)
        self._buckets[key] = bucket
        if len(self._buckets) > self.rate.keys_max:
            del self._buckets[next(iter(self._buckets))]
        return 0.0

    def _next(self, key: str, now_s: float) -> tuple[Bucket, float]:
        bucket = self._buckets.get(key) or Bucket(self.rate.burst, now_s)
        return bucket.take(now_s, self.rate.per_s, self.rate.burst)


def source_of(client: object) -> str:
    """The source that an ASGI scope's ``client`` is: an IPv4 address, a /64 of IPv6, or the Unix socket as a whole.

    Nothing that a caller writes, such as X-Forwarded-For, is believed: whoever forges webhooks forges that too.
    """
    host = client[0] if isinstance(client, tuple | list) and client else None
    if host is None:
        return "socket"
    try:
        address = ip_address(str(host))
    except ValueError:
        return str(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(ip_network((address.packed, IPV6_SOURCE_BITS), strict=False))  # one customer has that many
    return str(getattr(address, "ipv4_mapped", None) or address)
