"""Secrets stay hidden, sealed values stay in their slot, keys are kept safely, tokens and signatures are checked."""

import base64
import copy
import hashlib
import hmac
import os
import pickle
import random
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from syncd.core.model import SealedSecret
from syncd.credentials import (
    Cipher,
    KeyFile,
    KeyFiles,
    LocalKeyFiles,
    Secret,
    digest_of,
    is_same,
    load_master_key,
    new_token,
    scope_in,
    verify_signature,
)
from syncd.errors import BadConfig, CannotUnseal, KeyMissing
from syncd.seams import SystemIds

KEY = bytes(range(32))
CANARY = "correct-horse-battery"
SLOT = ("journal-1", "int_A", "password")
NOW_S = 1_700_000_000.0


class SeededIds:
    """Predictable bytes."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = random.Random(seed)

    @property
    def rng(self) -> random.Random:
        return self._rng

    def word(self) -> str:
        return f"{self._rng.getrandbits(40):010X}"

    def secret(self, size_bytes: int) -> bytes:
        return self._rng.randbytes(size_bytes)


def cipher(key: bytes = KEY) -> Cipher:
    return Cipher(key, SeededIds())


class Holder(Struct, frozen=True):
    password: Secret


# Secret


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        "{}".format,
        "{:>3}".format,
        "{!r}".format,
        lambda value: f"{value}",
        lambda value: "%s %r" % (value, value),  # noqa: UP031 log calls format like this
    ],
)
def test_a_secret_shows_as_stars(show: Callable[[object], str]) -> None:
    for value in (Secret(CANARY), Secret(CANARY.encode()), Holder(Secret(CANARY)), [Secret(CANARY)]):
        if not (isinstance(value, Holder | list) and show == "{:>3}".format):
            shown = show(value)
            assert CANARY not in shown
            assert "***" in shown


@pytest.mark.parametrize(
    "encode", [msgspec.json.encode, msgspec.msgpack.encode, msgspec.to_builtins, pickle.dumps, copy.copy, copy.deepcopy]
)
def test_encoding_or_copying_a_secret_raises(encode: Callable[[object], object]) -> None:
    for value in (Secret(CANARY), Holder(Secret(CANARY))):
        if encode is copy.copy and isinstance(value, Holder):
            continue  # a shallow copy passes the same Secret on
        with pytest.raises(TypeError) as caught:
            encode(value)
        assert CANARY not in str(caught.value)


def test_revealing_gives_back_what_was_put_in() -> None:
    assert Secret("pä\ud800ss").reveal() == "pä\ud800ss"
    assert Secret("pä").reveal_bytes() == "pä".encode()
    assert Secret(b"\xff").reveal_bytes() == b"\xff"


def test_revealing_bytes_as_text_raises_without_the_bytes() -> None:
    with pytest.raises(ValueError, match="reveal_bytes") as caught:
        Secret(b"\xff" + CANARY.encode()).reveal()
    assert caught.value.__context__ is None


def test_secrets_compare_by_content_and_have_no_hash() -> None:
    assert Secret("a") == Secret(b"a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert not Secret("")
    with pytest.raises(TypeError, match="unhashable"):
        hash(Secret("a"))


# Cipher


@given(secret=st.binary(max_size=200), slot=st.lists(st.text(max_size=8), min_size=1, max_size=4))
def test_what_was_sealed_opens_in_its_slot_after_a_trip_through_json(secret: bytes, slot: list[str]) -> None:
    sealed = cipher().seal(Secret(secret), *slot)
    stored = msgspec.json.decode(msgspec.json.encode(sealed), type=SealedSecret)
    assert cipher().open(stored, *slot).reveal_bytes() == secret


@given(slot=st.lists(st.text(max_size=3), min_size=1, max_size=4), other=st.lists(st.text(max_size=3), max_size=4))
def test_a_sealed_value_does_not_open_in_another_slot(slot: list[str], other: list[str]) -> None:
    sealed = cipher().seal(Secret(CANARY), *slot)
    if other and other != slot:
        with pytest.raises(CannotUnseal):
            cipher().open(sealed, *other)


def test_moving_a_letter_between_the_slot_words_is_another_slot() -> None:
    sealed = cipher().seal(Secret(CANARY), "a", "bc")
    for other in [("ab", "c"), ("abc",), ("a", "b", "c"), ("bc", "a")]:
        with pytest.raises(CannotUnseal):
            cipher().open(sealed, *other)


@pytest.mark.parametrize("part", ["nonce", "ciphertext"])
@pytest.mark.parametrize("secret", ["x", "xy", "xyz"])  # one length for each kind of base64 padding
def test_every_bit_flip_is_refused(part: str, secret: str) -> None:
    sealed = cipher().seal(Secret(secret), *SLOT)
    text = getattr(sealed, part)
    raw = base64.b64decode(text)
    in_bytes = [
        base64.b64encode(
            bytes(byte ^ (1 << bit % 8) if at == bit // 8 else byte for at, byte in enumerate(raw))
        ).decode()
        for bit in range(len(raw) * 8)
    ]
    in_text = [
        text[:at] + chr(ord(text[at]) ^ (1 << bit)) + text[at + 1 :] for at in range(len(text)) for bit in range(7)
    ]
    for flipped in in_bytes + in_text:
        with pytest.raises(CannotUnseal):
            cipher().open(replace(sealed, **{part: flipped}), *SLOT)


@pytest.mark.parametrize("broken", ["", "=", "A", "ä", "AAAA", "\n", "AAAAAAAAAAAAAAAAAAAA"])
def test_a_sealed_value_with_a_part_missing_is_refused(broken: str) -> None:
    sealed = cipher().seal(Secret(CANARY), *SLOT)
    for damaged in (replace(sealed, nonce=broken), replace(sealed, ciphertext=broken)):
        with pytest.raises(CannotUnseal):
            cipher().open(damaged, *SLOT)


def test_another_key_is_named_and_refused_even_under_a_forged_key_id() -> None:
    sealed = cipher().seal(Secret(CANARY), *SLOT)
    other = cipher(bytes(32))
    with pytest.raises(CannotUnseal, match=f"{sealed.key_id}.*{other.key_id}") as caught:
        other.open(sealed, *SLOT)
    assert caught.value.hint
    with pytest.raises(CannotUnseal):
        other.open(replace(sealed, key_id=other.key_id), *SLOT)


def test_the_key_id_is_part_of_what_is_sealed() -> None:
    sealed = cipher().seal(Secret(CANARY), *SLOT)
    nonce, ciphertext = base64.b64decode(sealed.nonce), base64.b64decode(sealed.ciphertext)
    bound_to = msgspec.json.encode(["syncd seal 1", sealed.key_id, *SLOT])
    assert (
        AESGCM(KEY).decrypt(nonce, ciphertext, bound_to) == CANARY.encode()
    )  # what old journals hold must stay readable


def test_every_seal_has_a_nonce_of_its_own() -> None:
    one = Cipher(KEY, SystemIds())
    assert len({one.seal(Secret(CANARY), *SLOT).nonce for _ in range(20_000)}) == 20_000
    ids = SystemIds()
    assert len({ids.secret(12) for _ in range(1_000_000)}) == 1_000_000  # where each of them comes from


def test_a_cipher_shows_nothing_and_wants_a_whole_key_and_a_slot() -> None:
    assert KEY.hex() not in repr(vars(cipher()))
    with pytest.raises(ValueError, match="31 bytes"):
        cipher(KEY[:31])
    with pytest.raises(ValueError, match="slot"):
        cipher().seal(Secret(CANARY))


# The master key


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


# Tokens


@pytest.mark.parametrize("scope", ["read", "operate", "admin"])
def test_a_token_has_the_published_shape(scope: str) -> None:
    text, digest = new_token(SeededIds(), scope)
    prefix, named, body, checksum = text.split("_")
    assert (prefix, named, len(body), len(checksum)) == ("sync", scope, 43, 6)
    assert (body + checksum).isalnum()
    assert digest == hashlib.sha256(text.encode()).hexdigest() == digest_of(text)
    assert scope_in(text) == scope


@given(secret=st.binary(min_size=32, max_size=32))
def test_any_256_bits_fit_and_differ(secret: bytes) -> None:
    class Fixed(SeededIds):
        def secret(self, size_bytes: int) -> bytes:
            return secret[:size_bytes]

    text, _ = new_token(Fixed(), "read")
    assert scope_in(text) == "read"
    number = 0
    for letter in text.split("_")[2]:
        number = number * 62 + "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".index(letter)
    assert number == int.from_bytes(secret, "big")


def test_a_mistyped_token_is_seen_before_any_look_up() -> None:
    text, _ = new_token(SeededIds(), "admin")
    letters = text.removeprefix("sync_admin_")
    for at in range(len(letters)):
        typo = letters[:at] + ("x" if letters[at] != "x" else "y") + letters[at + 1 :]
        assert scope_in(f"sync_admin_{typo}") is None
    for other in ("", "sync_read_", text + "\n", text.replace("admin", "read"), text[:-1], "sync_admin_" + "ä" * 50):
        assert scope_in(other) is None


@given(left=st.text(), right=st.text())
def test_comparing_never_fails_and_agrees_with_equality(left: str, right: str) -> None:
    assert is_same(left, right) == (left == right)
    assert is_same(left, left)
    assert len(digest_of(left)) == 64


def test_lone_surrogates_from_a_header_are_digested_too() -> None:
    assert digest_of("\ud800") != digest_of("?")


# Webhook signatures

BODY = b'{"sys_id":"9d385017c611228701d22104cc95c371"}'
HOOK = Secret("s3cr\u00e9t")

FORMS: dict[str, Callable[[bytes], str]] = {
    "base64": lambda mac: base64.b64encode(mac).decode(),
    "base64, no padding": lambda mac: base64.b64encode(mac).decode().rstrip("="),
    "hex": bytes.hex,
    "HEX": lambda mac: mac.hex().upper(),
}
FORMS |= {f"sha256={name}": lambda mac, form=form: f"sha256={form(mac)}" for name, form in FORMS.items()}  # type: ignore[misc]


def mac_of(body: bytes, secret: Secret = HOOK) -> bytes:
    return hmac.new(secret.reveal_bytes(), body, hashlib.sha256).digest()


def verify(signature: str | None, *, body: bytes = BODY, timestamp: str | None = None, now_s: float = NOW_S) -> bool:
    return verify_signature([HOOK], body, signature, timestamp, now_s)


@given(form=st.sampled_from(sorted(FORMS)), body=st.binary(max_size=60), at_s=st.none() | st.integers(-300, 300))
def test_every_written_form_is_accepted_with_and_without_a_timestamp(form: str, body: bytes, at_s: int | None) -> None:
    timestamp = None if at_s is None else str(int(NOW_S) + at_s)
    signed = body if timestamp is None else timestamp.encode() + b"." + body
    assert verify(FORMS[form](mac_of(signed)), body=body, timestamp=timestamp)
    assert not verify(FORMS[form](mac_of(signed + b"\n")), body=body, timestamp=timestamp)


@pytest.mark.parametrize("form", sorted(FORMS))
def test_every_bit_flip_of_a_signature_is_refused(form: str) -> None:
    genuine = FORMS[form](mac_of(BODY))
    prefix = len("sha256=") if genuine.startswith("sha256=") else 0
    for at in range(prefix, len(genuine)):
        for bit in range(8):
            flipped = genuine[:at] + chr(ord(genuine[at]) ^ (1 << bit)) + genuine[at + 1 :]
            if not (
                "ex" in form.lower() and flipped.lower() == genuine.lower()
            ):  # the case of a hex digit says nothing
                assert not verify(flipped), flipped


@given(at=st.integers(0, len(BODY) * 8 - 1))
def test_every_bit_flip_of_the_body_is_refused(at: int) -> None:
    flipped = bytes(byte ^ (1 << at % 8) if index == at // 8 else byte for index, byte in enumerate(BODY))
    assert not verify(mac_of(BODY).hex(), body=flipped)


@pytest.mark.parametrize(
    "signature",
    [None, "", " ", "null", "undefined", "None", "sha256=", "sha256=null", "sha256", "=", "ä", "\ud800", "a" * 9999],
)
def test_what_a_broken_script_sends_is_refused(signature: str | None) -> None:
    assert not verify(signature)


@given(signature=st.text(max_size=80))
def test_no_text_is_accepted_by_chance_or_raises(signature: str) -> None:
    assert not verify(signature)
    assert not verify(signature, timestamp=signature)


def test_several_signatures_in_one_header_are_refused() -> None:
    genuine = mac_of(BODY).hex()
    for stuffed in (f"{genuine},{genuine}", f"{genuine} {genuine}", f"sha256=sha256={genuine}", f"v1={genuine}"):
        assert not verify(stuffed)


@pytest.mark.parametrize(
    "timestamp", ["", "null", "undefined", "-1", "1e9", "1700000000.0", " 1700000000", "١", "9" * 40]
)
def test_a_timestamp_that_is_no_count_of_seconds_is_refused(timestamp: str) -> None:
    signed = timestamp.encode() + b"." + BODY
    assert not verify(mac_of(signed).hex(), timestamp=timestamp)
    assert not verify(mac_of(BODY).hex(), timestamp=timestamp)


@pytest.mark.parametrize(
    ("age_s", "accepted"), [(0, True), (300, True), (-300, True), (301, False), (-301, False), (86400, False)]
)
def test_a_timestamp_counts_for_five_minutes(age_s: int, accepted: bool) -> None:
    timestamp = str(int(NOW_S) - age_s)
    assert verify(mac_of(timestamp.encode() + b"." + BODY).hex(), timestamp=timestamp) is accepted


def test_a_timestamp_is_part_of_what_is_signed() -> None:
    timestamp = str(int(NOW_S))
    genuine = mac_of(timestamp.encode() + b"." + BODY).hex()
    assert not verify(genuine)
    assert not verify(genuine, timestamp=str(int(NOW_S) + 1))
    assert not verify(mac_of(BODY).hex(), timestamp=timestamp)


def test_both_secrets_count_while_one_is_rotated() -> None:
    old, new = Secret("old"), Secret("new")
    for signer in (old, new):
        signature = mac_of(BODY, signer).hex()
        assert verify_signature([new, old], BODY, signature, None, NOW_S)
        assert verify_signature([new], BODY, signature, None, NOW_S) is (signer is new)
    assert not verify_signature([], BODY, mac_of(BODY).hex(), None, NOW_S)


@pytest.mark.parametrize(
    ("secret", "text", "hexadecimal", "padded"),
    [
        (
            "whsec-0123456789abcdef",
            '{"sys_id":"9d385017c611228701d22104cc95c371","number":"INC0010001"}',
            "cb3b4ca85e7125956b6a13067b84fb2204de029aa07c7cbdf5a89c1d41744375",
            "yztMqF5xJZVrahMGe4T7IgTeApqgfHy99aicHUF0Q3U=",
        ),
        (
            "whsec-0123456789abcdef",
            '1790000000.{"sys_id":"9d385017c611228701d22104cc95c371","number":"INC0010001"}',
            "49e8da4de65324d809add7dd5cc9e3a8ecf5f879f9c57c56d1da97a353d81235",
            "SejaTeZTJNgJrdfdXMnjqOz1+Hn5xXxW0dqXo1PYEjU=",
        ),
        (
            "schlüssel-🔑",
            '{"sys_id":"a","short_description":"Straße – 火"}',
            "3f0739c83657fc4c0be0782dceeea312ef0cd062521dab87e7e45fc2e70582c6",
            "Pwc5yDZX/EwL4Hgtzu6jEu8M0GJSHauH5+RfwucFgsY=",
        ),
        ("key", "", "5d5d139563c95b5967b9bd9a8c9b233a9dedb45072794cd232dc1b74832607d0", ""),
        (
            "k" * 100,
            '{"sys_id":"9d385017c611228701d22104cc95c371","number":"INC0010001"}',
            "1c1c432820dc102a4f7722e52bc2ad3e85a7c58ffdd7f62c143c48d27b480687",
            "",
        ),
    ],
)
def test_what_openssl_signs_is_genuine(secret: str, text: str, hexadecimal: str, padded: str) -> None:
    """Made with ``printf %s "$text" | openssl dgst -sha256 -hmac "$secret"``, and ``-binary | base64``."""
    timestamp = "1790000000" if text.startswith("1790000000.") else None
    body = text.removeprefix("1790000000.").encode()
    for signature in filter(None, (hexadecimal, padded)):
        assert verify_signature([Secret(secret)], body, signature, timestamp, 1_790_000_000.0)


def test_an_empty_secret_signs_nothing() -> None:
    assert not verify_signature([Secret("")], BODY, mac_of(BODY, Secret("")).hex(), None, NOW_S)
