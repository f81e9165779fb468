"""`im integration field-mapping`: what each option sends, what is shown, what is refused at once."""

from tests.edges.cli.conftest import Run
from tests.edges.cli.fake_daemon import FakeDaemon

MAPPING = ("integration", "field-mapping")


def test_values_are_given_one_by_one_and_several_may_stand_for_one(im: Run, daemon: FakeDaemon) -> None:
    pairs = ("--value", "SEV-1=1", "--value", "SEV-4=4", "--value", "SEV-4=5=a")
    line = (*MAPPING, "set", "prod-snow", "severity", "--external-field", "u_sev", *pairs, "--direction", "inbound")
    outcome = im(*line, "--socket", daemon.address)
    assert (outcome.code, outcome.out) == (0, "severity stands in u_sev, inbound only; SEV-1=1\n")
    (heard,) = daemon.heard
    assert heard.body == {
        "external_field": "u_sev",
        "direction": "inbound",
        "values": {"SEV-1": ["1"], "SEV-4": ["4", "5=a"]},
    }


def test_what_is_no_pair_is_refused_before_it_is_sent(im: Run, daemon: FakeDaemon) -> None:
    line = (*MAPPING, "set", "prod-snow", "severity", "--external-field", "u_sev", "--value", "SEV-1")
    outcome = im(*line, "--socket", daemon.address)
    assert outcome.code == 2
    assert "'SEV-1'" in outcome.err
    assert "SEV-1=1" in outcome.err
    assert daemon.heard == []


def test_the_list_says_what_is_set_and_what_is_not_synced(im: Run, daemon: FakeDaemon) -> None:
    lines = im(*MAPPING, "list", "prod-snow", "--socket", daemon.address).out.splitlines()
    assert lines[0].split() == ["FIELD", "COLUMN", "DIRECTION", "MAPPING", "VALUES"]
    assert lines[1].split() == ["severity", "u_sev", "bidirectional", "set", "SEV-1=1,", "SEV-4=4/5"]
    assert lines[2].split()[:5] == ["service", "not", "synced", "bidirectional", "default"]


def test_a_mapping_is_taken_back(im: Run, daemon: FakeDaemon) -> None:
    outcome = im(*MAPPING, "delete", "prod-snow", "service", "--socket", daemon.address)
    assert outcome.out == "mapping removed: service is not synced\n"
