"""An instance on a loopback port, in real time, and a receiver for its webhooks."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import h11
import trio

from syncd.simulator.instance import Instance, InstanceOptions
from syncd.simulator.main import run_simulator

DEADLINE_S = 20.0


@asynccontextmanager
async def served(*faults: str, incidents: int = 0, webhook_url: str = "") -> AsyncIterator[tuple[Instance, str]]:
    """Serve an instance; yields it and its ``host:port``."""
    options = InstanceOptions(incidents=incidents, faults=faults, webhook_url=webhook_url, webhook_secret="s3cret")
    instance = Instance(options, time.time, Random(1))
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            port = await nursery.start(run_simulator, instance, "127.0.0.1", 0)
            yield instance, f"127.0.0.1:{port}"
            nursery.cancel_scope.cancel()


@dataclass
class Receiver:
    """Answers every POST with ``status`` and keeps what came."""

    status: int = 202
    bodies: list[bytes] = field(default_factory=list)
    arrived: trio.Event = field(default_factory=trio.Event)

    async def converse(self, stream: trio.SocketStream) -> None:
        """Take one request of a connection and close it."""
        async with stream:
            http, body = h11.Connection(h11.SERVER), b""
            while not isinstance(event := http.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    http.receive_data(await stream.receive_some(65_536))
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.ConnectionClosed):
                    return
            self.bodies.append(body)
            self.arrived.set()
            headers = [("Content-Length", "0"), ("Connection", "close")]
            await stream.send_all(http.send(h11.Response(status_code=self.status, headers=headers)) or b"")


@asynccontextmanager
async def receiving(receiver: Receiver) -> AsyncIterator[str]:
    """Listen on a loopback port; yields the URL."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        await nursery.start(trio.serve_listeners, receiver.converse, listeners)
        yield f"http://127.0.0.1:{port}/hook"
        nursery.cancel_scope.cancel()
