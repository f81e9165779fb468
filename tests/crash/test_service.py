"""The daemon under a service manager: readiness, sockets that outlive it, the watchdog, and the unit files."""

import re
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import suppress
from pathlib import Path
from typing import Final

import httpx
import pytest
import trio

from tests.crash.daemon_process import DaemonProcess
from tests.crash.installation import until
from tests.crash.service_manager import Managed
from tests.crash.stuck_daemon import LOOPS, WAITS

UNITS: Final = Path(__file__).parents[2] / "systemd"
RESTARTS: Final = 10
EXPOSURE_MAX: Final = 1.5
WATCHDOG_S: Final = 1.0
TLS: Final = ssl.create_default_context()  # made once: it costs more than a request, and nobody here speaks TLS
NOT_FED: Final = 'the watchdog is not fed: no progress actors="prod writing"'


@pytest.fixture
def managed(tmp_path: Path) -> Iterator[Managed]:
    one = Managed(tmp_path)
    yield one
    one.close()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Managed]:
    one = Managed(tmp_path, watchdog_s=WATCHDOG_S)
    one.module = "tests.crash.stuck_daemon"
    one.environ["PYTHONPATH"] = str(UNITS.parent)
    yield one
    one.close()


# Readiness


def test_it_is_ready_when_it_serves_and_tells_that_it_reads_its_journal_and_that_it_stops(managed: Managed) -> None:
    managed.process = managed.spawn()
    managed.until_told("READY=1")
    assert httpx.get(f"{managed.url}/ready", trust_env=False).status_code == 200
    managed.process.terminate()
    assert managed.process.wait(10) == 0
    managed.until_told("STOPPING=1")
    managed.told.clear()
    managed.process = managed.spawn()  # there is a journal to read now, however short
    managed.until_told("READY=1")
    extended = next(line for line in managed.told if line.startswith("EXTEND_TIMEOUT_USEC="))
    assert managed.told.index(extended) < managed.told.index("READY=1")
    assert "STATUS=Reading the journal, 100 %" in managed.told


def test_a_journal_that_is_refused_is_never_ready(managed: Managed) -> None:
    managed.process = managed.spawn()
    managed.until_told("READY=1")
    managed.process.terminate()
    assert managed.process.wait(10) == 0
    managed.told.clear()
    (segment,) = (managed.folder / "state" / "journal").iterdir()
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-20] + b"?" + whole[-19:])
    managed.process = managed.spawn()
    assert managed.process.wait(20) == 78
    assert "STATUS=Reading the journal" in managed.hear()
    assert "READY=1" not in managed.told


def test_who_opens_its_own_doors_has_them_open_when_it_says_that_it_is_ready(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path)
    daemon.environ["NOTIFY_SOCKET"] = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, socket.socket(socket.AF_UNIX) as client:
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(30)
        process = daemon.spawn()
        try:
            while b"READY=1" not in notify.recv(4096).splitlines():
                pass
            socket.create_connection(("127.0.0.1", daemon.port)).close()  # refused if nobody listens
            client.connect(str(tmp_path / "syncd.sock"))
        finally:
            process.terminate()
            assert process.wait(15) == 0


def test_the_socket_that_was_handed_over_serves_and_stays(managed: Managed) -> None:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(managed.path)), base_url="http://localhost") as im:
        managed.process = managed.spawn()
        assert im.get("/api/v1/tokens").status_code == 200
    managed.process.terminate()
    assert managed.process.wait(10) == 0
    assert managed.path.is_socket()
    assert not (managed.folder / "syncd.sock").exists()  # it opens no other one


def test_without_tokens_a_socket_for_other_machines_is_refused(tmp_path: Path) -> None:
    managed = Managed(tmp_path, host="0.0.0.0")
    managed.process = managed.spawn()
    assert managed.process.wait(20) == 78
    assert "without tokens the API would be open to the network" in managed.log()
    managed.close()


# Restarts


async def a_client(managed: Managed, number: int, heard: list[str], stop: trio.Event) -> None:
    """Declares incidents, each over a connection of its own, as ServiceNow's business rule and `im` do."""
    uds = str(managed.path) if number % 2 else None
    while not stop.is_set():
        transport = httpx.AsyncHTTPTransport(uds=uds, verify=TLS)
        title = f"incident {len(heard)} of client {number}"
        async with httpx.AsyncClient(transport=transport, timeout=60) as client:
            body = {"title": title, "severity": "SEV-3"}
            answer = await client.post(f"{managed.url}/api/v1/incidents", json=body)
        assert answer.status_code == 201, answer.text
        heard.append(title)


async def test_ten_restarts_under_load_refuse_no_request_and_lose_none(managed: Managed) -> None:
    heard: list[str] = []
    stop = trio.Event()
    async with trio.open_nursery() as nursery, httpx.AsyncClient(trust_env=False, timeout=20) as client:
        await managed.start(client)
        for number in range(4):
            nursery.start_soon(a_client, managed, number, heard, stop)
        for _ in range(RESTARTS):
            before = len(heard)
            with trio.fail_after(60):
                while len(heard) < before + 10:  # noqa: ASYNC110 the clients do not ring
                    await trio.sleep(0.01)
            assert await managed.stop() == 0, managed.log()
            managed.process = managed.spawn()
        stop.set()
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        kept, url = [], f"{managed.url}/api/v1/incidents?limit=1000"
        while url:
            answer = await client.get(url)
            kept += [one["title"] for one in answer.json()]
            url = str(answer.links.get("next", {}).get("url", ""))
            url = url if url.startswith("http") or not url else f"{managed.url}{url}"
    assert sorted(kept) == sorted(heard)
    assert len(heard) > 10 * RESTARTS


# Watchdog


def pings(managed: Managed) -> int:
    return managed.hear().count("WATCHDOG=1")


def test_the_watchdog_is_fed_while_all_is_well(watched: Managed) -> None:
    watched.process = watched.spawn()
    until(lambda: pings(watched) >= 5, "five pings")


@pytest.mark.parametrize("title", [LOOPS, WAITS])
def test_the_watchdog_is_fed_no_more_when_an_actor_is_stuck(title: str, watched: Managed) -> None:
    watched.process = watched.spawn()
    watched.until_told("READY=1")
    api = httpx.Client(trust_env=False, timeout=20, base_url=f"{watched.url}/api/v1")
    with api as client, socket.create_server(("127.0.0.1", 0)) as silent:
        settings = {
            "name": "prod",
            "base_url": f"http://127.0.0.1:{silent.getsockname()[1]}",  # an instance that never answers is no reason
            "credentials": {"username": "u", "password": "p"},
        }
        assert client.post("/integrations", json=settings).status_code == 201
        before = pings(watched)
        until(lambda: pings(watched) >= before + 5, "pings, though the instance does not answer")
        with suppress(httpx.ReadError, httpx.ReadTimeout):
            client.post("/incidents", json={"title": title, "severity": "SEV-3"}, timeout=2)
        if title == WAITS:
            until(lambda: NOT_FED in watched.log(), lambda: f"it says so; {watched.log()}", 30)
        until(lambda: is_silent(watched), lambda: f"no pings; {watched.log()}", 30)
    assert watched.process is not None
    watched.process.send_signal(signal.SIGABRT)  # what systemd does then
    assert watched.process.wait(10) == -signal.SIGABRT
    where = "_stuck_write" if title == LOOPS else "Thread 0x"
    assert where in watched.log().partition("Fatal Python error: Aborted")[2]


def is_silent(managed: Managed) -> bool:
    """For twice as long as it may be, nothing has been heard."""
    before = pings(managed)
    with suppress(subprocess.TimeoutExpired):
        assert managed.process is not None
        managed.process.wait(2 * WATCHDOG_S)
        raise AssertionError(managed.log())
    return pings(managed) == before


# The unit files


def unit(name: str) -> ConfigParser:
    """A unit file; of a key that is there more than once, the last."""
    read = ConfigParser(strict=False, interpolation=None, delimiters="=", comment_prefixes="#")
    read.optionxform = str  # type: ignore[assignment,method-assign] # keys are as they are written
    read.read(UNITS / name)
    return read


def test_the_service_says_what_it_promises() -> None:
    service = unit("syncd.service")["Service"]
    wanted = {
        "Type": "notify",
        "WatchdogSec": "30s",
        "Restart": "on-failure",
        "RestartSec": "2s",
        "RestartPreventExitStatus": "75 78",
        "LoadCredential": "syncd-master-key:/etc/syncd/master.key",
        "DynamicUser": "yes",
        "StateDirectory": "syncd",
        "LimitCORE": "0",
    }
    assert {key: service[key] for key in wanted} == wanted
    limits = unit("syncd.service")["Unit"]
    assert (limits["StartLimitIntervalSec"], limits["StartLimitBurst"]) == ("5min", "10")
    assert service["ExecReload"].startswith("/bin/sh ")  # /bin/kill is in a package that need not be there
    assert "RuntimeDirectory" not in service  # it would take the sockets away with each restart
    doors = unit("syncd.socket")["Socket"]
    assert (doors["SocketMode"], doors["SocketGroup"]) == ("0660", "syncd-admin")
    assert re.findall(r"^ListenStream=(.*)$", (UNITS / "syncd.socket").read_text(), re.MULTILINE) == [
        "127.0.0.1:8080",
        "/run/syncd/syncd.sock",
    ]


def test_systemd_takes_the_units_and_rates_their_exposure_below_the_promise(tmp_path: Path) -> None:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        return  # what can be seen without it is in the test above
    for name in ("syncd.service", "syncd.socket"):
        text = (UNITS / name).read_text().replace("/opt/syncd/bin/syncd", "/bin/true")
        (tmp_path / name).write_text(text)
    files = [str(tmp_path / name) for name in ("syncd.service", "syncd.socket")]
    verified = subprocess.run([tool, "verify", *files], capture_output=True, text=True, timeout=60, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    command = [tool, "security", "--offline=true", "--no-pager", files[0]]
    rated = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    exposure = re.search(r"Overall exposure level for syncd.service: ([0-9.]+)", rated.stdout)
    assert exposure is not None
    assert float(exposure[1]) <= EXPOSURE_MAX
