"""Where each setting comes from, which values are refused, and that the shipped file tells the defaults."""

import contextlib
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.config import DEFAULT_FILE, KEYS, Config, Listen, default_socket, read_config
from syncd.errors import BadConfig

HOME = {"HOME": "/home/ann"}
SHIPPED = Path(__file__).parent.parent / "systemd" / "syncd.toml"


def disk(files: Mapping[str, str | bytes | OSError]) -> Callable[[Path], bytes]:
    def read(path: Path) -> bytes:
        content = files.get(str(path), FileNotFoundError(2, "No such file or directory"))
        if isinstance(content, OSError):
            raise content
        return content.encode() if isinstance(content, str) else content

    return read


def config(
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    toml: str | bytes | OSError | None = None,
    *,
    uid: int = 1000,
) -> Config:
    files = {} if toml is None else {str(DEFAULT_FILE): toml}
    return read_config(flags or {}, {**HOME, **(environ or {})}, disk(files), uid=uid)


def refusal(
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    toml: str | bytes | OSError | None = None,
) -> BadConfig:
    with pytest.raises(BadConfig) as caught:
        config(flags, environ, toml)
    assert caught.value.exit_code == 78
    assert caught.value.hint
    return caught.value


def test_the_defaults_are_those_of_the_contract() -> None:
    assert config(environ={"XDG_RUNTIME_DIR": "/run/user/1000"}) == Config(
        listen=Listen("127.0.0.1", 8080),
        socket=Path("/run/user/1000/syncd.sock"),
        state_dir=Path("/home/ann/.local/state/syncd"),
        auth="token",
        public_url="http://127.0.0.1:8080",
        allowed_hosts=(),
        master_key_file=Path("/home/ann/.config/syncd/master.key"),
        master_key_credential=None,
        runtime_dirs=(Path("/run/syncd"), Path("/run/user/1000")),
        log_level="info",
        sync_trace=False,
        config_file=None,
    )


def test_root_keeps_the_key_in_etc_and_the_socket_in_run() -> None:
    found = read_config({}, {"HOME": "/root", "XDG_CONFIG_HOME": "/root/.config"}, disk({}), uid=0)
    assert found.master_key_file == Path("/etc/syncd/master.key")
    assert found.socket == Path("/run/syncd/syncd.sock")
    assert found.state_dir == Path("/root/.local/state/syncd")


def test_a_service_without_a_home_takes_the_key_that_it_is_given() -> None:
    environ = {"CREDENTIALS_DIRECTORY": "/run/credentials/syncd.service", "STATE_DIRECTORY": "/var/lib/syncd"}
    found = read_config({}, environ, disk({}), uid=62550)
    assert found.master_key_credential == Path("/run/credentials/syncd.service/syncd-master-key")
    assert found.master_key_file == Path("/etc/syncd/master.key")
    with pytest.raises(BadConfig, match="master_key_file is not set"):
        read_config({}, {"STATE_DIRECTORY": "/var/lib/syncd"}, disk({}), uid=62550)


def test_a_flag_comes_before_the_environment_before_the_file_before_the_default() -> None:
    toml = 'log_level = "error"\nlisten = "127.0.0.1:1"\nauth = "none"'
    environ = {"INCIDENTS_LOG_LEVEL": "warning", "INCIDENTS_LISTEN": "127.0.0.1:2"}
    found = config({"log_level": "debug", "listen": None}, environ, toml)
    assert (found.log_level, found.listen.port, found.auth) == ("debug", 2, "none")
    assert found.sync_trace is False


def test_state_dir_has_its_own_order() -> None:
    ladder = [
        ("/flag", {"state_dir": "/flag"}, {}),
        ("/variable", {}, {"INCIDENTS_STATE_DIR": "/variable"}),
        ("/systemd", {}, {"STATE_DIRECTORY": "/systemd:/second"}),
        ("/xdg/syncd", {}, {"XDG_STATE_HOME": "/xdg"}),
    ]
    environ: dict[str, str] = {}
    for expected, flags, variables in reversed(ladder):
        environ |= variables
        assert config(flags, environ).state_dir == Path(expected)
    assert config({}, {"STATE_DIRECTORY": "/systemd"}, 'state_dir = "/file"').state_dir == Path("/file")


def test_a_credential_of_systemd_is_known_beside_the_key_file() -> None:
    found = config(environ={"CREDENTIALS_DIRECTORY": "/run/c", "INCIDENTS_MASTER_KEY_FILE": "~/k"})
    assert found.master_key_credential == Path("/run/c/syncd-master-key")
    assert found.master_key_file == Path("/home/ann/k")


@pytest.mark.parametrize(
    ("environ", "uid", "expected"),
    [
        ({"INCIDENTS_SOCKET": "/a/s", "RUNTIME_DIRECTORY": "/b"}, 0, "/a/s"),
        ({"RUNTIME_DIRECTORY": "/run/one:/run/two", "XDG_RUNTIME_DIR": "/c"}, 1000, "/run/one/syncd.sock"),
        ({"XDG_RUNTIME_DIR": "/run/user/0"}, 0, "/run/syncd/syncd.sock"),
        ({"XDG_RUNTIME_DIR": "/run/user/7"}, 7, "/run/user/7/syncd.sock"),
        ({"HOME": "/home/ann"}, 7, "/home/ann/.local/state/syncd/syncd.sock"),
        ({"INCIDENTS_SOCKET": " "}, 7, "/run/user/7/syncd.sock"),
    ],
)
def test_the_socket_is_found_without_a_config_file(environ: dict[str, str], uid: int, expected: str) -> None:
    assert default_socket(environ, uid) == Path(expected)


def test_a_socket_path_too_long_for_the_kernel_is_refused() -> None:
    assert config({"socket": "/" + "a" * 106}).socket.name == "a" * 106
    refused = refusal({"socket": "/" + "a" * 107})
    assert "108 bytes" in str(refused)
    assert "INCIDENTS_SOCKET" in refused.hint


def test_a_named_file_must_exist_and_the_default_need_not() -> None:
    assert config().config_file is None
    assert "--config" in str(refusal({"config": "/none.toml"}))
    refused = refusal(environ={"INCIDENTS_CONFIG": "/none.toml"})
    assert "$INCIDENTS_CONFIG" in str(refused)
    assert "no such file" in str(refused)


def test_a_named_file_is_read_instead_of_the_default() -> None:
    files = disk({str(DEFAULT_FILE): "auth = 'none'", "/my.toml": "log_level = 'debug'"})
    found = read_config({"config": Path("/my.toml")}, HOME, files, uid=1)
    assert (found.auth, found.log_level, found.config_file) == ("token", "debug", Path("/my.toml"))


@pytest.mark.parametrize(
    "toml", ["listen = ", b"\xff\xfe", "listen = 1\nlisten = 2", PermissionError(13, "Permission denied")]
)
def test_a_file_that_cannot_be_read_is_refused_by_name(toml: str | bytes | OSError) -> None:
    assert str(DEFAULT_FILE) in str(refusal(toml=toml))


def test_a_relative_path_in_the_file_starts_at_the_file() -> None:
    assert config(toml='state_dir = "state"').state_dir == DEFAULT_FILE.parent / "state"
    assert config({"state_dir": "state"}).state_dir == Path("state")


@pytest.mark.parametrize(
    ("key", "suggested"),
    [
        ("listne", "listen"),
        ("log-level", "log_level"),
        ("INCIDENTS_STATE_DIR", "state_dir"),
        ("allowed_host", "allowed_hosts"),
        ("master_key", "master_key_file"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_right_one(key: str, suggested: str) -> None:
    refused = refusal(toml=f"{key} = 1")
    assert repr(key) in str(refused)
    assert str(DEFAULT_FILE) in str(refused)
    assert suggested in refused.hint


def test_an_unknown_key_like_no_other_gets_the_whole_list_and_never_shows_its_value() -> None:
    refused = refusal(toml='zzz = "hunter2"')
    assert all(key in refused.hint for key in KEYS)
    assert "hunter2" not in str(refused) + refused.hint
    assert "command line" in str(refusal({"zzz": "1"}))


BAD_VALUES: dict[str, list[str]] = {
    "listen": [
        "8080",
        "host",
        ":8080",
        "1.2.3.4:",
        "::1:80",
        "[1.2.3.4]:80",
        "h:65536",
        "h:-1",
        "h:٣",
        "a b:1",
        "[::g]:1",
    ],
    "auth": ["basic", "tokens"],
    "log_level": ["warn", "verbose", "10"],
    "sync_trace": ["maybe", "2"],
    "public_url": [
        "sync.example.com",
        "ftp://h",
        "https://",
        "https://h?q=1",
        "https://h#f",
        "https://h:x",
        "https://[x",
    ],
    "allowed_hosts": ["https://h", "h:8443", "*.h", "a/b", "ok,b d"],
    "state_dir": ["~bob/state", "a\0b"],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in BAD_VALUES.items() for value in values])
def test_a_bad_value_names_key_value_source_and_way_out(key: str, value: str) -> None:
    variable = f"INCIDENTS_{key.upper()}"
    refused = refusal(environ={variable: value})
    assert str(refused).startswith(f"{key} = {value!r} (from ${variable}): ")
    flag = refusal({key: value})
    assert f"(from --{key.replace('_', '-')})" in str(flag)


@pytest.mark.parametrize("key", KEYS)
def test_a_value_of_the_wrong_type_in_the_file_is_refused(key: str) -> None:
    refused = refusal(toml=f"{key} = 5")
    assert str(refused).startswith(f"{key} = 5 (from {DEFAULT_FILE}): ")


def test_a_password_in_a_url_is_not_repeated() -> None:
    refused = refusal({"public_url": "https://ann:hunter2@h"})
    assert "hunter2" not in str(refused) + refused.hint


@pytest.mark.parametrize("key", KEYS)
def test_an_empty_variable_counts_as_not_set(key: str) -> None:
    assert config(environ={f"INCIDENTS_{key.upper()}": " "}) == config()


@pytest.mark.parametrize("listen", ["127.0.0.1:8080", "127.9.9.9:0", "[::1]:80", "localhost:1", "LOCALHOST:1"])
def test_no_tokens_are_possible_on_loopback(listen: str) -> None:
    assert config({"auth": "none", "listen": listen}).auth == "none"


@pytest.mark.parametrize(
    "listen",
    [
        *("0.0.0.0:8080", "[::]:80", "10.0.0.1:80", "[::ffff:127.0.0.1]:80", "127.1:80", "2130706433:80"),
        *("myhost:80", "localhost.evil.example:80", "localhost.:80", "localhost.localdomain:80", "ip6-localhost:80"),
    ],
)
def test_no_tokens_are_refused_elsewhere(listen: str) -> None:
    refused = refusal({"listen": listen}, {"INCIDENTS_AUTH": "none"})
    assert listen in str(refused)
    assert "INCIDENTS_AUTH=token" in refused.hint
    assert config({"listen": listen}).auth == "token"


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("10.0.0.1:80", "http://10.0.0.1:80"),
        ("[2001:db8::1]:80", "http://[2001:db8::1]:80"),
        ("0.0.0.0:9", "http://127.0.0.1:9"),
        ("[::]:9", "http://[::1]:9"),
    ],
)
def test_the_public_url_is_derived_from_the_listen_address(listen: str, url: str) -> None:
    assert config({"listen": listen}).public_url == url


def test_a_public_url_keeps_its_path_and_loses_its_slash() -> None:
    found = config(environ={"INCIDENTS_PUBLIC_URL": "https://Sync.Example.com:8443/im/"})
    assert found.public_url == "https://Sync.Example.com:8443/im"
    assert found.public_host == "sync.example.com"


def test_allowed_hosts_are_a_list_in_the_file_and_commas_in_the_environment() -> None:
    expected = ("snow.corp.example", "10.1.2.3", "fd00::1")
    assert config(toml='allowed_hosts = ["Snow.corp.example", "10.1.2.3", "[fd00::1]"]').allowed_hosts == expected
    assert config(environ={"INCIDENTS_ALLOWED_HOSTS": "snow.corp.example, 10.1.2.3,fd00::1,"}).allowed_hosts == expected


@pytest.mark.parametrize(
    ("given_as", "expected"), [(True, True), (False, False), ("TRUE", True), ("on", True), ("0", False), ("No", False)]
)
def test_a_switch_is_read_from_words_and_from_booleans(given_as: object, expected: bool) -> None:
    assert config({"sync_trace": given_as}).sync_trace is expected


def test_without_a_home_the_way_out_is_a_variable() -> None:
    for environ, variable in [
        ({}, "INCIDENTS_STATE_DIR"),
        ({"INCIDENTS_STATE_DIR": "/s"}, "INCIDENTS_MASTER_KEY_FILE"),
    ]:
        with pytest.raises(BadConfig) as caught:
            read_config({}, environ, disk({}), uid=1000)
        assert variable in caught.value.hint
    assert read_config({}, {}, disk({}), uid=0).state_dir == Path("/var/lib/syncd")


texts = st.text(max_size=30)


@given(
    environ=st.dictionaries(st.sampled_from([f"INCIDENTS_{key.upper()}" for key in KEYS]), texts, max_size=3),
    toml=st.dictionaries(st.sampled_from(KEYS), texts | st.integers() | st.booleans() | st.lists(texts), max_size=3),
)
def test_any_value_is_either_used_or_refused(environ: dict[str, str], toml: dict[str, object]) -> None:
    file = "".join(f"{key} = {msgspec.json.encode(value).decode()}\n" for key, value in toml.items())
    with contextlib.suppress(BadConfig):  # the one error that may come out
        found = config({}, environ, file.replace("\x7f", ""))
        assert found.auth == "token" or found.listen.is_loopback


def test_the_shipped_file_has_every_key_with_its_default() -> None:
    by_systemd = {"STATE_DIRECTORY": "/var/lib/syncd", "RUNTIME_DIRECTORY": "/run/syncd"}
    shipped = SHIPPED.read_text(encoding="utf-8")
    assert read_config({}, by_systemd, disk({str(DEFAULT_FILE): shipped}), uid=0).config_file == DEFAULT_FILE
    uncommented = re.findall(r"^# ([a-z_]+) = (.*)$", shipped, flags=re.MULTILINE)
    assert sorted(key for key, _ in uncommented) == sorted(KEYS)
    toml = "\n".join(f"{key} = {value}" for key, value in uncommented)
    found = read_config({}, by_systemd, disk({str(DEFAULT_FILE): toml}), uid=0)
    assert msgspec.structs.replace(found, config_file=None) == read_config({}, by_systemd, disk({}), uid=0)


def test_every_setting_is_a_field_of_the_config() -> None:
    assert set(KEYS) <= set(Config.__struct_fields__)


def test_the_cli_can_afford_to_import_it() -> None:
    program = "import sys, syncd.config; print(*sorted(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    loaded = set(ran.stdout.split())
    assert "syncd.config" in loaded
    assert loaded.isdisjoint({"trio", "httpx", "cryptography", "tomllib", "difflib", "urllib.request"})
