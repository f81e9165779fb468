"""The real way out to ServiceNow: TLS that is always verified, and connections to allowed addresses only.

Owns the look-up of host names: each address is judged (``core/reach.py``) where it is about to be used, and exactly
that address is connected to, so a resolver that answers differently the next time changes nothing. TLS and ``Host``
keep the name. Reads no environment. Makes no request of its own.
"""

import math
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterable
from functools import partial
from pathlib import Path
from typing import Final

import certifi
import httpcore
import httpx
import trio

from syncd.core.reach import address_fault
from syncd.errors import BadConfig

KEEP_ALIVE_S: Final = 5.0
LOOKUPS_MAX: Final = 2
ADDRESSES_TOLD_MAX: Final = 3

Resolve = Callable[[str], Awaitable[list[str]]]


class SystemNet:
    """Sockets, with one TLS context for all integrations: building one costs up to 100 ms of CPU.

    ``network`` opens the connections, ``resolve`` finds the addresses of a name; both are the system's by default.
    """

    def __init__(
        self,
        tls: ssl.SSLContext,
        allowed_hosts: Collection[str],
        *,
        network: httpcore.AsyncNetworkBackend | None = None,
        resolve: Resolve | None = None,
    ) -> None:
        self._tls = tls
        self._allowed_hosts = allowed_hosts
        self._network = network or httpcore.TrioBackend()
        self._resolve = resolve

    def transport(self, max_connections: int) -> httpx.AsyncBaseTransport:
        """A transport of its own, to be closed by the caller."""
        checked = CheckedNetwork(self._allowed_hosts, self._network, self._resolve or SystemResolver())
        return _Transport(self._tls, max_connections, checked)


def tls_context() -> ssl.SSLContext:
    """Verifies certificate and name, TLS 1.2 or newer, whatever the environment says. Reads files: run it in a thread.

    Trusts whom the machine trusts; on a machine without such a list, Mozilla's, which comes along as ``certifi``.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not create_default_context: that one obeys SSLKEYLOGFILE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    paths = ssl.get_default_verify_paths()  # ``cafile`` and ``capath`` obey the environment, these two do not
    bundle, folder = Path(paths.openssl_cafile), Path(paths.openssl_capath)
    cafile = bundle if bundle.is_file() else None
    capath = folder if any(folder.glob("*.0")) else None
    if cafile is None and capath is None:
        cafile = Path(certifi.where())
    try:
        context.load_verify_locations(cafile, capath)
    except OSError as error:
        raise BadConfig(
            f"the certificates of authorities in {cafile} cannot be read: {error}",
            hint="have the system make the file anew, such as with update-ca-certificates",
        ) from error
    return context


class SystemResolver:
    """The system's own look-up, in threads of its own: a resolver that hangs must not use up those of the journal."""

    def __init__(self) -> None:
        self._threads = trio.CapacityLimiter(LOOKUPS_MAX)

    async def __call__(self, host: str) -> list[str]:
        """The addresses of a host, in the system's order of preference; ``OSError`` when there are none."""
        look_up = partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
        found = await trio.to_thread.run_sync(look_up, abandon_on_cancel=True, limiter=self._threads)
        return [str(address[0]) for *_, address in found]


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Looks a host up, leaves out what is not allowed for it, and tries the rest in order."""

    def __init__(self, allowed_hosts: Collection[str], network: httpcore.AsyncNetworkBackend, resolve: Resolve) -> None:
        self._allowed_hosts = allowed_hosts
        self._network = network
        self._resolve = resolve

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection within ``timeout``, shared among the addresses; ``httpcore.ConnectError`` says what it met."""
        deadline = trio.current_time() + (math.inf if timeout is None else timeout)
        addresses = await self._allowed(host, deadline)
        failures = []
        for number, address in enumerate(addresses):
            share_s = (deadline - trio.current_time()) / (len(addresses) - number)
            try:
                return await self._network.connect_tcp(address, port, max(0.0, share_s), local_address, socket_options)
            except httpcore.ConnectTimeout:
                failures.append(f"{address} does not answer")
            except httpcore.ConnectError as error:
                failures.append(f"{address}: {_cause(error)}")
        raise httpcore.ConnectError(f"{host} at {'; '.join(failures[:ADDRESSES_TOLD_MAX])}")

    async def _allowed(self, host: str, deadline: float) -> list[str]:
        """The addresses of a host that may be connected to, at least one."""
        found, failure = [], ""
        with trio.move_on_at(deadline) as looking:
            try:
                found = await self._resolve(host)
            except (OSError, UnicodeError) as error:
                failure = f"the name {host} has no address: {getattr(error, 'strerror', None) or error}"
        if looking.cancelled_caught:
            raise httpcore.ConnectTimeout(f"the look-up of the name {host} takes too long")
        faults = {address: address_fault(host, address, self._allowed_hosts) for address in dict.fromkeys(found)}
        allowed = [address for address, fault in faults.items() if fault is None]
        if not allowed:
            refused = next((fault for fault in faults.values() if fault is not None), "")
            raise httpcore.ConnectError(refused or failure or f"the name {host} has no address")
        return allowed


class _Transport(httpx.AsyncHTTPTransport):
    """httpx's transport over a pool of our own: among its parameters there is none for a network."""

    def __init__(self, tls: ssl.SSLContext, max_connections: int, network: httpcore.AsyncNetworkBackend) -> None:
        # Without ``super().__init__``, which would make a pool that checks nothing. Should httpx ever rename ``_pool``,
        # no request gets out at all.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=max_connections,
            max_keepalive_connections=max_connections,
            keepalive_expiry=KEEP_ALIVE_S,
            network_backend=network,
        )


def _cause(error: BaseException) -> str:
    """The innermost words, such as "Connection refused": what stands around them says less."""
    inner = error.__cause__
    while inner is not None:
        error = inner.exceptions[0] if isinstance(inner, BaseExceptionGroup) else inner
        inner = error.__cause__
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
