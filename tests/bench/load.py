"""The load: many requests to one port from a process of its own, over raw sockets and one selector.

It reads a ``Job`` from standard input and prints what came of it. Closed loop (``rate`` 0): each connection sends its
next request when it has its answer. Paced: request k is due at k / rate, and a latency counts from when it was due, so
that a server that falls behind is not spared.
"""

import base64
import hmac
import selectors
import socket
import sys
import time
from collections.abc import Callable

import msgspec
from msgspec import Struct

ANSWER_S_MAX = 30.0


class Job(Struct, kw_only=True):
    """``kind`` webhook: signed, for the records ``names`` in turn. edit: a new title for the incidents ``names``.
    forward: unsigned, for the tools of the peer comparison.

    Ends after ``count`` requests, or ``seconds``. ``prefix`` makes titles and event ids of one job differ from others'.
    """

    port: int
    kind: str
    path: str = ""
    names: list[str] = []
    prefix: str = ""
    secret: str = ""
    connections: int = 16
    count: int = 10**9
    seconds: float = 60.0
    rate: float = 0.0
    method: str = "POST"


class Done(Struct):
    """``due_s``: Unix seconds at which each request was to leave; ``latencies_s``: from then to its whole answer."""

    seconds: float
    due_s: list[float]
    latencies_s: list[float]

    @property
    def rate(self) -> float:
        return len(self.latencies_s) / self.seconds


def request(method: str, path: str, body: bytes, *headers: str) -> bytes:
    """The bytes of one."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def webhook(job: Job, number: int) -> bytes:
    """What the business rule of `im integration webhook-script` sends: its keys, its signature."""
    name = job.names[number % len(job.names)]
    body = (
        f'{{"sys_id":"{name}","operation":"update","number":"INC0010023",'
        f'"short_description":"Checkout latency above SLO in eu-west-1, p99 4.2 s","state":"2","priority":"3",'
        f'"impact":"2","urgency":"2","assigned_to":"Beth Anglin","updated_on":"2026-11-23 17:58:11",'
        f'"updated_by":"beth.anglin","event_id":"{job.prefix}-{number}","instance_name":"bench"}}'
    ).encode()
    stamp = str(int(time.time()))
    signature = base64.b64encode(hmac.digest(job.secret.encode(), f"{stamp}.".encode() + body, "sha256")).decode()
    headers = (f"X-ServiceNow-Timestamp: {stamp}", f"X-ServiceNow-Signature: {signature}")
    return request(job.method, job.path, body, *headers)


def edit(job: Job, number: int) -> bytes:
    """A new title for an incident, over the API."""
    name = job.names[number % len(job.names)]
    return request("PATCH", f"/api/v1/incidents/{name}", f'{{"title":"{job.prefix}-{number}"}}'.encode())


def forward(job: Job, number: int) -> bytes:
    """What the tools of the peer comparison put to the peer as it is."""
    body = f'{{"sys_id":"{job.names[number % len(job.names)]}","short_description":"{job.prefix}-{number}"}}'
    return request("POST", job.path, body.encode())


class _Wire:
    """One connection, with the request that is under way on it."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due_s = 0.0
        self._received = b""

    def is_answered(self) -> bool:
        """Take what came; whether that completes a 2xx answer. Raises for any other."""
        came = self.socket.recv(65536)
        if not came:
            raise ConnectionError("the server closed a connection")
        self._received += came
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end:
            return False
        lower = head.lower()
        begin = lower.find(b"content-length:")
        if begin >= 0:
            if len(rest) < int(lower[begin + 15 :].split(b"\r\n", 1)[0]):
                return False
        elif b"chunked" in lower and not rest.endswith(b"0\r\n\r\n"):
            return False
        if not head.startswith(b"HTTP/1.1 2"):
            raise ConnectionError(self._received[:500].decode(errors="replace"))
        self._received = b""
        return True


def run(job: Job) -> Done:
    """Send, and wait for every answer."""
    made: Callable[[Job, int], bytes] = {"webhook": webhook, "edit": edit, "forward": forward}[job.kind]
    selector = selectors.DefaultSelector()
    idle = [_Wire(job.port) for _ in range(job.connections)]
    begun, begun_s = time.perf_counter(), time.time()
    due_s: list[float] = []
    latencies_s: list[float] = []
    number = 0

    def wants_more() -> bool:
        return number < job.count and time.perf_counter() - begun < job.seconds

    while wants_more() or len(latencies_s) < number:
        now = time.perf_counter() - begun
        while idle and wants_more() and (not job.rate or now >= number / job.rate):
            wire = idle.pop()
            wire.due_s = number / job.rate if job.rate else now
            wire.socket.sendall(made(job, number))
            selector.register(wire.socket, selectors.EVENT_READ, wire)
            number += 1
            now = time.perf_counter() - begun
        next_s = max(0.0, number / job.rate - now) if job.rate and idle and number < job.count else ANSWER_S_MAX
        ready = selector.select(next_s)
        if not ready and next_s == ANSWER_S_MAX and len(latencies_s) < number:
            raise TimeoutError(f"no answer within {ANSWER_S_MAX:g} s")
        for key, _ in ready:
            wire = key.data
            if wire.is_answered():
                latencies_s.append(time.perf_counter() - begun - wire.due_s)
                due_s.append(begun_s + wire.due_s)
                selector.unregister(wire.socket)
                idle.append(wire)
    return Done(time.perf_counter() - begun, due_s, latencies_s)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(run(msgspec.json.decode(sys.stdin.buffer.read(), type=Job))))
