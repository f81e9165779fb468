"""The command line ``syncd simulator``."""

import signal
import socket
import subprocess
import sys

import pytest

from syncd.simulator.fault_catalogue import FAULTS, SWITCHES
from syncd.simulator.main import main

COMMAND = "import sys; from syncd.simulator.main import main; sys.exit(main(sys.argv[1:]))"


def test_list_faults_names_every_fault_and_switch(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list-faults"]) == 0
    words = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")}
    assert words == {*FAULTS, *SWITCHES}


@pytest.mark.parametrize("fault", ["nonsense", "slow=soon", "closed_write=never"])
def test_a_wrong_fault_ends_with_2_and_the_way_out(fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--fault", fault]) == 2
    assert capsys.readouterr().err.startswith("syncd simulator: ")


@pytest.mark.parametrize("arguments", [["--port", "high"], ["--nothing"]])
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


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
