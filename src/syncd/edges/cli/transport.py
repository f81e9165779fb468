"""One HTTP/1.1 exchange over a plain socket: the Unix socket of the daemon on this machine, or TCP to another one.

Owns where the daemon listens (``Endpoint``) and the bytes on the wire, each exchange on a connection of its own. It
exists because every HTTP client library costs more start-up time than a whole ``im`` command takes. It never interprets
a status or a body, and never tries twice: whether a request may be repeated is known only to the caller.
"""

import errno
import os
import select
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from urllib.parse import urlsplit

from msgspec import Struct

from syncd.errors import SyncdError

CONNECT_S_MAX = 5.0
HEAD_BYTES_MAX = 65_536
BODY_BYTES_MAX = 512 * 1024 * 1024  # 1000 incidents, the largest page, with the longest descriptions
_RECV_BYTES = 65_536
_NO_BODY = frozenset({204, 304})


OnPart = Callable[[int, bytes], None]


class WrongUsage(SyncdError):
    """The command line itself cannot be used; nothing was sent."""

    exit_code = 2


class Unreachable(SyncdError):
    """No answer. ``sent``: the request may have arrived, so it may have been done."""

    exit_code = 4

    def __init__(self, message: str, *, hint: str = "", sent: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.sent = sent


class Endpoint(Struct, frozen=True):
    """Where the daemon listens: ``socket_path``, or else ``host`` and ``port``. ``label`` is how messages call it."""

    label: str
    authority: str
    socket_path: str = ""
    host: str = ""
    port: int = 0
    tls: bool = False
    prefix: str = ""


class Answer(Struct, frozen=True):
    """``headers`` have lower-case names; a repeated header is joined by ``, ``."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes


def socket_endpoint(path: str) -> Endpoint:
    """The daemon on this machine; needs no token, the kernel vouches for the caller."""
    return Endpoint(label=path, authority="localhost", socket_path=path)


def server_endpoint(url: str) -> Endpoint:
    """Read ``http://host[:port][/prefix]`` or the https form; raises WrongUsage."""
    hint = "write it like https://incidents.example.com or http://127.0.0.1:8080"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise WrongUsage(f"--server {_shown(url)}: {error}", hint=hint) from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or not url.isascii() or not url.isprintable():
        raise WrongUsage(f"--server {_shown(url)} is not the URL of a daemon", hint=hint)
    if parts.username or parts.password or parts.query or parts.fragment or " " in url:
        raise WrongUsage(
            f"--server {_shown(url)} carries more than a host, a port and a path",
            hint=hint + "; a token goes to $INCIDENTS_TOKEN",
        )
    tls = parts.scheme == "https"
    return Endpoint(
        label=url,
        authority=parts.netloc,
        host=parts.hostname,
        port=port if port is not None else 443 if tls else 80,
        tls=tls,
        prefix=parts.path.rstrip("/"),
    )


def _shown(url: str) -> str:
    """The URL without what may be a secret: what stands before an ``@`` or behind a ``?``."""
    _, mark, rest = url.rpartition("@")
    return ("***@" if mark else "") + rest.partition("?")[0]


def exchange(
    endpoint: Endpoint,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes | None,
    *,
    answer_s_max: float,
    on_part: OnPart | None = None,
) -> Answer:
    """Send one request and read its whole answer within ``answer_s_max`` seconds; raises Unreachable.

    ``on_part`` gets the status, and each part of the body that comes in parts, as soon as it is there.
    """
    lines = [f"{method} {endpoint.prefix}{target} HTTP/1.1", f"Host: {endpoint.authority}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    request = "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")
    with _connect(endpoint) as connection:
        try:
            ends_at = time.monotonic() + answer_s_max
            connection.settimeout(answer_s_max)
            with suppress(BrokenPipeError, ConnectionResetError):  # the answer may be there all the same
                if endpoint.tls:
                    connection.sendall(request)
                else:
                    _send(connection, request, ends_at=ends_at)
            return _read_answer(_Reader(connection, ends_at=ends_at), on_part)
        except TimeoutError as error:
            raise Unreachable(f"{endpoint.label} did not answer within {answer_s_max:g} s", sent=True) from error
        except OSError as error:
            raise Unreachable(f"{endpoint.label} broke the connection off: {_words(error)}", sent=True) from error
        except ValueError as error:
            raise Unreachable(
                f"what listens at {endpoint.label} does not answer like syncd: {error}",
                hint="check --server and --socket",
                sent=True,
            ) from error


def _send(connection: socket.socket, request: bytes, *, ends_at: float) -> None:
    """Send all of it, or until an answer comes early: a refusal such as 413 does not wait for the body."""
    left = memoryview(request)
    while left:
        readable, _, _ = select.select([connection], [connection], [], max(0, ends_at - time.monotonic()))
        if readable:
            return
        left = left[connection.send(left) :]


def _connect(endpoint: Endpoint) -> socket.socket:
    """A connected socket; only the place can be wrong here, so every message says how to name another one."""
    elsewhere = "name its socket with --socket (or $INCIDENTS_SOCKET), or a remote one with --server"
    if not endpoint.socket_path:
        return _connect_tcp(endpoint)
    path = endpoint.socket_path
    if len(os.fsencode(path)) > 107:  # sun_path of Linux
        raise WrongUsage(
            f"--socket {path} is longer than the 107 bytes a Unix socket may have", hint="use a shorter path"
        )
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(CONNECT_S_MAX)
        connection.connect(path)
    except OSError as error:
        connection.close()
        if error.errno in {errno.EACCES, errno.EPERM}:
            hint = f"join the group that owns it (`ls -l {path}` shows which), or {elsewhere}"
            raise Unreachable(f"you may not open the daemon's socket {path}", hint=hint) from error
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ECONNREFUSED}:
            hint = f"start it with `syncd serve` (or `systemctl start syncd`), or {elsewhere}"
            raise Unreachable(f"no daemon listens at {path}", hint=hint) from error
        raise Unreachable(f"cannot reach the daemon at {path}: {_words(error)}", hint=elsewhere) from error
    return connection


def _connect_tcp(endpoint: Endpoint) -> socket.socket:
    hint = "check --server (or $INCIDENTS_SERVER), the network, and that the daemon runs"
    try:
        plain = socket.create_connection((endpoint.host, endpoint.port), timeout=CONNECT_S_MAX)
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"cannot reach {endpoint.label}: {_words(error)}", hint=hint) from error
    if not endpoint.tls:
        return plain
    import ssl  # 30 ms that the local socket must not pay

    try:
        return ssl.create_default_context().wrap_socket(plain, server_hostname=endpoint.host)
    except OSError as error:
        plain.close()
        raise Unreachable(f"no TLS with {endpoint.label}: {_words(error)}", hint="check its certificate") from error


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class _Reader:
    """Bytes of one connection, each wait cut off at the common deadline."""

    def __init__(self, connection: socket.socket, *, ends_at: float) -> None:
        self._connection = connection
        self._ends_at = ends_at
        self._held = bytearray()

    def _more(self) -> bool:
        """False at the end of the stream."""
        remaining_s = self._ends_at - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError
        self._connection.settimeout(remaining_s)
        block = self._connection.recv(_RECV_BYTES)
        self._held += block
        return bool(block)

    def until(self, mark: bytes, bytes_max: int) -> bytes:
        """Everything before ``mark``, which is taken too."""
        searched = 0
        while (at := self._held.find(mark, searched)) < 0:
            if len(self._held) > bytes_max:
                raise ValueError(f"its header is longer than {bytes_max} bytes")
            searched = max(0, len(self._held) - len(mark))
            if not self._more():
                raise ConnectionError("closed before the answer was complete")
        taken = bytes(self._held[:at])
        del self._held[: at + len(mark)]
        return taken

    def exactly(self, count: int) -> bytes:
        while len(self._held) < count:
            if not self._more():
                raise ConnectionError("closed before the answer was complete")
        taken = bytes(self._held[:count])
        del self._held[:count]
        return taken

    def rest(self) -> bytes:
        while self._more():
            if len(self._held) > BODY_BYTES_MAX:
                raise ValueError(f"its answer is longer than {BODY_BYTES_MAX} bytes")
        return bytes(self._held)


def _read_answer(reader: _Reader, on_part: OnPart | None = None) -> Answer:
    while True:
        first, *lines = reader.until(b"\r\n\r\n", HEAD_BYTES_MAX).decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        code, _, reason = rest.partition(" ")
        if not version.startswith("HTTP/1.") or len(code) != 3 or not code.isdecimal():
            raise ValueError(f"it begins with {first[:40]!r}")
        status = int(code)
        if status >= 200:  # 1xx announces, the answer follows
            break
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        key = name.strip().lower()
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    return Answer(status, reason, headers, _read_body(reader, status, headers, on_part))


def _read_body(reader: _Reader, status: int, headers: Mapping[str, str], on_part: OnPart | None) -> bytes:
    if status in _NO_BODY:
        return b""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return _read_chunks(reader, (lambda part: on_part(status, part)) if on_part is not None else None)
    if (length := headers.get("content-length")) is None:
        return reader.rest()
    if not length.isdecimal() or int(length) > BODY_BYTES_MAX:
        raise ValueError(f"its Content-Length is {length[:40]!r}")
    return reader.exactly(int(length))


def _read_chunks(reader: _Reader, on_part: Callable[[bytes], None] | None) -> bytes:
    body = bytearray()
    while size := int(reader.until(b"\r\n", HEAD_BYTES_MAX).partition(b";")[0], 16):
        if size < 0 or len(body) + size > BODY_BYTES_MAX:
            raise ValueError(f"its answer is longer than {BODY_BYTES_MAX} bytes")
        body += (part := reader.exactly(size))
        reader.until(b"\r\n", 2)
        if on_part is not None:
            on_part(part)
    while reader.until(b"\r\n", HEAD_BYTES_MAX):  # trailers, up to the empty line
        pass
    return bytes(body)
