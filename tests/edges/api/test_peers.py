"""Who may use the Unix socket: the rule, the kernel's word, and that a stranger is answered before it is heard."""

import os
import pwd
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from trio.testing import MockClock

from syncd.edges.api.gate import Gate
from syncd.edges.api.listeners import Peer, open_unix
from syncd.edges.api.peers import USERS_KEPT_MAX, LocalUsers, PeerGate
from syncd.edges.api.serve import serve
from tests.edges.api.daemon import BODY, FakeUsers, running
from tests.edges.api.doors import answer_plainly, open_door, post

STARTS = 100
# Becomes somebody else, connects, and offers a body; prints each status that comes back, 100 if the body was wanted.
CALL = """
import os, socket, sys
uid, gid, *groups = map(int, sys.argv[1:])
if uid != os.geteuid():
    os.setgroups(groups), os.setgid(gid), os.setuid(uid)
connection = socket.socket(socket.AF_UNIX)
connection.settimeout(8)
try:
    connection.connect("s")
except PermissionError:
    sys.exit("kept out by the kernel")
connection.sendall(b"POST / HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 5\\r\\nExpect: 100-continue\\r\\n\\r\\n")
statuses = [connection.recv(1000).split()[1].decode()]
if statuses == ["100"]:
    connection.sendall(b"hello")
    statuses.append(connection.recv(1000).split()[1].decode())
print(*statuses)
"""


# Looks at the socket without a pause, in a process of its own so that nothing of ours holds it up; prints what changes.
WATCH = """
import os, sys
last = ""
while True:
    try:
        now = oct(os.lstat(sys.argv[1]).st_mode)
    except FileNotFoundError:
        now = "none"
    if now != last:
        print(now, flush=True)
        last = now
"""


class Database:
    """Users as pwd would give them, counting the look-ups, each of which may block for long."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[int] = []
        monkeypatch.setattr(pwd, "getpwuid", self.user)

    def user(self, uid: int) -> SimpleNamespace:
        self.asked.append(uid)
        if uid == 1002:
            raise KeyError(uid)
        return SimpleNamespace(pw_name=f"user{uid}")


async def test_root_and_the_daemon_s_own_user_are_known_without_asking_the_user_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database = Database(monkeypatch)
    users = LocalUsers(500, 700)
    assert database.asked == [500]  # before anybody waits
    for _ in range(3):
        assert (users.name_of(0), users.name_of(500)) == ("root", "user500")
    assert database.asked == [500]


async def test_another_user_is_looked_up_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    database = Database(monkeypatch)
    users = LocalUsers(500, 700)
    database.asked.clear()
    for _ in range(3):
        assert (users.name_of(1000), users.name_of(1002)) == ("user1000", "1002")
    assert database.asked == [1000, 1002]
    await trio.sleep(61)
    users.name_of(1000)
    assert database.asked == [1000, 1002, 1000]
    for uid in range(2000, 10_000):
        users.name_of(uid)
    assert users.kept <= USERS_KEPT_MAX


@pytest.mark.parametrize(
    ("peer", "may"),
    [
        (Peer(1, 0, 0), True),
        (Peer(1, 500, 1), True),
        (Peer(1, 600, 700), True),
        (Peer(1, 600, 600, (5, 700)), True),
        (Peer(1, 600, 600), False),
        (Peer(1, 600, 600, (5, 70, 7000)), False),
        (Peer(1, 700, 600), False),
    ],
)
def test_the_socket_is_for_root_the_daemon_and_the_members_of_its_group(peer: Peer, may: bool) -> None:
    assert LocalUsers(500, 700).may_use_socket(peer) is may


async def test_the_api_itself_asks_the_same_question() -> None:
    async with running() as daemon:
        for peer, status in {(1, 0, 0): 201, (1, 500, 1): 201, (1, 600, 700): 201, (1, 600, 600): 403}.items():
            assert await daemon.status("POST", "/api/v1/incidents", body=BODY, peer=peer) == status, peer


async def untouched(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    raise AssertionError("the application was asked")


async def test_a_stranger_is_told_why_and_its_connection_ends(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def as_stranger(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        scope["state"]["peer"] = Peer(1, 600, 600)
        await PeerGate(Gate(untouched), FakeUsers())(scope, receive, send)

    async with open_door(as_stranger) as door:
        caller = door.dial()
        await caller.send(post("/", b"x" * 1000)[:-1000])  # announced, never sent
        answer = await caller.answer()
        assert answer.status == 403
        assert answer.problem["detail"] == (
            "user alice may not use this socket; join the socket's group, or use a token over TCP"
        )
        await caller.seconds_to_close()
    assert caplog.records == []


async def test_callers_over_tcp_pass_to_the_application() -> None:
    async def hello(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        await answer_plainly(send, msgspec.json.encode("peer" in scope["state"]))

    async with open_door(PeerGate(Gate(hello), FakeUsers())) as door:
        caller = door.dial()
        await caller.send(post("/", b"{}"))
        assert (await caller.answer()).body == b"false"


@pytest.fixture
def socket_folder(tmp_path: Path) -> Path:
    """A folder that every user may go through; its parents need not be, since callers start in it."""
    tmp_path.chmod(0o711)
    return tmp_path


async def call(folder: Path, uid: int, gid: int, *groups: int) -> str:
    """The status that a process of that user gets, or what its attempt ended with."""
    words = [sys.executable, "-I", "-S", "-c", CALL, *map(str, (uid, gid, *groups))]
    done = await trio.run_process(words, cwd=folder, capture_stdout=True, capture_stderr=True, check=False)
    return (done.stdout or done.stderr).decode().strip()


async def test_the_kernel_says_who_connects_and_a_stranger_is_refused_before_its_body(socket_folder: Path) -> None:
    """As root with real users; as anybody else with one's own, against a daemon that belongs to somebody else."""
    uid, gid = os.geteuid(), os.getegid()
    foreign_gid = max({gid, *os.getgroups()}) + 1
    nobody = 65534

    async def statuses(users: LocalUsers, mode: int, group: int, *callers: tuple[int, ...]) -> list[str]:
        async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            await receive()
            await answer_plainly(send)

        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            listener = open_unix(socket_folder / "s", mode)
            if group != (socket_folder / "s").stat().st_gid:
                os.chown(socket_folder / "s", -1, group)
            nursery.start_soon(lambda: serve(PeerGate(Gate(app), users), [listener], stop=stop))
            got = [await call(socket_folder, *caller) for caller in callers]
            stop.set()
        return got

    if uid == 0:
        users = LocalUsers(0, foreign_gid)
        member, primary, stranger = (nobody, nobody, 5, foreign_gid), (nobody, foreign_gid), (nobody, nobody, 5)
        assert await statuses(users, 0o660, foreign_gid, (0, 0), member, primary, stranger) == [
            *("100 200", "100 200", "100 200", "kept out by the kernel")
        ]
        assert await statuses(users, 0o666, foreign_gid, (0, 0), member, primary, stranger) == [
            *("100 200", "100 200", "100 200", "403")
        ]
    else:
        me = (uid, gid)
        assert await statuses(LocalUsers(uid, foreign_gid), 0o660, gid, me) == ["100 200"]
        assert await statuses(LocalUsers(uid + 1, gid), 0o660, gid, me) == ["100 200"]
        assert await statuses(LocalUsers(uid + 1, foreign_gid), 0o660, gid, me) == ["403"]


async def test_nobody_ever_sees_the_socket_with_another_mode(tmp_path: Path) -> None:
    words = [sys.executable, "-I", "-S", "-c", WATCH, str(tmp_path / "s")]
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.deadline = trio.current_time() + 60
        watcher: trio.Process = await nursery.start(
            partial(trio.run_process, words, stdout=subprocess.PIPE, check=False)
        )
        assert watcher.stdout is not None
        changed = partial(next_line, watcher.stdout, bytearray())
        assert await changed() == "none"
        seen = []
        for _ in range(STARTS):
            async with open_unix(tmp_path / "s"):
                seen.append(await changed())
            while (line := await changed()) != "none":
                seen.append(line)
        nursery.cancel_scope.cancel()
    assert seen == [oct(stat.S_IFSOCK | 0o660)] * STARTS


async def next_line(stream: trio.abc.ReceiveStream, left: bytearray) -> str:
    """One line of a stream; ``left`` keeps what came behind it."""
    while b"\n" not in left:
        left += await stream.receive_some()
    line, _, rest = bytes(left).partition(b"\n")
    left[:] = rest
    return line.decode()
