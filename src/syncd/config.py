"""The daemon's own settings: read once, from flags, environment, file and defaults, in this order.

It owns the names of the settings and the rules for their values. Each setting has one key, spelled the same in three
places: ``log_level`` in the file, ``$INCIDENTS_LOG_LEVEL``, ``--log-level``. An empty variable counts as not set.
It never touches the disk (the reader is handed in), never resolves a name, and never holds a secret: of the master key
it knows only where it may be. ``im`` imports it for ``default_socket``, so it stays cheap to import: what only the
daemon needs is imported where it is used.
"""

import os
from collections.abc import Callable, Mapping
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Final, Literal, TypeVar, cast, get_args
from urllib.parse import urlsplit

from msgspec import Struct

from syncd.errors import BadConfig

Auth = Literal["token", "none"]
LogLevel = Literal["debug", "info", "warning", "error"]

DEFAULT_FILE: Final = Path("/etc/syncd/syncd.toml")
DEFAULT_LISTEN: Final = "127.0.0.1:8080"
KEYS: Final = (
    "listen",
    "socket",
    "state_dir",
    "auth",
    "public_url",
    "allowed_hosts",
    "master_key_file",
    "log_level",
    "sync_trace",
)
ROOT_RUNTIME_DIR: Final = Path("/run/syncd")
SOCKET_NAME: Final = "syncd.sock"
_SOCKET_PATH_BYTES_MAX = (
    107  # sockaddr_un: 108 bytes with the closing NUL; a longer path fails in bind() without a name
)
_PORT_MAX = 65535
_YES = frozenset({"true", "yes", "on", "1"})
_NO = frozenset({"false", "no", "off", "0"})

T = TypeVar("T")
W = TypeVar("W", bound=str)


class Listen(Struct, frozen=True):
    """A TCP address. ``host`` is a name or a bare IP address; ``port`` 0 lets the system choose."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect. Of the names, only ``localhost`` counts: others may change."""
        if self.host == "localhost":
            return True
        try:
            address = ip_address(self.host)
            is_mapped = address.version == 6 and address.ipv4_mapped is not None  # on which Pythons disagree
            return address.is_loopback and not is_mapped
        except ValueError:
            return False

    @property
    def url(self) -> str:
        """``http://host:port``; the loopback address stands in for "every address", which is no address to call."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 compared, not bound
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


class Config(Struct, frozen=True, kw_only=True):
    """Everything the daemon is told from outside. Paths may be relative to its working directory.

    ``public_url`` has no trailing slash. ``allowed_hosts`` are lower-case names or bare addresses, without ports.
    ``master_key_credential`` is where systemd would put the key (None: it gave no credentials); it comes before
    ``master_key_file``. ``runtime_dirs`` are emptied at a restart, so no key may live there. ``config_file`` is what
    was read, None if there was none.
    """

    listen: Listen
    socket: Path
    state_dir: Path
    auth: Auth
    public_url: str
    allowed_hosts: tuple[str, ...]
    master_key_file: Path
    master_key_credential: Path | None
    runtime_dirs: tuple[Path, ...]
    log_level: LogLevel
    sync_trace: bool
    config_file: Path | None

    @property
    def public_host(self) -> str:
        """The host of ``public_url``, lower-case, without port or brackets: one of the allowed ``Host`` values."""
        return urlsplit(self.public_url).hostname or ""


class _Given(Struct, frozen=True):
    """One value, where it was given in the reader's words, and the folder that a relative path starts at."""

    key: str
    value: object
    source: str
    folder: Path = Path()

    def bad(self, why: str, way_out: str) -> BadConfig:
        return BadConfig(f"{self.key} = {_shown(self.value)} ({self.source}): {why}", hint=way_out)

    def text(self) -> str:
        if not isinstance(self.value, str | Path):
            raise self.bad("is not text", f"put the value of {self.key} in quotes")
        text = str(self.value).strip()
        if not text or "\0" in text:
            raise self.bad("is empty or has a NUL in it", f"give {self.key} a value, or remove it to get the default")
        return text


def _shown(value: object) -> str:
    return "***" if "@" in str(value) else repr(value)  # what stands before an @ may be a password


def read_config(
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    disk_read: Callable[[Path], bytes],
    *,
    uid: int | None = None,
) -> Config:
    """Read every setting, or say which one cannot be used.

    ``flags`` maps keys (``state_dir``, also ``config``) to what the command line gave, None meaning not given. ``uid``
    is the effective user id, asked from the system when None. Raises ``BadConfig``, exit code 78.
    """
    uid = os.geteuid() if uid is None else uid
    for key in flags:
        if key != "config" and key not in KEYS:
            raise _unknown(key, "command line")
    config_file, in_file = _read_file(flags, environ, disk_read)

    def setting(key: str, parse: Callable[[_Given], T], default: Callable[[], T]) -> T:
        given = _given(key, flags, environ, config_file, in_file)
        return default() if given is None else parse(given)

    listen = setting("listen", _listen, lambda: _listen(_Given("listen", DEFAULT_LISTEN, "default")))
    auth: Auth = setting("auth", lambda given: _word(given, get_args(Auth)), lambda: "token")
    if auth == "none" and not listen.is_loopback:
        raise BadConfig(
            f"auth = 'none' and listen = {_host_port(listen)!r}: without tokens the API would be open to the network",
            hint=f"set auth to token (INCIDENTS_AUTH=token), or listen on {DEFAULT_LISTEN}",
        )
    return Config(
        listen=listen,
        socket=_short_enough(setting("socket", _path(environ), lambda: default_socket(environ, uid))),
        state_dir=setting("state_dir", _path(environ), lambda: _default_state_dir(environ, uid)),
        auth=auth,
        public_url=setting("public_url", _public_url, lambda: listen.url),
        allowed_hosts=setting("allowed_hosts", _hosts, tuple),
        master_key_file=setting("master_key_file", _path(environ), lambda: _default_key_file(environ, uid)),
        master_key_credential=_first_folder(environ, "CREDENTIALS_DIRECTORY", "syncd-master-key"),
        runtime_dirs=_runtime_dirs(environ, uid),
        log_level=setting("log_level", lambda given: _word(given, get_args(LogLevel)), lambda: "info"),
        sync_trace=setting("sync_trace", _switch, lambda: False),
        config_file=config_file,
    )


def default_socket(environ: Mapping[str, str], uid: int) -> Path:
    """Where daemon and CLI meet when neither is told otherwise by a flag or the file.

    ``$INCIDENTS_SOCKET``, ``$RUNTIME_DIRECTORY``, then ``/run/syncd`` for root and ``$XDG_RUNTIME_DIR`` for others.
    Without one (cron, containers) the user's state folder: unlike in the shared temporary folder, nobody else can be
    there first.
    """
    if given := environ.get("INCIDENTS_SOCKET", "").strip():
        return _expanded(given, environ)
    if (by_systemd := _first_folder(environ, "RUNTIME_DIRECTORY", SOCKET_NAME)) is not None:
        return by_systemd
    if uid == 0:
        return ROOT_RUNTIME_DIR / SOCKET_NAME
    if (of_user := _first_folder(environ, "XDG_RUNTIME_DIR", SOCKET_NAME)) is not None:
        return of_user
    state_home = _xdg_home(environ, "XDG_STATE_HOME", ".local/state")
    return Path(f"/run/user/{uid}") / SOCKET_NAME if state_home is None else state_home / "syncd" / SOCKET_NAME


def _read_file(
    flags: Mapping[str, object], environ: Mapping[str, str], disk_read: Callable[[Path], bytes]
) -> tuple[Path | None, Mapping[str, object]]:
    import tomllib  # noqa: PLC0415 the CLI does not need it

    named = _given("config", flags, environ, None, {})
    path = DEFAULT_FILE if named is None else _path(environ)(named)
    try:
        table = tomllib.loads(disk_read(path).decode("utf-8-sig"))
    except FileNotFoundError as error:
        if named is None:
            return None, {}
        raise named.bad("there is no such file", "name a file that exists, or leave it out") from error
    except OSError as error:
        why = error.strerror or "cannot be read"
        raise BadConfig(f"config file {path}: {why}", hint="make it a file that the daemon's user may read") from error
    except ValueError as error:  # TOMLDecodeError names line and column; UnicodeDecodeError is a ValueError too
        raise BadConfig(
            f"config file {path} is not TOML: {error}", hint="correct that line; text goes in quotes"
        ) from error
    for key in table:
        if key not in KEYS:
            raise _unknown(key, str(path))
    return path, table


def _given(
    key: str,
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    config_file: Path | None,
    in_file: Mapping[str, object],
) -> _Given | None:
    variable = f"INCIDENTS_{key.upper()}"
    if flags.get(key) is not None:
        return _Given(key, flags[key], f"from --{key.replace('_', '-')}")
    if environ.get(variable, "").strip():
        return _Given(key, environ[variable].strip(), f"from ${variable}")
    if key in in_file and config_file is not None:
        return _Given(key, in_file[key], f"from {config_file}", folder=config_file.parent)
    return None


def _unknown(key: str, source: str) -> BadConfig:
    from difflib import get_close_matches  # noqa: PLC0415 only on the way to an error

    plain = key.lower().replace("-", "_").removeprefix("incidents_")
    near = get_close_matches(plain, KEYS, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"the keys are: {', '.join(KEYS)}"
    return BadConfig(f"unknown key {key!r} ({source})", hint=hint)


def _listen(given: _Given) -> Listen:
    way_out = f"give host:port such as {DEFAULT_LISTEN}, 0.0.0.0:8080 or [::1]:8080"
    host, colon, port = given.text().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    if not (colon and host and port.isascii() and port.isdigit() and len(port) <= len(str(_PORT_MAX))):
        raise given.bad("is not host:port", way_out)
    if bracketed != (":" in host) or not _is_host(host):
        raise given.bad(f"{_shown(host)} is no host", way_out)
    if int(port) > _PORT_MAX:
        raise given.bad(f"port {port} is above {_PORT_MAX}", way_out)
    return Listen(host.lower(), int(port))


def _host_port(listen: Listen) -> str:
    return f"[{listen.host}]:{listen.port}" if ":" in listen.host else f"{listen.host}:{listen.port}"


def _is_host(text: str) -> bool:
    if ":" in text:
        try:
            IPv6Address(text)
        except ValueError:
            return False
        return True
    labels = text.removesuffix(".").split(".")
    return text.isascii() and all(part.replace("-", "").replace("_", "").isalnum() for part in labels)


def _hosts(given: _Given) -> tuple[str, ...]:
    if isinstance(given.value, list | tuple):
        named = [_Given(given.key, one, given.source).text() for one in cast("list[object]", given.value)]
    else:
        named = [part.strip() for part in given.text().split(",") if part.strip()]
    hosts = tuple(host.strip("[]").lower() for host in named)
    for host in hosts:
        if not _is_host(host):
            raise given.bad(
                f"{_shown(host)} is no host", "give host names or addresses without scheme, port, path or wildcard"
            )
    return hosts


def _public_url(given: _Given) -> str:
    way_out = "give the address that ServiceNow calls, such as https://sync.example.com"
    text = given.text().rstrip("/")
    try:
        parts = urlsplit(text)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError as error:  # urlsplit's words would repeat the value
        raise given.bad("is not a URL", way_out) from error
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_fine or not _is_host(parts.hostname):
        raise given.bad("is not an http or https URL with a host", way_out)
    if parts.username is not None or parts.password is not None or "?" in text or "#" in text or " " in text:
        raise given.bad("has a user, a query, a fragment or a space in it", way_out)
    return text


def _word(given: _Given, words: tuple[W, ...]) -> W:
    text = given.text().lower()
    for word in words:
        if word == text:
            return word
    raise given.bad("is not one of its values", f"use one of: {', '.join(words)}")


def _switch(given: _Given) -> bool:
    if isinstance(given.value, bool):
        return given.value
    text = given.text().lower()
    if text not in _YES | _NO:
        raise given.bad("is neither true nor false", "use true or false")
    return text in _YES


def _path(environ: Mapping[str, str]) -> Callable[[_Given], Path]:
    def parse(given: _Given) -> Path:
        text = given.text()
        if text.startswith("~") and not (text == "~" or text.startswith("~/")):
            raise given.bad("names another user's home", "give a full path")
        return given.folder / _expanded(text, environ)

    return parse


def _expanded(text: str, environ: Mapping[str, str]) -> Path:
    home = environ.get("HOME", "")
    return Path(home + text[1:]) if home and (text == "~" or text.startswith("~/")) else Path(text)


def _short_enough(socket: Path) -> Path:
    size_bytes = len(os.fsencode(socket))
    if size_bytes > _SOCKET_PATH_BYTES_MAX:
        raise BadConfig(
            f"socket = '{socket}': {size_bytes} bytes, and a Unix socket's path may have {_SOCKET_PATH_BYTES_MAX}",
            hint="set INCIDENTS_SOCKET to a shorter path, for the daemon and for im",
        )
    return socket


def _first_folder(environ: Mapping[str, str], variable: str, name: str = "") -> Path | None:
    first = environ.get(variable, "").partition(":")[0]  # systemd separates several folders by colons
    return Path(first) / name if first else None


def _xdg_home(environ: Mapping[str, str], variable: str, below_home: str) -> Path | None:
    if environ.get(variable, "").startswith("/"):  # the XDG specification: relative paths are to be ignored
        return Path(environ[variable])
    return Path(environ["HOME"]) / below_home if environ.get("HOME") else None


def _default_state_dir(environ: Mapping[str, str], uid: int) -> Path:
    if (by_systemd := _first_folder(environ, "STATE_DIRECTORY")) is not None:
        return by_systemd
    if (state_home := _xdg_home(environ, "XDG_STATE_HOME", ".local/state")) is not None:
        return state_home / "syncd"
    if uid == 0:
        return Path("/var/lib/syncd")
    raise BadConfig("state_dir is not set, and there is no $HOME to put it in", hint="set INCIDENTS_STATE_DIR")


def _default_key_file(environ: Mapping[str, str], uid: int) -> Path:
    is_given = bool(environ.get("CREDENTIALS_DIRECTORY"))  # systemd hands it over, and need not give us a home
    if uid == 0 or (is_given and not environ.get("HOME")):
        return Path("/etc/syncd/master.key")
    if (config_home := _xdg_home(environ, "XDG_CONFIG_HOME", ".config")) is not None:
        return config_home / "syncd" / "master.key"
    raise BadConfig(
        "master_key_file is not set, and there is no $HOME to put it in", hint="set INCIDENTS_MASTER_KEY_FILE"
    )


def _runtime_dirs(environ: Mapping[str, str], uid: int) -> tuple[Path, ...]:
    of_user = None if uid == 0 else _first_folder(environ, "XDG_RUNTIME_DIR")
    named = (_first_folder(environ, "RUNTIME_DIRECTORY"), ROOT_RUNTIME_DIR, of_user)
    return tuple(folder for folder in named if folder is not None)
