"""What a web page could make a browser send: a name that is not ours, and changes on behalf of another site.

The whole requests are on the wire here, since half of the tricks end in the parser.
"""

import msgspec

from syncd.edges.api.gate import Gate
from tests.edges.api.daemon import BODY, Daemon, running
from tests.edges.api.doors import Door, open_door

LIST = "/api/v1/incidents"
ORIGIN = "http://localhost:8080"

OURS = [
    *("localhost", "LOCALHOST", "LocalHost:8080", "localhost:8080", "localhost:80", "localhost:65535", " localhost "),
    *("127.0.0.1", "127.0.0.1:8080", "127.0.0.1:9999", "[::1]", "[::1]:8080", "[::1]:9"),
    *("sync.example.org", "SYNC.Example.ORG", "sync.example.org:443", "sync.example.org:8443"),
]
FOREIGN = [
    # names that a page's owner can point at this machine
    *("evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.1.nip.io"),
    *("7f000001.nip.io", "localtest.me", "sync.example.org.evil.example", "evilsync.example.org", "example.org"),
    # the same machine by a name that nobody gave it
    *("localhost.", "127.0.0.1.", "sync.example.org.", "localhost.localdomain", "ip6-localhost"),
    # other ways to write an address
    *("127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001", "127.000.000.001"),
    *("127.0.0.2", "0.0.0.0", "0", "10.0.0.1:8080"),
    *("[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:0:0:1]", "[0000::1]", "[fe80::1]", "[fe80::1%25lo]"),
    *("::1", "::1:8080", "[::1", "::1]", "[127.0.0.1]", "[localhost]", "[]"),
    # what is no host and port
    *("localhost:", "localhost:0x50", "localhost:65536", "localhost:99999", "localhost:80:80", "localhost:-1"),
    *("localhost:+80", "", ":8080", "user@localhost", "localhost@evil.example", "localhost/", "http://localhost"),
    *("localhost, evil.example", "localhost evil.example", "localhost#x", "localhost?x", "local%68ost", "*", "null"),
    *("localhost\\@evil.example", "localhost\x80", "ｌocalhost", "localhost;x"),
]


def head(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode()


def declaration(*lines: str) -> bytes:
    body = msgspec.json.encode(BODY)
    return head("POST", LIST, "Content-Type: application/json", f"Content-Length: {len(body)}", *lines) + body


async def status(door: Door, request: bytes) -> int:
    """The answer of a connection of its own."""
    caller = door.dial()
    await caller.send(request)
    found = (await caller.answer()).status
    await caller.hang_up()
    return found


async def declared(daemon: Daemon) -> int:
    return len((await daemon.socket.get(LIST, params={"limit": "1000"})).json())


async def test_every_name_of_ours_is_served_and_no_other() -> None:
    assert len(OURS) + len(FOREIGN) >= 60
    async with running(auth="none") as daemon, open_door(Gate(daemon.api)) as door:
        for host in OURS:
            assert await status(door, declaration(f"Host: {host}")) == 201, host
        for host in FOREIGN:
            assert await status(door, head("GET", LIST, f"Host: {host}")) == 421, host
            assert await status(door, declaration(f"Host: {host}")) == 421, host
        assert await declared(daemon) == len(OURS)


async def test_health_and_webhooks_are_called_by_any_name() -> None:
    async with running() as daemon, open_door(Gate(daemon.api)) as door:
        foreign = ("Sec-Fetch-Site: cross-site", "Origin: https://evil.example")
        for host in FOREIGN:
            for path in ("/health", "/ready"):
                assert await status(door, head("GET", path, f"Host: {host}", *foreign)) == 200, host
            hook = head("POST", "/api/v1/webhooks/x", f"Host: {host}", "Content-Length: 2", *foreign) + b"{}"
            assert await status(door, hook) == 401, host  # for want of a signature


WIRE = [
    (head("GET", LIST), 400),
    (head("GET", LIST, "Host: localhost", "Host: evil.example"), 400),
    (head("GET", LIST, "Host: localhost", "Host: localhost"), 400),
    (head("GET", LIST, "Host : localhost"), 400),
    (head("GET", f"http://localhost{LIST}", "Host: localhost"), 400),
    (head("GET", f"http://localhost{LIST}", "Host: evil.example"), 400),
    (head("GET", f"http://evil.example{LIST}", "Host: localhost"), 400),
    (head("GET", f"//evil.example{LIST}", "Host: localhost"), 404),
    (head("GET", f"localhost{LIST}", "Host: localhost"), 400),
    (f"GET {LIST} HTTP/1.0\r\n\r\n".encode(), 421),
    (f"GET {LIST} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode(), 200),
    (head("GET", LIST, "Host: evil.example", "X-Forwarded-Host: localhost"), 421),
    (head("GET", LIST, "Host: evil.example", "Forwarded: host=localhost"), 421),
    (head("GET", LIST, "Host: evil.example", "X-Host: localhost", "X-Original-Host: localhost"), 421),
    (head("GET", LIST, "Host: localhost", "X-Forwarded-Host: evil.example"), 200),
    (head("GET", "/api/v1/nothing", "Host: evil.example"), 421),
    (head("OPTIONS", LIST, "Host: evil.example"), 421),
]


async def test_there_is_one_host_name_and_it_is_in_the_host_header() -> None:
    async with running(auth="none") as daemon, open_door(Gate(daemon.api)) as door:
        for request, expected in WIRE:
            assert await status(door, request) == expected, request


async def test_an_address_in_public_url_is_ours_in_brackets() -> None:
    async with running(auth="none", public_host="2001:db8::1") as daemon, open_door(Gate(daemon.api)) as door:
        assert await status(door, head("GET", LIST, "Host: [2001:DB8::1]:8080")) == 200
        assert await status(door, head("GET", LIST, "Host: 2001:db8::1")) == 421


async def test_the_socket_is_called_by_any_name_and_still_not_by_a_page() -> None:
    async with running() as daemon:
        for host in FOREIGN[:20]:
            assert (await daemon.socket.get(LIST, headers={"Host": host})).status_code == 200
        cross = {"Host": "localhost", "Sec-Fetch-Site": "cross-site"}
        assert (await daemon.socket.post(LIST, json=BODY, headers=cross)).status_code == 403


ALLOWED = [
    *([], [f"Origin: {ORIGIN}"], ["Origin: https://localhost:8080"], ["Origin: HTTP://LOCALHOST:8080"]),
    *(["Sec-Fetch-Site: same-origin"], ["Sec-Fetch-Site: none"], ["Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"]),
    *([f"Origin: {ORIGIN}", "Sec-Fetch-Site: same-origin"], ["Referer: https://evil.example/"]),
]
REFUSED = [
    # another site, by the browser's word
    *(
        ["Sec-Fetch-Site: cross-site"],
        ["Sec-Fetch-Site: same-site"],
        [f"Origin: {ORIGIN}", "Sec-Fetch-Site: same-site"],
    ),
    *([f"Origin: {ORIGIN}", "Sec-Fetch-Site: cross-site"], ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"]),
    # no word that a browser would say
    *(["Sec-Fetch-Site: Same-Origin"], ["Sec-Fetch-Site:"], ["Sec-Fetch-Site: same-origin, none"]),
    *(["Sec-Fetch-Site: ?1"], ['Sec-Fetch-Site: "none"']),
    # another origin: host, port, subdomain, or none that may be told
    *(["Origin: https://evil.example"], ["Origin: http://evil.example:8080"], ["Origin: null"], ["Origin:"]),
    *(["Origin: http://localhost:9999"], ["Origin: http://localhost"], ["Origin: http://127.0.0.1:8080"]),
    *(["Origin: http://[::1]:8080"], ["Origin: http://sync.example.org"], ["Origin: http://x.localhost:8080"]),
    *(["Origin: http://localhost:8080.evil.example"], ["Origin: http://localhost.evil.example:8080"]),
    *(["Origin: http://localhost.:8080"], ["Origin: http://localhost:08080"]),
    *(["Origin: https://evil.example", "Sec-Fetch-Site: same-origin"], ["Origin: null", "Sec-Fetch-Site: none"]),
    # what is no origin
    *(["Origin: localhost:8080"], ["Origin: //localhost:8080"], ["Origin: ftp://localhost:8080"], ["Origin: *"]),
    *(["Origin: http://localhost:8080/"], ["Origin: http://localhost:8080/x"], ["Origin: http://user@localhost:8080"]),
    *([f"Origin: {ORIGIN} {ORIGIN}"], [f"Origin: {ORIGIN}, https://evil.example"], ["Origin: http://[oops"]),
    *(["Origin: chrome-extension://localhost:8080"], ["Origin: file://"], ["Origin: http:localhost:8080"]),
]
REPEATED = [
    [f"Origin: {ORIGIN}", "Origin: https://evil.example"],
    [f"Origin: {ORIGIN}", f"Origin: {ORIGIN}"],
    ["Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"],
]


async def test_a_page_of_another_site_changes_nothing() -> None:
    assert len(ALLOWED) + len(REFUSED) + len(REPEATED) >= 40
    host = "Host: localhost:8080"
    async with running(auth="none") as daemon, open_door(Gate(daemon.api)) as door:
        for expected, table in {201: ALLOWED, 403: REFUSED, 400: REPEATED}.items():
            for lines in table:
                assert await status(door, declaration(host, *lines)) == expected, lines
                assert await status(door, head("GET", LIST, host, *lines)) == 200, lines
        assert await declared(daemon) == len(ALLOWED)


async def test_every_method_that_changes_something_is_kept_from_other_sites() -> None:
    async with running(auth="none") as daemon:
        made = await daemon.configure(handle="prod")
        cross = {"Host": "localhost:8080", "Origin": "https://evil.example"}
        for method in ("POST", "PATCH", "PUT", "DELETE", "TRACE", "UNHEARD"):
            answer = await daemon.http.request(method, f"/api/v1/integrations/{made['id']}", headers=cross)
            assert answer.status_code == 403, method
            assert "access-control-allow-origin" not in answer.headers
        assert (await daemon.http.get(f"/api/v1/integrations/{made['id']}", headers=cross)).status_code == 200
