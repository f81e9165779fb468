"""Which hosts and addresses we may talk to (contract section 4): one rule, for settings and for every connection.

Three kinds of host: this machine, an instance below service-now.com, and what the operator named in ``allowed_hosts``.
What a name may lead to depends on its kind, see ``address_fault``. Networks are listed here, and not taken from
``ipaddress.is_global``, whose answers differ between releases of Python.
"""

import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, Literal
from urllib.parse import urlsplit

from syncd.core.fields import shown

Kind = Literal["loopback", "allowed", "instance"]
Address = IPv4Address | IPv6Address

_HOST_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*"
)
_INSTANCE_DOMAIN: Final = ".service-now.com"
_LOOPBACK: Final = tuple(map(ip_network, ("127.0.0.0/8", "::1/128")))
_PRIVATE: Final = tuple(map(ip_network, ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))
_GLOBAL_V6: Final = ip_network("2000::/3")
_SPECIAL: Final = tuple(  # by IANA's registries: of one network, for documentation, tunnels, multicast, reserved
    map(
        ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
            *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
            *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
        ),
    )
)
# Where clouds answer their own machines with credentials, outside of the link-local range: never an instance.
_METADATA: Final = frozenset(map(ip_address, ("100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254")))
_NAT64: Final = ip_network("64:ff9b::/96")


def url_fault(url: str, allowed_hosts: Collection[str]) -> str | None:
    """Why ``url`` is not one that we may talk to; None when it is. What its name leads to is ``address_fault``'s."""
    shape = "write https://<instance>.service-now.com"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return f"{shown(url)} is not a URL; {shape}"
    if not url.isascii() or not url.isprintable() or any(letter in url for letter in " \\"):
        return f"has letters that do not belong in a URL; {shape}"
    if "@" in parts.netloc:
        return f"carries a user or password; put them into credentials, and {shape}"
    if parts.scheme not in {"http", "https"} or not host or not _is_whole(parts.netloc, host):
        return f"{shown(url)} is not an https URL; {shape}"
    if parts.path not in {"", "/"} or parts.query or parts.fragment or url.rstrip("/")[-1:] in "?#":
        return f"{shown(url)} has more than scheme and host; {shape}"
    if port == 0:
        return f"{shown(url)} has port 0, where nobody can listen; {shape}"
    kind = _kind(host, allowed_hosts)
    if kind == "loopback":
        return None
    if parts.scheme != "https":
        return f"{shown(url)} is not encrypted; write https (http is for this machine's own addresses only)"
    if kind == "allowed":
        return address_fault(host, host, allowed_hosts) if _literal(host) is not None else None
    if kind == "instance" and port in {None, 443}:
        return None
    return f"the host {host} is not *.service-now.com; {shape}, or add the host to INCIDENTS_ALLOWED_HOSTS"


def kept_form(url: str) -> str:
    """Scheme, host and port of a URL without fault, in the form that is kept: lower case, nothing behind it."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = "" if parts.port is None else f":{parts.port}"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def address_fault(host: str, address: str, allowed_hosts: Collection[str]) -> str | None:
    """Why a connection for ``host`` must not go to ``address``, a literal; None when it may.

    This machine's names lead to this machine, an instance to a public address. A host that the operator named may also
    be in a private network, but is never this machine, link-local, or where a cloud hands out credentials.
    """
    at = _plain(ip_address(address))
    match _kind(host, allowed_hosts):
        case "loopback":
            return None if _is_in(at, _LOOPBACK) else f"{host} leads to {address}, which is not this machine"
        case "instance":
            if _is_public(at):
                return None
            way_out = f"if that is meant, add {host} to INCIDENTS_ALLOWED_HOSTS"
            return f"{host} leads to {address}, which is not a public address; {way_out}"
        case "allowed":
            if _is_public(at) or (_is_in(at, _PRIVATE) and at not in _METADATA):
                return None
            if _is_in(at, _LOOPBACK):
                return f"{host} leads to {address}, which is this machine; if that is meant, write https://localhost"
            return f"{host} leads to {address}, where no server may be: neither a public nor a private address"
        case None:
            way_out = "add it there, or change base_url"
            return f"the host {host} is not *.service-now.com and not in INCIDENTS_ALLOWED_HOSTS; {way_out}"


def _kind(host: str, allowed_hosts: Collection[str]) -> Kind | None:
    literal = _literal(host)
    if host == "localhost" or (literal is not None and _is_in(literal, _LOOPBACK)):
        return "loopback"
    if host in allowed_hosts:
        return "allowed"
    return "instance" if _HOST_NAME.fullmatch(host) and host.endswith(_INSTANCE_DOMAIN) else None


def _literal(host: str) -> Address | None:
    """The address that a host is, in the one usual notation; None for a name and for every other notation."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return None if "%" in host else address


def _is_whole(netloc: str, host: str) -> bool:
    """Whether host and port are all there is: ``urlsplit`` passes over what stands behind a bracket."""
    name = f"[{host}]" if ":" in host else host
    return re.fullmatch(rf"{re.escape(name)}(?::[0-9]*)?", netloc.lower()) is not None


def _plain(address: Address) -> Address:
    """The IPv4 address inside of an IPv6 one, where the connection would end there."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _is_public(address: Address) -> bool:
    is_global = address.version == 4 or address in _GLOBAL_V6
    return is_global and not _is_in(address, _SPECIAL) and address not in _METADATA


def _is_in(address: Address, networks: tuple[object, ...]) -> bool:
    return any(address in network for network in networks)  # type: ignore[operator]
