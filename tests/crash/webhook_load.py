"""A process that sends webhooks as fast as they are taken, genuine and forged ones, and says what became of them.

`python -m tests.crash.webhook_load`: the order (``Load``) as JSON on standard input, the outcome (``Outcome``) as JSON
on standard output. Requests are signed before the first one leaves, so that the time is spent on sending.
"""

import base64
import hashlib
import hmac
import json
import sys

import msgspec
import trio
from msgspec import Struct

ANSWER_S_MAX = 10.0


class Load(Struct, frozen=True):
    """``genuine`` webhooks for the records in turn, and ``forged`` ones between them, over ``connections``."""

    port: int
    path: str
    secret: str
    records: list[str]
    genuine: int
    forged: int
    connections: int
    word: str


class Outcome(Struct):
    """Answers by status, for genuine and forged ones; ``accepted``: records with a 2xx; times in seconds."""

    genuine: dict[str, int] = {}
    forged: dict[str, int] = {}
    accepted: dict[str, int] = {}
    genuine_s: list[float] = []
    elapsed_s: float = 0.0


class Shot(Struct, frozen=True):
    """One request, ready to leave. ``record`` is empty for a forged one."""

    content: bytes
    record: str


def shots(load: Load) -> list[Shot]:
    """All requests, the forged ones spread evenly among the genuine ones."""
    made = []
    every = load.genuine + load.forged
    genuine = 0
    for number in range(every):
        is_genuine = (number + 1) * load.genuine // every > genuine
        record = load.records[genuine % len(load.records)]
        genuine += is_genuine
        change = {"sys_id": record, "event_id": f"{load.word}-{number}", "operation": "update"}
        body = json.dumps(change).encode()
        key = load.secret.encode() if is_genuine else b"somebody else's"
        signature = base64.b64encode(hmac.digest(key, body, hashlib.sha256)).decode()
        head = (
            f"POST {load.path} HTTP/1.1\r\nHost: 127.0.0.1:{load.port}\r\nContent-Type: application/json\r\n"
            f"X-ServiceNow-Signature: {signature}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        made.append(Shot(head.encode() + body, record if is_genuine else ""))
    return made


class Peer:
    """One connection, opened again when the daemon has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stream: trio.SocketStream | None = None

    async def ask(self, content: bytes) -> int:
        """Send a request and read its answer whole; its status."""
        if self._stream is None:
            self._stream = await trio.open_tcp_stream("127.0.0.1", self._port)
        await self._stream.send_all(content)
        answer = bytearray()
        while b"\r\n\r\n" not in answer:
            answer += await self._some()
        head, _, body = bytes(answer).partition(b"\r\n\r\n")
        lines = [line.partition(b":") for line in head.lower().split(b"\r\n")[1:]]
        headers = {name: value.strip() for name, _, value in lines}
        missing = int(headers[b"content-length"]) - len(body)
        while missing > 0:
            missing -= len(await self._some())
        if headers.get(b"connection") == b"close":
            await self._stream.aclose()
            self._stream = None
        return int(head.split(b" ", 2)[1])

    async def _some(self) -> bytes:
        assert self._stream is not None
        part = bytes(await self._stream.receive_some())
        if not part:
            raise ConnectionError("the daemon hung up without an answer")
        return part


async def send(load: Load) -> Outcome:
    """Everything, over so many connections at once; each sends its next one when the last is answered."""
    outcome, waiting = Outcome(), iter(shots(load))

    async def one_sender() -> None:
        peer = Peer(load.port)
        for shot in waiting:
            left_at = trio.current_time()
            with trio.fail_after(ANSWER_S_MAX):
                status = await peer.ask(shot.content)
            answers = outcome.genuine if shot.record else outcome.forged
            answers[str(status)] = answers.get(str(status), 0) + 1
            if shot.record:
                outcome.genuine_s.append(round(trio.current_time() - left_at, 4))
            if shot.record and 200 <= status < 300:
                outcome.accepted[shot.record] = outcome.accepted.get(shot.record, 0) + 1

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(load.connections):
            nursery.start_soon(one_sender)
    outcome.elapsed_s = trio.current_time() - began
    return outcome


if __name__ == "__main__":
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Load)
    sys.stdout.buffer.write(msgspec.json.encode(trio.run(send, order)))
