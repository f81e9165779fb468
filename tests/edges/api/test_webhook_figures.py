"""What the webhook door promises, in numbers: bit by bit, by the thousand, and over restarts."""

import base64
import json
import logging
import tracemalloc
from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec
import pytest
from trio.testing import MockClock

from syncd.core.state import WEBHOOKS_REMEMBERED_S
from syncd.edges.api.gate import Gate
from syncd.edges.api.webhooks import WebhookDoor
from tests.edges.api.daemon import running, signature
from tests.edges.api.doors import HEAD, open_door, post
from tests.edges.api.hooks import HOOK, SECRET, SYS_ID, Answer, knock
from tests.simulation.disk import SimDisk

RAW = msgspec.json.encode(HOOK)
REFUSED = {401, 429}
PATH = b"/api/v1/webhooks/prod"


def address(number: int) -> str:
    """Another source each time, so that none is refused for what it sent before."""
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def signed(raw: bytes, timestamp: str = "") -> dict[str, str]:
    headers = {"X-ServiceNow-Signature": signature(SECRET, raw, timestamp=timestamp)}
    return headers | ({"X-ServiceNow-Timestamp": timestamp} if timestamp else {})


def flips(raw: bytes) -> Iterator[bytes]:
    for at in range(len(raw) * 8):
        flipped = bytearray(raw)
        flipped[at // 8] ^= 1 << at % 8
        yield bytes(flipped)


async def test_every_flipped_bit_of_body_timestamp_and_signature_is_refused() -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod", webhook_secret=SECRET)
        door, position = daemon.api.webhooks, daemon.journal.state.position
        stamp = str(int(daemon.clock.at_s))
        genuine = signed(RAW, stamp)
        sent = 0
        for body in flips(RAW):
            assert (await knock(door, body, genuine, address=address(sent))).status == 401
            sent += 1
        for name, value in genuine.items():
            for flipped in flips(value.encode()):
                answer = await knock(door, RAW, genuine | {name: flipped.decode("latin-1")}, address=address(sent))
                assert answer.status == 401, (name, flipped)
                sent += 1
        assert sent == 8 * (len(RAW) + sum(len(value) for value in genuine.values()))
        assert daemon.journal.state.position == position
        assert (await knock(door, RAW, genuine)).status == 202


def written_otherwise(genuine: str) -> Iterator[str]:
    """The right bytes in forms that nobody was promised, and more than one signature in a header."""
    mac = base64.b64decode(genuine)
    yield from (genuine[:length] for length in range(len(genuine.rstrip("="))))
    yield from (genuine + letter for letter in "=A.,;\0")
    yield from (genuine.swapcase(), genuine.upper(), genuine.lower(), genuine[::-1], f'"{genuine}"', f"{genuine}\n")
    yield from (f"{genuine}, {genuine}", f"{genuine},{genuine}", f"{genuine} {genuine}", f"wrong,{genuine}")
    yield from (f"v1={genuine}", f"v1,{genuine}", f"sha1={genuine}", f"sha256:{genuine}", f"sha256=sha256={genuine}")
    yield from (base64.b32encode(mac).decode(), base64.b85encode(mac).decode(), mac.hex(":"), f"0x{mac.hex()}")
    yield from (base64.b64encode(mac.hex().encode()).decode(), genuine.encode().hex(), mac[:16].hex(), mac.hex()[:-1])
    yield from ("".join(f"%{byte:02x}" for byte in mac), "\\x" + mac.hex("x"), mac.decode("latin-1"))


async def test_ten_thousand_forged_signatures_are_refused_and_leave_nothing() -> None:
    chance = Random(1)
    async with running() as daemon:
        await daemon.configure(handle="prod", webhook_secret=SECRET)
        door, position = daemon.api.webhooks, daemon.journal.state.position
        genuine = signature(SECRET, RAW)
        forged = [*written_otherwise(genuine), signature(SECRET + "\n", RAW), signature("", RAW), signature("x", RAW)]
        while len(forged) < 10_000:
            mac = chance.randbytes(32)
            forged.append(chance.choice([mac.hex(), base64.b64encode(mac).decode(), f"sha256={mac.hex()}"]))
        for number, text in enumerate(forged):
            headers = {"X-ServiceNow-Signature": text}
            assert (await knock(door, RAW, headers, address=address(number % 3_000))).status in REFUSED, text
        assert daemon.journal.state.position == position


@pytest.mark.parametrize(
    "trap",
    [
        RAW.replace(b":", b": "),
        RAW + b"\n",
        b" " + RAW,
        b"\xef\xbb\xbf" + RAW,
        json.dumps(dict(reversed(HOOK.items())), separators=(",", ":")).encode(),
        RAW.replace(b"INC", b"\\u0049NC"),
        RAW.replace(b"2026-11", b"2026\\u002d11"),
        RAW.replace(b"}", b',"state":"2"}'),
        RAW.decode().encode("utf-16"),
    ],
)
async def test_the_same_json_in_other_bytes_is_not_what_was_signed(trap: bytes) -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod", webhook_secret=SECRET)
        assert trap != RAW
        assert (await knock(daemon.api.webhooks, trap, signed(RAW))).status == 401


def grown(chance: Random, depth: int = 0) -> Any:
    """Any JSON value, with the keys that matter more often than others."""
    kind = chance.randrange(10 if depth < 4 else 6)
    match kind:
        case 0:
            return chance.choice([None, True, False])
        case 1:
            return chance.choice([0, -1, 10**30, 1e308, -0.0, 10**400, 2**63])
        case 2 | 3:
            return "".join(chance.choice('a9_ -\\"/\0\x1f\ud83d\udc00é火{}[]') for _ in range(chance.randrange(40)))
        case 4 | 5:
            return chance.choice([SYS_ID, "x" * 300, "", "update", "DELETE", "7", "1" * 20])
        case 6 | 7:
            return [grown(chance, depth + 1) for _ in range(chance.randrange(4))]
        case _:
            keys = ["sys_id", "sys_mod_count", "operation", "event_id", "number", "work_notes", "x", "\0", "\ud800"]
            return {chance.choice(keys): grown(chance, depth + 1) for _ in range(chance.randrange(6))}


def malformed(chance: Random, number: int) -> bytes:
    if number % 10 < 5:
        raw = bytearray(RAW)
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(raw) + 1)
            match chance.randrange(4):
                case 0:
                    raw[at : at + 1] = chance.randbytes(1)
                case 1:
                    del raw[at : at + chance.randrange(1, 9)]
                case 2:
                    raw[at:at] = chance.choice(
                        [b"[" * 80, b'{"a":' * 70, b"\\ud83d", b"\\u0000", b"\xff\xfe", b"9" * 5000]
                    )
                case _:
                    raw[at:at] = raw[: chance.randrange(60)]
        return bytes(raw)
    if number % 10 < 8:
        return json.dumps(grown(chance), ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    return chance.randbytes(chance.randrange(200))


async def test_two_thousand_malformed_bodies_with_a_right_signature_are_2xx_or_4xx_and_no_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    chance, seen = Random(2), dict[int, int]()
    async with running() as daemon:
        await daemon.configure(handle="prod", webhook_secret=SECRET)
        for number in range(2_000):
            raw = malformed(chance, number)
            answer = await knock(daemon.api.webhooks, raw)
            assert answer.status in {202, 400, 422}, (answer, raw)
            assert len(answer.body) < 2_000, raw
            seen[answer.status] = seen.get(answer.status, 0) + 1
        counted = (await daemon.socket.get("/api/v1/integrations/prod/sync-status")).json()["webhooks"]
        assert counted["rejected"] == seen[400] + seen[422]
        assert counted["accepted"] + counted["duplicates"] == seen[202]
    assert all(seen[status] > 50 for status in (202, 400, 422)), seen  # each kind was met
    assert [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR] == []


async def test_a_thousand_deliveries_over_five_rotations_none_is_refused_and_no_old_secret_outlives_its_grace() -> None:
    chance = Random(3)
    async with running() as daemon:
        await daemon.configure(handle="prod", webhook_secret=SECRET)
        door = daemon.api.webhooks
        newest, in_use, switch_at_s = SECRET, SECRET, 0.0
        ends_at_s: dict[str, float] = {}
        refused_old = 0
        for number in range(1_000):
            daemon.clock.at_s += 60
            if number % 200 == 90:
                path = "/api/v1/integrations/prod/webhook-secret/rotate"
                rotated = (await daemon.socket.post(path, json={"grace": "1h"})).json()
                ends_at_s[newest] = daemon.clock.at_s + 3600
                newest, switch_at_s = rotated["webhook_secret"], daemon.clock.at_s + chance.uniform(0, 3540)
            if daemon.clock.at_s >= switch_at_s:  # a person pastes it into ServiceNow some time within the grace
                in_use = newest
            assert (await knock(door, RAW, secret=in_use)).status == 202
            for secret, end_s in ends_at_s.items():
                is_over = daemon.clock.at_s >= end_s
                status = (await knock(door, RAW, secret=secret, address=address(number))).status
                assert status == (401 if is_over else 202)
                refused_old += is_over
        assert len(ends_at_s) == 5
        assert refused_old > 500


async def test_one_delivery_replayed_a_thousand_times_over_a_restart_and_after_a_day_has_one_effect() -> None:
    disk = SimDisk(Random(4))
    raw = msgspec.json.encode(HOOK | {"event_id": "e-1"})
    async with running(disk=disk) as daemon:
        made = await daemon.configure(handle="prod", webhook_secret=SECRET)
        headers = signed(raw, str(int(daemon.clock.at_s)))
        position = daemon.journal.state.position
        for number in range(1_000):
            answer = await knock(daemon.api.webhooks, raw, headers)
            assert answer.body == b'{"event_id":"e-1","duplicate":%s}' % (b"true" if number else b"false")
        assert daemon.journal.state.position == position + 1
        after = disk.crash()
        daemon.die()
    async with running(disk=after, seed=2) as daemon:
        door, position = daemon.api.webhooks, daemon.journal.state.position
        assert b'"duplicate":true' in (await knock(door, raw, headers)).body
        daemon.clock.at_s += WEBHOOKS_REMEMBERED_S
        assert b'"duplicate":true' in (await knock(door, raw)).body
        assert daemon.journal.state.position == position
        daemon.clock.at_s += 1
        assert (await knock(door, raw, headers)).status == 401  # its timestamp is too old
        for _ in range(100):  # without a timestamp it is news again, once: one more look at the record
            assert (await knock(door, raw)).status == 202
        assert daemon.journal.state.position == position + 1
        assert list(daemon.journal.state.hints[made["id"]]) == [SYS_ID]


LIMITS = {
    "body": (b'{"sys_id":"a","x":"' + b"y" * 1024 * 1024 + b'"}', 413, "over the limit of 1048576 bytes"),
    "levels": (b'{"sys_id":"a","x":' + b"[" * 64 + b"]" * 64 + b"}", 400, "nested more than 64 levels"),
    "keys": (b'{"sys_id":"a",' + b",".join(b'"k%d":1' % n for n in range(1_000)) + b"}", 400, "more than 1000 keys"),
    "NUL": (b'{"sys_id":"a","x":"\\u0000"}', 400, "NUL character"),
    "UTF-8": (b'{"sys_id":"a","x":"\xff"}', 400, "not JSON"),
    "type": (b'{"sys_id":["a"]}', 422, "sys_id"),
}


@pytest.mark.parametrize(("raw", "status", "words"), LIMITS.values(), ids=LIMITS)
async def test_each_limit_of_a_body_has_its_own_answer(
    raw: bytes, status: int, words: str, autojump_clock: MockClock
) -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod", webhook_secret=SECRET)
        async with open_door(Gate(daemon.api)) as door:
            caller = door.dial()
            line = b"x-servicenow-signature: " + signature(SECRET, raw).encode()
            await caller.send(post(PATH.decode(), raw, line))
            answer = await caller.answer()
            assert answer.status == status
            assert words in msgspec.json.decode(answer.body)["detail"]
            if status == 413:  # its rest could be taken for a request
                assert answer.headers["connection"] == "close"
                assert await caller.seconds_to_close() == 0


async def test_a_header_block_over_16_kib_and_a_body_that_drips_have_their_own_answers(
    autojump_clock: MockClock,
) -> None:
    async with running() as daemon, open_door(Gate(daemon.api)) as door:
        for raw, status, words in (
            (b"POST " + PATH + HEAD + b"x: " + b"y" * 16_400 + b"\r\n\r\n", 431, "over the limit of 16384 bytes"),
            (b"POST " + PATH + HEAD + b"content-length: 9\r\n\r\n{", 408, "did not arrive within 10 s"),
        ):
            caller = door.dial()
            await caller.send(raw)
            answer = await caller.answer()
            assert (answer.status, answer.headers["connection"]) == (status, "close")
            assert words in answer.problem["detail"]
            assert await caller.seconds_to_close() == 0


async def test_no_body_leaves_more_than_5_mb_of_memory_behind() -> None:
    """Thirty bodies of nearly a mebibyte each: good, forged and malformed."""
    large = msgspec.json.encode(HOOK | {"description": "x" * 1_000_000})
    async with running() as daemon:
        await daemon.configure(handle="prod", webhook_secret=SECRET)

        async def send(door: WebhookDoor, number: int) -> Answer:
            raw = large[:-1] if number % 3 == 1 else large
            return await knock(door, raw, secret="wrong" if number % 3 == 2 else SECRET, address=address(number))

        assert [(await send(daemon.api.webhooks, number)).status for number in range(3)] == [202, 400, 401]
        tracemalloc.start()
        try:
            for number in range(30):
                await send(daemon.api.webhooks, number)
            snapshot = tracemalloc.take_snapshot()
        finally:
            tracemalloc.stop()
        # The disk of this test is in memory, and what was written to it is not what is meant.
        for st in snapshot.statistics("lineno")[:8]:
            print(st)
        kept = snapshot.filter_traces([tracemalloc.Filter(False, "*/tests/simulation/disk.py")])
        assert sum(trace.size for trace in kept.statistics("filename")) < 5 * 1024 * 1024
        written = snapshot.filter_traces([tracemalloc.Filter(True, "*/tests/simulation/disk.py")])
        assert sum(trace.size for trace in written.statistics("filename")) > 10_000_000


async def test_what_was_answered_202_is_on_disk_and_what_was_refused_is_nowhere() -> None:
    chance, disk, accepted = Random(6), SimDisk(Random(6)), set[str]()
    async with running(disk=disk) as daemon:
        made = await daemon.configure(handle="prod", webhook_secret=SECRET)
        for number in range(200):
            raw = msgspec.json.encode({"sys_id": f"{number:032}", "event_id": str(number)})
            answer = await knock(daemon.api.webhooks, raw, secret=chance.choice([SECRET, "wrong"]))
            if answer.status == 202:
                accepted.add(f"{number:032}")
        after = disk.crash()
        daemon.die()
    async with running(disk=after, seed=7) as daemon:
        assert daemon.journal.state.hints[made["id"]].keys() == accepted
    assert 50 < len(accepted) < 150
