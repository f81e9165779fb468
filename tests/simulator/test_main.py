"""The command line ``syncd simulator`` and its log."""

import re
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from syncd.simulator.fault_catalogue import FAULTS, SWITCHES
from syncd.simulator.instance import RequestLine
from syncd.simulator.main import main, request_text, webhook_text
from syncd.simulator.outbound import SentWebhook
from syncd.simulator.wire import Outgoing
from tests.simulator.snow import START_S, TABLE, USER, Snow

COMMAND = "import sys; from syncd.simulator.main import main; sys.exit(main(sys.argv[1:]))"


def test_list_faults_names_every_fault_and_switch(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list-faults"]) == 0
    words = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")}
    assert words == {*FAULTS, *SWITCHES}


def test_each_fault_and_switch_is_one_line_that_says_what_it_does() -> None:
    summaries = [one.summary for one in FAULTS.values()] + [one.summary for one in SWITCHES.values()]
    for summary in summaries:
        assert "\n" not in summary
        assert 10 < len(summary) < 100, summary


def test_help_names_every_option_and_has_examples_that_parse(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    examples = re.findall(r"^ {4}syncd simulator(.*(?:\\\n.*)?)$", text, re.MULTILINE)
    assert len(examples) == 5
    known = {*re.findall(r"^  (--[a-z-]+)", text, re.MULTILINE)}
    for example in examples:
        assert {*re.findall(r"--[a-z-]+", example)} <= known
        for fault in re.findall(r"--fault '?([a-z_]+)=", example):
            assert fault in {*FAULTS, *SWITCHES}


@pytest.mark.parametrize("fault", ["nonsense", "slow=soon", "closed_write=never"])
def test_a_wrong_fault_ends_with_2_and_the_way_out(fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--fault", fault]) == 2
    assert capsys.readouterr().err.startswith("syncd simulator: ")


@pytest.mark.parametrize("arguments", [["--port", "high"], ["--nothing"]])
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_a_clone_needs_a_name_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--name", "prod", "--clone-name", "prod"]) == 2
    assert "choose another" in capsys.readouterr().err


def test_the_log_shows_who_asked_what_and_why_it_was_refused() -> None:
    snow = Snow()
    lines: list[RequestLine] = []
    snow.instance.on_request.append(lines.append)
    snow.ask("GET", query="active=true^ORDERBYDESCsys_updated_on")
    snow.ask("POST", TABLE, {"state": "6", "close_notes": "x"})
    snow.ask("GET", login=(USER, "wrong"))
    snow.ask("GET", f"{TABLE}/%0d%0a{'x' * 300}")
    read, refused, unknown, long = map(request_text, lines)
    assert read == f"14:13:20   200 GET     svc.sync      {TABLE}?sysparm_query=active=true^ORDERBYDESCsys_updated_on"
    assert refused.startswith("14:13:20   403 POST    svc.sync      ")
    assert refused.endswith("fields are mandatory: Resolution code)")
    assert unknown.startswith("14:13:20   401 GET     -             ")
    assert long.isprintable()
    assert "…" in long
    snow.instance.arm("answer_lost", times=1)
    snow.ask("GET")
    assert request_text(lines[-1]).startswith("14:13:20 reset GET ")


def test_the_log_shows_webhooks_and_what_became_of_them() -> None:
    outgoing = Outgoing(START_S, "http://127.0.0.1:9/hook", (), b"", "e", 1)
    assert webhook_text(SentWebhook(outgoing, 202)) == ("14:13:20   202 webhook -             http://127.0.0.1:9/hook")
    assert webhook_text(SentWebhook(outgoing, None, "ConnectError: no")).endswith("hook  (ConnectError: no)")


def test_a_port_that_is_taken_ends_with_1_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["--port", str(taken.getsockname()[1])]) == 1
    assert "try --port 0" in capsys.readouterr().err


def test_it_says_where_it_listens_and_ends_with_0_on_sigterm() -> None:
    arguments = ["--port", "0", "--incidents", "3", "--user", "sync:pw", "--name", "demo", "--fault", "slow=1@0"]
    with subprocess.Popen([sys.executable, "-c", COMMAND, *arguments], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("ServiceNow simulator demo at http://127.0.0.1:")
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=10) == 0
        finally:
            process.kill()


def test_an_instance_and_its_clone_are_served_on_two_ports_and_log_under_their_names() -> None:
    arguments = ["--port", "0", "--incidents", "3", "--name", "prod", "--clone-name", "test", "--clone-port", "0"]
    with subprocess.Popen([sys.executable, "-c", COMMAND, *arguments], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = [process.stdout.readline().split() for _ in range(3)]
            assert [words[2] for words in said[:2]] == ["prod", "test"]
            rows = [httpx.get(words[-1] + "control/incidents", trust_env=False).json() for words in said[:2]]
            assert rows[0] == rows[1]
            for words in said[:2]:
                httpx.get(words[-1] + "api/now/table/incident", trust_env=False)
            assert [process.stdout.readline().split()[:3:2] for _ in range(2)] == [["prod", "401"], ["test", "401"]]
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=10) == 0
        finally:
            process.kill()
