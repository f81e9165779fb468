from tests.edges.cli.conftest import Run
from tests.edges.cli.fake_daemon import FakeDaemon


def test_a_token_is_shown_once(im: Run, daemon: FakeDaemon) -> None:
    lines = im("token", "create", "--scope", "operate", "--socket", daemon.address).out.splitlines()
    assert "token    im_secret" in lines
    assert "expires  never" in lines
    assert "not shown again" in lines[-1]


def test_the_list_shows_when_each_was_used(im: Run, daemon: FakeDaemon) -> None:
    row = im("token", "list", "--socket", daemon.address).out.splitlines()[1]
    assert row == "tok_1  operate  14 min ago  never      never    deploy-bot"
