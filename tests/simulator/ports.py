"""An instance on a loopback port, in real time, TLS in front of it, and a receiver for its webhooks."""

import datetime as dt
import ipaddress
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import h11
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

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


def write_certificate(path: Path, host: str = "127.0.0.1", ends_in: dt.timedelta = dt.timedelta(days=1)) -> None:
    """Write the key and a certificate for ``host``, valid for a day and its own authority, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    subject = x509.IPAddress(ipaddress.ip_address(host)) if host[:1].isdigit() else x509.DNSName(host)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=2))
        .not_valid_after(now + ends_in)
        .add_extension(x509.SubjectAlternativeName([subject]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(secret + certificate.public_bytes(pem))


@asynccontextmanager
async def behind_tls(address: str, certificate: Path) -> AsyncIterator[str]:
    """Listen with TLS in front of a plain ``host:port``, for clients that accept nothing else; yields ``host:port``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    host, _, plain_port = address.partition(":")

    async def forward(secure: trio.SSLStream[trio.SocketStream]) -> None:
        plain = await trio.open_tcp_stream(host, int(plain_port))
        async with secure, plain, trio.open_nursery() as nursery:
            nursery.start_soon(pump, secure, plain, nursery.cancel_scope)
            nursery.start_soon(pump, plain, secure, nursery.cancel_scope)

    async with trio.open_nursery() as nursery:
        plain_listeners = await trio.open_tcp_listeners(0, host=host)
        port = plain_listeners[0].socket.getsockname()[1]
        await nursery.start(trio.serve_listeners, forward, [trio.SSLListener(one, context) for one in plain_listeners])
        yield f"{host}:{port}"
        nursery.cancel_scope.cancel()


async def pump(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream, both: trio.CancelScope) -> None:
    """Carry bytes one way until either end has gone; then the other way ends as well."""
    try:
        async for block in source:
            await sink.send_all(block)
    except trio.BrokenResourceError:
        pass
    both.cancel()
