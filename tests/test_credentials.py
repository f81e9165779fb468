"""Secrets stay hidden, and sealed values stay in their slot."""

import base64
import copy
import pickle
import random
from collections.abc import Callable

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from syncd.core.model import SealedSecret
from syncd.credentials import Cipher, Secret, is_same
from syncd.errors import CannotUnseal
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


@given(left=st.text(), right=st.text())
def test_comparing_never_fails_and_agrees_with_equality(left: str, right: str) -> None:
    assert is_same(left, right) == (left == right)
    assert is_same(left, left)
