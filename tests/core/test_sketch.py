"""The schema of a body and its reader agree: what fits is read, and what does not fit is refused."""

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from syncd.core import requests, settings, tokens, verdicts
from syncd.core.fields import Fields
from syncd.core.sketch import Reader, sketch_of
from syncd.errors import Invalid

READERS: dict[str, Reader] = {
    "incident": requests.new_incident,
    "changes": requests.incident_changes,
    "note": requests.new_note,
    "pair": requests.read_pair,
    "nothing": requests.no_fields,
    "verdict": verdicts.read,
    "token": tokens.read,
    "new integration": partial(settings.read, allowed_hosts=(), is_new=True),
    "integration": partial(settings.read, allowed_hosts=(), is_new=False),
}
# Of these a schema tells the form only: a range of durations, which hosts may be called, which text is a time.
TOLD_IN_WORDS = {"base_url", "conflict_window", "transaction_quota", "poll_interval", "expires_at"}

BLANKS = " \t\n\v\f\r\x1c\x1f\x85\xa0\u1680\u2000\u2028\u2029\u202f\u205f\u3000\ufeff\u200b"
LETTERS = st.sampled_from(f"aZ09._-:^/$ {BLANKS}\0\x1b\x7f\x9fſé漢\U0001f600")
WORDS = st.sampled_from(
    [
        *("", "sev-2", "4", "SEV-1\n", "open", "resolved", "servicenow", "bidirectional", "last-write-wins", "read"),
        *("platform", "external", "prod-snow", "-x", "history", "daemon", "acme", "5" * 32, "INC0010001", "a" * 65),
        *("^x", " ^x", "ORx", "xOR", "a=b^NQc", "a^EQ", "ORDERBYx", "jAvaScript:x", "active=true", "x" * 501),
        *("5s", "always", "https://a.service-now.com", "2099-01-01T00:00:00Z"),
    ]
)
NAMES = st.sampled_from(
    [
        *("caller_id", "state", "sys_id", "create", "close", "Caller", "u_x", "work_notes", "x", ""),
        *("username", "password", "api_key", "client_id"),
    ]
)
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, 2, 4, 5, 32, 33, 1000, 1000.5, 1001, 3.0, -1, 0.0, 1e-9, 10**30]),
    WORDS,
    st.text(LETTERS, max_size=6),
)
VALUES = st.one_of(
    PLAIN,
    st.lists(PLAIN, max_size=2),
    st.dictionaries(NAMES, st.one_of(PLAIN, st.dictionaries(NAMES, PLAIN, max_size=2)), max_size=3),
)


def is_read(reader: Reader, body: dict[str, object]) -> bool:
    try:
        reader(Fields(body))
    except Invalid:
        return False
    return True


def bodies_of(reader: Reader) -> st.SearchStrategy[dict[str, object]]:
    """Bodies of its fields and one that it does not know, the required ones always among them."""
    schema = sketch_of(reader).schema
    names, needed = schema["properties"], schema.get("required", [])
    assert isinstance(names, dict)
    assert isinstance(needed, list)
    known = st.sampled_from(sorted(names.keys() - TOLD_IN_WORDS) or ["x"])
    one = st.dictionaries(known, VALUES, max_size=1)  # most fields of a random body are wrong
    some = one | one | st.dictionaries(known | st.just("x"), VALUES, max_size=4)
    usual = {"title": "Down", "severity": 1, "text": "x", "scope": "read", "name": "n", "base_url": "http://[::1]:9"}
    pair = {"incident_id": "INC-A", "external_id": "5" * 32}
    return some.map(lambda body: {name: (usual | pair)[name] for name in needed} | body)


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_what_fits_the_schema_is_read_and_nothing_else(reader: Reader) -> None:
    fits: Callable[[object], bool] = Draft202012Validator({**sketch_of(reader).schema}).is_valid

    @given(body=bodies_of(reader))
    def agree(body: dict[str, object]) -> None:
        assert is_read(reader, body) is fits(body), body

    agree()


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_a_required_field_is_missed_by_both(reader: Reader) -> None:
    sketch = sketch_of(reader)
    fits = Draft202012Validator({**sketch.schema}).is_valid({})
    assert is_read(reader, {}) is fits is not sketch.is_required


def test_every_field_of_an_incident_is_in_its_schema() -> None:
    properties = sketch_of(requests.new_incident).schema["properties"]
    assert isinstance(properties, dict)
    assert list(properties) == ["title", "severity", "description", "assigned_to", "service", "organization_id"]
