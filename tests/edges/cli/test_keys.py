from pathlib import Path

import pytest

from tests.edges.cli.conftest import Run
from tests.edges.cli.fake_daemon import KEYS, Canned, FakeDaemon


def test_the_list_names_each_key_and_says_which_does_not_open(im: Run, daemon: FakeDaemon) -> None:
    assert im("keys", "list", "--socket", daemon.address).out.splitlines() == [
        "master key  0123456789abcdef",
        "from        file /etc/syncd/master.key",
        "",
        "INTEGRATION  KEY               OPENS",
        "prod-snow    aaaabbbbccccdddd  yes",
        "test-snow    eeeeffff00001111  NO",
    ]


def test_a_key_that_the_daemon_made_is_to_be_backed_up(im: Run, daemon: FakeDaemon) -> None:
    lines = im("keys", "rotate", "--socket", daemon.address).out.splitlines()
    assert lines == [
        "the master key is now fedcba9876543210, in /etc/syncd/master.key",
        "next: back it up, apart from the state",
    ]


def test_a_key_of_ones_own_is_sent_and_what_is_left_to_do_is_said(im: Run, tmp_path: Path) -> None:
    file = tmp_path / "new"
    file.write_text("A" * 43 + "=\n")
    with FakeDaemon(lambda _: Canned(body={**KEYS, "next_id": "9999"}), tmp_path / "s2") as waiting:
        lines = im("keys", "rotate", "--new-key-file", str(file), "--socket", waiting.address).out.splitlines()
    assert waiting.heard[0].body == {"new_key": "A" * 43 + "="}
    assert f"9999 of {file}" in lines[0]
    assert "restart the daemon" in lines[1]


@pytest.mark.parametrize(("content", "words"), [(None, "No such file"), (b"", "is empty"), (b"\xff" * 32, "not a key")])
def test_a_file_that_is_no_key_is_wrong_usage_and_not_shown(
    im: Run, daemon: FakeDaemon, tmp_path: Path, content: bytes | None, words: str
) -> None:
    file = tmp_path / "new"
    if content is not None:
        file.write_bytes(content)
    outcome = im("keys", "rotate", "--new-key-file", str(file), "--socket", daemon.address)
    assert (outcome.code, outcome.out) == (2, "")
    assert words in outcome.err
    assert "head -c 32 /dev/urandom" in outcome.err
    assert daemon.heard == []
