"""HTTP/1.1 over a plain socket: the Unix socket of the daemon on this machine, or TCP to another one.

Owns where the daemon listens (``Endpoint``) and the bytes on the wire: one exchange, or one answer that goes on and on
(``Stream``), each on a connection of its own. It
exists because every HTTP client library costs more start-up time than a whole ``im`` command takes. It never interprets
a status or a body, and never tries twice: whether a request may be repeated is known only to the caller.
"""

import errno
import os
import select
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self
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
    request = _request(endpoint, method, target, headers, body)
    try:
        with _connect(endpoint) as connection, _as_unreachable(endpoint, answer_s_max):
            reader = _Reader(connection, within_s=answer_s_max)
            _send(connection, request, is_tls=endpoint.tls, within_s=answer_s_max)
            status, reason, found = _read_head(reader)
            return Answer(status, reason, found, _read_body(reader, status, found, on_part))
    except _ListenerFailedError as failed:
        raise failed.error from failed


class _ListenerFailedError(Exception):
    """Whoever gets the parts could not take one: their trouble, and none of the wire."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error


class Stream:
    """A GET whose answer goes on and on, line by line. Use it in a ``with`` block.

    ``answer``: the head; with a status other than 200, the body too. Raises Unreachable, here and from ``lines``, also
    when nothing came for ``silence_s_max`` seconds.
    """

    def __init__(self, endpoint: Endpoint, target: str, headers: Mapping[str, str], *, silence_s_max: float) -> None:
        self._endpoint = endpoint
        self._silence_s_max = silence_s_max
        self._connection = _connect(endpoint)
        try:
            with _as_unreachable(endpoint, silence_s_max):
                self._reader = _Reader(self._connection, within_s=silence_s_max)
                request = _request(endpoint, "GET", target, headers, None)
                _send(self._connection, request, is_tls=endpoint.tls, within_s=silence_s_max)
                status, reason, found = _read_head(self._reader)
                body = b"" if status == 200 else _read_body(self._reader, status, found, None)
        except BaseException:
            self._connection.close()
            raise
        self.answer = Answer(status, reason, found, body)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def lines(self) -> Iterator[str]:
        """Each whole line of the body, without its end, until the body ends."""
        is_chunked = self.answer.headers.get("transfer-encoding", "").lower() == "chunked"
        pieces = _chunks(self._reader) if is_chunked else self._reader.blocks()
        begun = b""
        while True:
            self._reader.again(self._silence_s_max)
            with _as_unreachable(self._endpoint, self._silence_s_max):
                piece = next(pieces, None)
            if piece is None:
                return
            *whole, begun = (begun + piece).split(b"\n")
            for line in whole:
                yield line.decode("utf-8", "replace")


def _request(endpoint: Endpoint, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    lines = [f"{method} {endpoint.prefix}{target} HTTP/1.1", f"Host: {endpoint.authority}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


@contextmanager
def _as_unreachable(endpoint: Endpoint, within_s: float) -> Iterator[None]:
    """Whatever goes wrong on the wire, in words."""
    try:
        yield
    except TimeoutError as error:
        raise Unreachable(f"{endpoint.label} did not answer within {within_s:g} s", sent=True) from error
    except OSError as error:
        raise Unreachable(f"{endpoint.label} broke the connection off: {_words(error)}", sent=True) from error
    except ValueError as error:
        raise Unreachable(
            f"what listens at {endpoint.label} does not answer like syncd: {error}",
            hint="check --server and --socket",
            sent=True,
        ) from error


def _send(connection: socket.socket, request: bytes, *, is_tls: bool, within_s: float) -> None:
    """Send all of it, or until an answer comes early: a refusal such as 413 does not wait for the body."""
    ends_at = time.monotonic() + within_s
    connection.settimeout(within_s)
    with suppress(BrokenPipeError, ConnectionResetError):  # the answer may be there all the same
        if is_tls:
            connection.sendall(request)
            return
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

    def __init__(self, connection: socket.socket, *, within_s: float) -> None:
        self._connection = connection
        self._held = bytearray()
        self.again(within_s)

    def again(self, within_s: float) -> None:
        """A new deadline, from now."""
        self._ends_at = time.monotonic() + within_s

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

    def blocks(self) -> Iterator[bytes]:
        """Whatever comes, as it comes, to the end of the connection."""
        while self._held or self._more():
            block = bytes(self._held)
            self._held.clear()
            yield block

    def rest(self) -> bytes:
        while self._more():
            if len(self._held) > BODY_BYTES_MAX:
                raise ValueError(f"its answer is longer than {BODY_BYTES_MAX} bytes")
        return bytes(self._held)


def _read_head(reader: _Reader) -> tuple[int, str, dict[str, str]]:
    """Status, reason and headers."""
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
    return status, reason, headers


def _read_body(reader: _Reader, status: int, headers: Mapping[str, str], on_part: OnPart | None) -> bytes:
    if status in _NO_BODY:
        return b""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = bytearray()
        for chunk in _chunks(reader):
            if len(body) + len(chunk) > BODY_BYTES_MAX:
                raise ValueError(f"its answer is longer than {BODY_BYTES_MAX} bytes")
            body += chunk
            if on_part is not None:
                try:
                    on_part(status, chunk)
                except OSError as error:
                    raise _ListenerFailedError(error) from error
        return bytes(body)
    if (length := headers.get("content-length")) is None:
        return reader.rest()
    if not length.isdecimal() or int(length) > BODY_BYTES_MAX:
        raise ValueError(f"its Content-Length is {length[:40]!r}")
    return reader.exactly(int(length))


def _chunks(reader: _Reader) -> Iterator[bytes]:
    while size := int(reader.until(b"\r\n", HEAD_BYTES_MAX).partition(b";")[0], 16):
        if not 0 < size <= BODY_BYTES_MAX:
            raise ValueError(f"its answer is longer than {BODY_BYTES_MAX} bytes")
        chunk = reader.exactly(size)
        reader.until(b"\r\n", 2)
        yield chunk
    while reader.until(b"\r\n", HEAD_BYTES_MAX):  # trailers, up to the empty line
        pass
