"""Tokens and webhook signatures: what is good passes, and nothing else does."""

import base64
import hashlib
import hmac
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.callers import digest_of, new_token, scope_in, verify_signature
from syncd.credentials import Secret
from tests.test_credentials import SeededIds

NOW_S = 1_700_000_000.0

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


@given(text=st.text())
def test_every_text_has_a_digest(text: str) -> None:
    assert len(digest_of(text)) == 64


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
