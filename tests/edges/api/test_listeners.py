"""Sockets: modes from birth, stale and live files, who holds the path."""

import fcntl
import os
import socket
import stat
from pathlib import Path

import pytest
import trio
import trio.testing

from syncd.edges.api.listeners import UnixListener, address_of, open_tcp, open_unix, take_over
from syncd.errors import AlreadyRunning, BadConfig


def leave_stale(path: Path) -> None:
    """What a killed daemon leaves behind."""
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(os.fspath(path))
    dead.close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def descriptors() -> set[int]:
    return {int(entry.name) for entry in Path("/proc/self/fd").iterdir() if entry.exists()}


class TestUnix:
    @pytest.mark.parametrize("mode", [0o660, 0o600, 0o666])
    async def test_it_has_its_mode_whatever_the_umask(self, mode: int, tmp_path: Path) -> None:
        before = os.umask(0o027)
        try:
            async with open_unix(tmp_path / "s", mode):
                assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == mode
            assert os.umask(0o027) == 0o027
        finally:
            os.umask(before)

    async def test_closing_removes_it_and_only_it(self, tmp_path: Path) -> None:
        async with open_unix(tmp_path / "s") as listener:
            pass
        await listener.aclose()
        assert names(tmp_path) == ["s.lock"]
        async with open_unix(tmp_path / "s"):
            pass

    async def test_closing_leaves_a_socket_that_somebody_else_put_there(self, tmp_path: Path) -> None:
        async with open_unix(tmp_path / "s"):
            (tmp_path / "s").unlink()
            leave_stale(tmp_path / "s")
        assert (tmp_path / "s").exists()

    async def test_a_stale_one_is_replaced(self, tmp_path: Path) -> None:
        leave_stale(tmp_path / "s")
        async with open_unix(tmp_path / "s") as listener, await trio.open_unix_socket(tmp_path / "s"):
            await (await listener.accept()).aclose()

    async def test_a_live_one_is_refused_with_the_pid_of_its_holder(self, tmp_path: Path) -> None:
        async with open_unix(tmp_path / "s"):
            with pytest.raises(AlreadyRunning, match=rf"{tmp_path}/s is held by another syncd \(pid {os.getpid()}\)"):
                open_unix(tmp_path / "s")
            await (await trio.open_unix_socket(tmp_path / "s")).aclose()

    async def test_the_lock_decides_between_two_that_have_not_bound_yet(self, tmp_path: Path) -> None:
        with (tmp_path / "s.lock").open("w") as lock:
            lock.write("4711")
            lock.flush()
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(AlreadyRunning, match=r"pid 4711"):
                open_unix(tmp_path / "s")
        async with open_unix(tmp_path / "s"):
            assert (tmp_path / "s.lock").read_text() == f"{os.getpid()}\n"

    async def test_a_live_one_without_a_lock_is_refused_too(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(os.fspath(tmp_path / "s"))
            other.listen(0)
            with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"):
                open_unix(tmp_path / "s")
            with pytest.raises(AlreadyRunning, match="pid unknown"):  # the first probe fills its backlog
                open_unix(tmp_path / "s")
            assert (tmp_path / "s").exists()

    async def test_of_two_that_start_together_one_gets_it(self, tmp_path: Path) -> None:
        leave_stale(tmp_path / "s")
        refused: list[bool] = []
        got: list[UnixListener] = []

        async def start() -> None:
            try:
                got.append(await trio.to_thread.run_sync(open_unix, tmp_path / "s"))
            except AlreadyRunning:
                refused.append(True)

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(start)
        [winner] = got
        assert len(refused) == 7
        await (await trio.open_unix_socket(tmp_path / "s")).aclose()
        await winner.aclose()

    @pytest.mark.parametrize("make", [Path.touch, Path.mkdir], ids=["file", "folder"])
    async def test_what_is_no_socket_is_left_alone(self, make: object, tmp_path: Path) -> None:
        assert callable(make)
        make(tmp_path / "s")
        with pytest.raises(BadConfig, match="is taken by a file that is no socket"):
            open_unix(tmp_path / "s")
        assert (tmp_path / "s").exists()

    async def test_a_path_over_107_bytes_is_refused_before_anything_is_made(self, tmp_path: Path) -> None:
        longest = tmp_path / ("s" * (107 - len(os.fsencode(tmp_path)) - 1))
        async with open_unix(longest):
            pass
        with pytest.raises(BadConfig, match="has 108 bytes, Unix allows 107") as caught:
            open_unix(longest.with_name(longest.name + "s"))
        assert "INCIDENTS_SOCKET" in caught.value.hint
        assert names(tmp_path) == [f"{longest.name}.lock"]

    async def test_a_folder_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(BadConfig, match="no/s: No such file") as caught:
            open_unix(tmp_path / "no" / "s")
        assert "folder" in caught.value.hint

    async def test_the_log_names_what_is_listened_on(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as inherited:
            inherited.bind(str(tmp_path / "inherited"))
            inherited.listen()
            (tcp,) = await open_tcp("127.0.0.1", 0)
            async with open_unix(tmp_path / "s") as unix, tcp, take_over(inherited.dup()) as handed_over:
                assert address_of(unix) == str(tmp_path / "s")
                assert address_of(handed_over) == str(tmp_path / "inherited")
                assert address_of(tcp) == f"127.0.0.1:{tcp.socket.getsockname()[1]}"

    async def test_no_descriptor_is_inheritable_and_none_is_left(self, tmp_path: Path) -> None:
        before = descriptors()
        async with open_unix(tmp_path / "s"):
            made = descriptors() - before
            assert [os.get_inheritable(fd) for fd in made] == [False, False]
            for path in (tmp_path / "s", tmp_path / "no" / "s"):
                with pytest.raises((AlreadyRunning, BadConfig)):
                    open_unix(path)
        assert descriptors() == before


class TestTcp:
    async def test_a_free_port_is_found_and_can_be_had_again_at_once(self) -> None:
        [listener] = await open_tcp("127.0.0.1", 0)
        port = listener.socket.getsockname()[1]
        assert not os.get_inheritable(listener.socket.fileno())
        async with await trio.testing.open_stream_to_socket_listener(listener) as stream:
            await (await listener.accept()).aclose()
            assert await stream.receive_some() == b""
        await listener.aclose()
        [again] = await open_tcp("127.0.0.1", port)
        await again.aclose()

    async def test_a_taken_port_is_refused_with_the_way_out(self) -> None:
        [listener] = await open_tcp("127.0.0.1", 0)
        port = listener.socket.getsockname()[1]
        async with listener:
            with pytest.raises(BadConfig, match=rf"127\.0\.0\.1:{port}: Address already in use") as caught:
                await open_tcp("127.0.0.1", port)
            assert "INCIDENTS_LISTEN" in caught.value.hint

    async def test_a_silent_peer_is_given_up_by_the_kernel(self) -> None:
        [listener] = await open_tcp("127.0.0.1", 0)
        async with (
            listener,
            await trio.testing.open_stream_to_socket_listener(listener),
            await listener.accept() as ours,
        ):
            assert ours.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
