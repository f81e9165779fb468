"""The master key is kept safely: made once, never beside what it seals, and refused when others may read it."""

import base64
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from syncd.credentials import Secret
from syncd.errors import BadConfig, KeyMissing
from syncd.master_key import KeyFile, KeyFiles, LocalKeyFiles, load_master_key
from tests.test_credentials import KEY, SeededIds


class Places(Struct, frozen=True):
    master_key_file: Path
    state_dir: Path
    master_key_credential: Path | None = None
    runtime_dirs: tuple[Path, ...] = ()


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "etc" / "syncd" / "master.key", tmp_path / "state", runtime_dirs=(tmp_path / "run",))


def load(places: Places, *, sealed_exists: bool = False, seed: int = 0) -> bytes:
    return loaded(places, LocalKeyFiles(), seed, sealed_exists=sealed_exists)


def loaded(places: Places, files: KeyFiles, seed: int = 0, *, sealed_exists: bool) -> bytes:
    return load_master_key(places, files, SeededIds(seed), sealed_exists=sealed_exists).content.reveal_bytes()


def keep(path: Path, content: bytes = base64.b64encode(KEY) + b"\n", mode: int = 0o400) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_the_key_is_made_once_and_read_ever_after(places: Places) -> None:
    made = load(places)
    assert len(made) == 32
    assert load(places, sealed_exists=True, seed=1) == made
    assert stat.S_IMODE(places.master_key_file.stat().st_mode) == 0o400
    assert stat.S_IMODE(places.master_key_file.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in places.master_key_file.parent.iterdir()] == ["master.key"]


def test_a_missing_key_is_never_replaced_once_something_is_sealed(places: Places) -> None:
    with pytest.raises(KeyMissing, match=str(places.master_key_file)) as caught:
        load(places, sealed_exists=True)
    assert caught.value.exit_code == 78
    assert "backup" in caught.value.hint
    assert not places.master_key_file.exists()


def test_the_credential_of_systemd_comes_first(places: Places, tmp_path: Path) -> None:
    credential = keep(tmp_path / "run" / "credentials" / "syncd-master-key", KEY[::-1])
    keep(places.master_key_file)
    assert load(replace(places, master_key_credential=credential)) == KEY[::-1]


def test_without_that_credential_the_file_counts(places: Places, tmp_path: Path) -> None:
    with_credential = replace(places, master_key_credential=tmp_path / "none" / "syncd-master-key")
    with pytest.raises(KeyMissing, match="syncd-master-key"):
        load(with_credential, sealed_exists=True)
    keep(places.master_key_file)
    assert load(with_credential, sealed_exists=True) == KEY


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o644, 0o620, 0o602, 0o410])
def test_a_key_that_others_may_use_is_refused(places: Places, mode: int) -> None:
    keep(places.master_key_file, mode=mode)
    with pytest.raises(BadConfig, match=f"mode {mode:04o}") as caught:
        load(places)
    assert caught.value.hint == f"run: chmod 0400 {places.master_key_file}"


@pytest.mark.parametrize("mode", [0o400, 0o600])
def test_a_key_of_the_owner_alone_is_accepted(places: Places, mode: int) -> None:
    keep(places.master_key_file, mode=mode)
    assert load(places) == KEY


class Found:
    """One file, as seen by a user of choice."""

    def __init__(self, path: Path, *, mode: int, owner_uid: int, uid: int) -> None:
        self._path, self._found, self.uid = path, KeyFile(Secret(KEY), mode, owner_uid), uid

    def real(self, path: Path) -> Path:
        return path

    def read(self, path: Path) -> KeyFile:
        if path != self._path:
            raise FileNotFoundError(2, "No such file or directory")
        return self._found

    def create(self, path: Path, content: bytes) -> None:
        raise PermissionError(13, "Permission denied")

    def replace(self, path: Path, content: bytes) -> None:
        raise PermissionError(13, "Permission denied")


def test_the_access_list_that_systemd_puts_on_a_credential_is_not_mistaken_for_a_group(places: Places) -> None:
    credential = Path("/run/credentials/syncd.service/syncd-master-key")
    by_systemd = replace(places, master_key_credential=credential)

    def found(mode: int, owner_uid: int) -> bytes:
        files = Found(credential, mode=mode, owner_uid=owner_uid, uid=992)
        return loaded(by_systemd, files, sealed_exists=True)

    assert found(0o440, 0) == KEY
    for mode, owner_uid in [(0o440, 992), (0o444, 0), (0o460, 0)]:
        with pytest.raises(BadConfig, match="mode"):
            found(mode, owner_uid)


def test_a_key_that_belongs_to_somebody_else_is_refused(places: Places) -> None:
    files = Found(places.master_key_file, mode=0o400, owner_uid=1001, uid=992)
    with pytest.raises(BadConfig, match="user 1001") as caught:
        load_master_key(places, files, SeededIds(), sealed_exists=True)
    assert "chown 992" in caught.value.hint


def test_a_key_that_cannot_be_made_is_refused_with_a_command_that_makes_it(places: Places) -> None:
    files = Found(Path("/elsewhere"), mode=0o400, owner_uid=0, uid=0)
    with pytest.raises(BadConfig, match="Permission denied") as caught:
        load_master_key(places, files, SeededIds(), sealed_exists=False)
    assert "head -c 32 /dev/urandom | base64" in caught.value.hint


@pytest.mark.parametrize("sealed_exists", [True, False])
@pytest.mark.parametrize("folder", ["state", "state/keys", "run"])
def test_a_key_beside_the_state_or_the_socket_is_refused(
    places: Places,
    tmp_path: Path,
    folder: str,
    sealed_exists: bool,
) -> None:
    inside = replace(places, master_key_file=tmp_path / folder / "master.key")
    with pytest.raises(BadConfig, match="lies in") as caught:
        load(inside, sealed_exists=sealed_exists)
    assert "INCIDENTS_MASTER_KEY_FILE" in caught.value.hint
    assert not inside.master_key_file.exists()


def test_a_link_or_a_detour_into_the_state_is_seen_through(places: Places, tmp_path: Path) -> None:
    keep(tmp_path / "state" / "master.key")
    (tmp_path / "innocent.key").symlink_to(tmp_path / "state" / "master.key")
    (tmp_path / "innocent").symlink_to(tmp_path / "state")
    for detour in ("innocent.key", "innocent/master.key", "etc/../state/master.key"):
        with pytest.raises(BadConfig, match="lies in"):
            load(replace(places, master_key_file=tmp_path / detour))


def test_a_folder_whose_name_begins_like_the_state_is_another_folder(places: Places, tmp_path: Path) -> None:
    assert load(replace(places, master_key_file=tmp_path / "state2" / "master.key"))


@pytest.mark.parametrize(
    "content",
    [
        KEY,
        b"\n" + KEY[1:31] + b"\n",
        KEY.hex().encode(),
        KEY.hex().upper().encode() + b"\r\n",
        base64.b64encode(KEY),
        base64.b64encode(KEY).rstrip(b"=") + b"\n",
        base64.urlsafe_b64encode(bytes([251] * 32)),
        base64.b64encode(bytes([251] * 32)),
    ],
)
def test_a_key_may_be_base64_hex_or_raw(places: Places, content: bytes) -> None:
    keep(places.master_key_file, content)
    expected = {KEY.hex().lower(): KEY, bytes([251] * 32).hex(): bytes([251] * 32), content.hex(): content}
    assert load(places) in expected.values()


@given(key=st.binary(min_size=32, max_size=32), form=st.sampled_from(["base64", "hex"]))
@settings(max_examples=50)
def test_a_key_reads_back_whatever_its_bytes(key: bytes, form: str) -> None:
    content = base64.b64encode(key) + b"\n" if form == "base64" else key.hex().encode()
    path = Path("/etc/syncd/master.key")
    files = Found(path, mode=0o400, owner_uid=0, uid=0)
    files._found = KeyFile(Secret(content), 0o400, 0)
    assert loaded(Places(path, Path("/state")), files, sealed_exists=True) == key


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        KEY[:31],
        KEY + b"\0",
        base64.b64encode(KEY[:31]),
        b"hunter2",
        b"0123456789abcdef" * 2,
        b"p" * 32,
        b"ab" * 31,
    ],
)
def test_a_file_that_holds_no_key_is_refused_and_left_alone(places: Places, content: bytes) -> None:
    keep(places.master_key_file, content)
    with pytest.raises(BadConfig, match="does not hold 32 bytes") as caught:
        load(places)
    assert places.master_key_file.read_bytes() == content
    if len(content) > 1:
        assert content.decode("latin-1") not in str(caught.value) + caught.value.hint


def test_a_key_path_that_is_no_ordinary_file_is_refused(places: Places) -> None:
    places.master_key_file.mkdir(parents=True)
    with pytest.raises(BadConfig, match="cannot be read"):
        load(places)
    places.master_key_file.rmdir()
    os.mkfifo(places.master_key_file, 0o400)
    with pytest.raises(BadConfig, match="ordinary file"):
        load(places)
    places.master_key_file.unlink()
    keep(places.master_key_file, b"A" * 5000)
    with pytest.raises(BadConfig, match="4096"):
        load(places)


def test_a_key_made_by_another_daemon_in_between_is_used(places: Places) -> None:
    class Raced(LocalKeyFiles):
        def create(self, path: Path, content: bytes) -> None:
            keep(path)
            super().create(path, content)

    assert loaded(places, Raced(), sealed_exists=False) == KEY
    assert [entry.name for entry in places.master_key_file.parent.iterdir()] == ["master.key"]


def test_a_key_is_replaced_whole_and_for_its_owner_alone(places: Places) -> None:
    load(places)
    LocalKeyFiles().replace(places.master_key_file, base64.b64encode(KEY) + b"\n")
    assert load(places) == KEY
    assert stat.S_IMODE(places.master_key_file.stat().st_mode) == 0o400
    assert [entry.name for entry in places.master_key_file.parent.iterdir()] == ["master.key"]
    with pytest.raises(OSError, match="No such file"):
        LocalKeyFiles().replace(places.master_key_file.parent / "none" / "key", KEY)
