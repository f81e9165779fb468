"""Hosts and addresses: nothing but instances, this machine and what the operator named, in settings and on the wire."""

from ipaddress import ip_address
from typing import Final

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.reach import address_fault, kept_form, url_fault

ALLOWED: Final = ("snow.corp.example", "10.1.2.3", "fd12::5", "169.254.10.1", "dev9.service-now.com", "127.1")
INSTANCE: Final = "dev1.service-now.com"

HOSTILE: Final = [
    # other schemes
    "http://dev1.service-now.com",
    "HTTP://dev1.service-now.com",
    "ftp://dev1.service-now.com",
    "file:///etc/passwd",
    "gopher://dev1.service-now.com",
    "javascript://dev1.service-now.com",
    "dev1.service-now.com",
    "//dev1.service-now.com",
    "https:dev1.service-now.com",
    "https:///dev1.service-now.com",
    "https://",
    "",
    # user info
    "https://dev1.service-now.com@evil.example",
    "https://evil.example@dev1.service-now.com",
    "https://user:pw@dev1.service-now.com",
    "https://@dev1.service-now.com",
    "https://dev1.service-now.com:443@evil.example",
    "https://dev1.service-now.com%40evil.example",
    # names that only look like an instance
    "https://service-now.com",
    "https://.service-now.com",
    "https://xservice-now.com",
    "https://dev1.service-now.com.evil.example",
    "https://dev1.service-now.com.",
    "https://dev1..service-now.com",
    "https://-dev1.service-now.com",
    "https://dev1-.service-now.com",
    "https://dev_1.service-now.com",
    "https://*.service-now.com",
    "https://dev1.service-now.co",
    "https://dev1.service-now.comm",
    "https://dev1.servicenow.com",
    "https://dev1%2eservice-now.com",
    "https://evil.example%2f.service-now.com",
    "https://evil.example%00.service-now.com",
    f"https://{'a' * 64}.service-now.com",
    f"https://{'a.' * 130}service-now.com",
    # letters that look alike, and letters that parsers disagree about
    "https://dev1.servіce-now.com",  # a Cyrillic i
    "https://dev1。service-now.com",  # an ideographic full stop
    "https://dev1.service-now.com／@evil.example",  # a full-width slash
    "https://ⓔvil.service-now.com",
    "https://dev1.service-now.com\\@evil.example",
    "https://evil.example\\.service-now.com",
    "https://dev1.service-now.com\n.evil.example",
    "https://dev1.service-now.com\t",
    " https://dev1.service-now.com",
    "https://evil.example .service-now.com",
    "https://dev1.service-now.com\0.evil.example",
    # more than scheme and host
    "https://dev1.service-now.com/path",
    "https://dev1.service-now.com//evil.example",
    "https://dev1.service-now.com?q=1",
    "https://dev1.service-now.com?",
    "https://dev1.service-now.com#fragment",
    "https://evil.example#.service-now.com",
    "https://evil.example?.service-now.com",
    "https://evil.example/.service-now.com",
    "https://dev1.service-now.com;evil.example",
    # ports
    "https://dev1.service-now.com:8443",
    "https://dev1.service-now.com:80",
    "https://dev1.service-now.com:0",
    "https://dev1.service-now.com:99999",
    "https://dev1.service-now.com:-1",
    "https://dev1.service-now.com:443:443",
    "https://dev1.service-now.com:４４３",  # full-width digits
    # IPv4 in all its notations, and what must not be reached there
    "https://10.0.0.1",
    "https://169.254.169.254",
    "http://169.254.169.254",
    "https://169.254.10.1",  # although the operator named it: no server may be there
    "https://8.8.8.8",
    "https://0.0.0.0",
    "https://2130706433",
    "http://2130706433",
    "http://0x7f000001",
    "http://0x7f.0.0.1",
    "http://017700000001",
    "http://0177.0.0.1",
    "http://127.1",
    "http://127.0.1",
    "http://127.0.0.01",
    "http://127.0.0.1.",
    "http://127.0.0.256",
    "http://127.0.0.1.evil.example",
    "http://１２７.0.0.1",
    # IPv6
    "http://[::]",
    "http://[::ffff:127.0.0.1]",
    "https://[::ffff:169.254.169.254]",
    "https://[::ffff:a9fe:a9fe]",
    "http://[::1%25lo]",
    "http://[::1%lo]",
    "http://[::1]evil.example",
    "http://[::1].evil.example",
    "http://[::1",
    "http://::1",
    "https://[fe80::1]",
    "https://[fd00:ec2::254]",
    "https://[64:ff9b::7f00:1]",
    "https://[v1.dev1.service-now.com]",
    # names of this machine, and of others
    "http://localhost.",
    "http://localhost.localdomain",
    "http://localhost.evil.example",
    "http://LOCALHOST.evil.example",
    "http://ip6-localhost",
    "http://snow.corp.example",
    "https://a.snow.corp.example",
    "https://snow.corp.example.evil.example",
    "https://snow.corp.example.",
    "https://metadata.google.internal",
]


def test_there_are_sixty_hostile_addresses_all_different() -> None:
    assert len(set(HOSTILE)) == len(HOSTILE) >= 60


@pytest.mark.parametrize("url", HOSTILE, ids=ascii)
def test_a_hostile_address_is_refused_with_a_reason_and_a_way_out(url: str) -> None:
    fault = url_fault(url, ALLOWED)
    assert fault is not None
    assert "evil" not in fault or "evil" in url
    assert any(way_out in fault for way_out in ("write https", "INCIDENTS_ALLOWED_HOSTS", "no server may be"))


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://dev1.service-now.com", "https://dev1.service-now.com"),
        ("HTTPS://Dev1.Service-Now.com/", "https://dev1.service-now.com"),
        ("https://dev1.service-now.com:443", "https://dev1.service-now.com:443"),
        ("https://dev1.service-now.com:", "https://dev1.service-now.com"),
        ("https://a.b.service-now.com", "https://a.b.service-now.com"),
        ("https://snow.corp.example:8443", "https://snow.corp.example:8443"),
        ("https://10.1.2.3", "https://10.1.2.3"),
        ("https://[fd12::5]:444", "https://[fd12::5]:444"),
        ("https://127.1", "https://127.1"),  # named by the operator; what it leads to is judged at connect time
        ("http://localhost:8081", "http://localhost:8081"),
        ("https://LocalHost", "https://localhost"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://[::1]:9", "http://[::1]:9"),
    ],
)
def test_an_address_that_is_allowed_is_kept_in_one_form(url: str, kept: str) -> None:
    assert url_fault(url, ALLOWED) is None
    assert kept_form(url) == kept
    assert kept_form(kept) == kept


pieces = st.sampled_from(
    [
        *("https://", "http://", "localhost", "127.0.0.1", "[::1]", INSTANCE, "snow.corp.example", "evil.example"),
        *(*".:@/\\?#%[]-4 \n\0", "443", "xn--", "%2e", "ａ"),
    ]
)


@given(st.lists(pieces, min_size=1, max_size=6).map("".join))
def test_what_is_kept_leads_the_http_client_to_the_host_that_was_judged(url: str) -> None:
    if url_fault(url, ALLOWED) is not None:
        return
    request = httpx.Request("GET", f"{kept_form(url)}/api/now/v2/table/incident")
    host = request.url.raw_host.decode("ascii")
    assert host in {"localhost", "127.0.0.1", "::1", *ALLOWED} or host.endswith(".service-now.com")
    assert request.url.raw_path == b"/api/now/v2/table/incident"
    assert request.url.userinfo == b""


PUBLIC: Final = [
    "8.8.8.8",
    "149.96.1.1",
    "1.1.1.1",
    "2606:4700::1",
    "2a00:1450::1",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]
PRIVATE: Final = [
    "10.0.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "fd12::1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
]
LOOPBACK: Final = ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1"]
NOWHERE: Final = [
    *("0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.1.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1"),
    *("198.51.100.1", "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
    *("100.100.100.200", "168.63.129.16", "::", "::127.0.0.1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1"),
    *("fd00:ec2::254", "fd20:ce::254", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "100::1", "5f00::1"),
    *("64:ff9b:1::a00:1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"),
]


@pytest.mark.parametrize("address", [*PUBLIC, *PRIVATE, *LOOPBACK, *NOWHERE])
def test_a_name_leads_to_addresses_of_its_kind_only(address: str) -> None:
    assert (address_fault(INSTANCE, address, ALLOWED) is None) == (address in PUBLIC)
    assert (address_fault("snow.corp.example", address, ALLOWED) is None) == (address in PUBLIC + PRIVATE)
    assert (address_fault("localhost", address, ALLOWED) is None) == (address in LOOPBACK)
    assert address_fault("evil.example", address, ALLOWED) is not None


def test_an_instance_that_the_operator_named_may_be_in_a_private_network() -> None:
    assert address_fault("dev9.service-now.com", "10.0.0.1", ALLOWED) is None
    assert address_fault("dev9.service-now.com", "127.0.0.1", ALLOWED) is not None


@pytest.mark.parametrize(
    ("host", "way_out"),
    [
        (INSTANCE, f"add {INSTANCE} to INCIDENTS_ALLOWED_HOSTS"),
        ("snow.corp.example", "write https://localhost"),
        ("evil.example", "add it there, or change base_url"),
    ],
)
def test_a_refused_address_is_named_with_its_host_and_the_way_out(host: str, way_out: str) -> None:
    fault = address_fault(host, "127.0.0.1", ALLOWED)
    assert fault is not None
    assert host in fault
    assert way_out in fault
    assert "127.0.0.1" in fault or host == "evil.example"


@given(st.one_of(st.integers(0, 2**32 - 1), st.integers(0, 2**128 - 1)).map(ip_address))
def test_every_address_is_judged_and_an_instance_is_never_somewhere_special(address: object) -> None:
    at = ip_address(str(address))
    if address_fault(INSTANCE, str(at), ()) is None:
        assert at.is_global
        assert not any((at.is_loopback, at.is_link_local, at.is_multicast, at.is_unspecified, at.is_reserved))
