"""One run of `im`: which daemon it talks to, how it prints, and what it takes from the terminal.

Made once by ``main.py`` from the global options and handed to every command, which reaches the outside only through it.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter, Token
from msgspec import Struct

from syncd.config import ROOT_RUNTIME_DIR, SOCKET_NAME, Listen, default_socket
from syncd.edges.cli.client import Client, Listing
from syncd.edges.cli.render import pretty_json, safe
from syncd.edges.cli.transport import Endpoint, WrongUsage, server_endpoint, socket_endpoint
from syncd.errors import SyncdError

OutputFormat = Literal["table", "json"]
STDIN_BYTES_MAX = 1024 * 1024
SYSTEM_SOCKET = ROOT_RUNTIME_DIR / SOCKET_NAME


class Options(Struct, frozen=True):
    """The global options as they were given; None: not given, so the environment decides."""

    output_format: OutputFormat = "table"
    server: str | None = None
    token: str | None = None
    socket: str | None = None


class World(Struct, frozen=True):
    """What a run may take from outside. ``ask_password`` is None when nobody sits at a terminal."""

    environ: Mapping[str, str]
    user_id: int
    now_s: float
    new_key: Callable[[], str]
    read_stdin: Callable[[], bytes]
    ask_password: Callable[[str], str] | None
    sleep_s: Callable[[float], None]


class Session:
    """What a command needs: the daemon, the output, the world."""

    def __init__(self, options: Options, world: World) -> None:
        self.options = options
        self.world = world
        self.now_s = world.now_s
        self.is_json = options.output_format == "json"

    @cached_property
    def client(self) -> Client:
        """Made at first use, so that commands that only read files need no daemon."""
        endpoint, token = self._endpoint(), self.options.token or self.world.environ.get("INCIDENTS_TOKEN", "")
        if token and endpoint.host and not endpoint.tls and not Listen(endpoint.host, endpoint.port).is_loopback:
            self.remark(f"the token goes to {endpoint.label} unencrypted; give an https URL, or use an ssh tunnel")
        return Client(endpoint, token=token)

    def _endpoint(self) -> Endpoint:
        """A flag goes before the environment; in the environment a server goes before a socket."""
        if self.options.server and self.options.socket:
            raise WrongUsage("--server and --socket name two daemons", hint="give one of them")
        if self.options.socket:
            return socket_endpoint(self.options.socket)
        if server := self.options.server or self.world.environ.get("INCIDENTS_SERVER"):
            return server_endpoint(server)
        return socket_endpoint(str(self._default_socket()))

    def _default_socket(self) -> Path:
        usual = default_socket(self.world.environ, self.world.user_id)
        # A user without a daemon of their own is most likely in the group of the system's socket.
        is_elsewhere = not self.world.environ.get("INCIDENTS_SOCKET") and not usual.exists()
        return SYSTEM_SOCKET if is_elsewhere and SYSTEM_SOCKET.exists() else usual

    def show(self, body: bytes, text: Callable[[], str]) -> None:
        """Print an answer: its JSON as it is, or what ``text`` makes of it."""
        print(self._json(body) if self.is_json else text())

    def confirm(self, body: bytes, lines: Callable[[], list[str]]) -> None:
        """Print what was done: the object as it is now, or a few ``lines`` with the names it has."""
        self.show(body, lambda: "\n".join(map(safe, lines())))

    def show_list(self, listing: Listing, text: Callable[[], str], *, empty: str, which: str = "first") -> None:
        """Print a list, ``empty`` in place of a table without rows, and a warning on stderr when the limit cut it.

        ``which`` part of it the limit left.
        """
        self.show(listing.body, text if listing.items else lambda: empty)
        if listing.more:
            self.remark(f"showing the {which} {len(listing.items)}; give --limit N or --all for more")

    def remark(self, text: str) -> None:
        """Say something to the person beside the output."""
        print(f"im: {safe(text)}", file=sys.stderr)

    def read_text(self, given: str) -> str:
        """``given``, or standard input when it is ``-``; raises WrongUsage."""
        if given != "-":
            return given
        raw = self.world.read_stdin()
        if len(raw) > STDIN_BYTES_MAX:
            raise WrongUsage(f"standard input holds more than {STDIN_BYTES_MAX} bytes", hint="shorten it")
        try:
            return raw.decode().rstrip("\n")
        except UnicodeDecodeError as error:
            raise WrongUsage("standard input is not UTF-8 text", hint="convert it first") from error

    @staticmethod
    def _json(body: bytes) -> str:
        try:
            return pretty_json(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SyncdError(f"the daemon's answer is not JSON: {error}", hint="see the daemon's log") from error


def whole(_kind: object, tokens: Sequence[Token]) -> int:
    """A whole number as it was written; cyclopts alone would make 2 of 1.5."""
    text = tokens[0].value
    try:
        return int(text)
    except ValueError:
        msg = f"{text!r} is not a whole number"
        raise ValueError(msg) from None


Injected = Annotated[Session, Parameter(parse=False)]
Whole = Annotated[int, Parameter(converter=whole)]
Flag = Annotated[bool, Parameter(negative="", show_default=False)]
All = Annotated[Flag, Parameter(name="--all", help="Every page, not just the first --limit.")]
FreeText = Annotated[str | None, Parameter(allow_leading_hyphen=True)]  # titles and passwords may begin with "-"
