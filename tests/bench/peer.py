"""A ServiceNow that answers at once, as a process: the part of the Table API that the sync uses, and no rules.

The simulator keeps ServiceNow's promises and costs as much CPU as the daemon; this peer costs nearly nothing, so that
what is measured is the daemon. It keeps records in a dict (a record nobody made has the values of ``columns_of``), says
when each PATCH came in, and how much time of its own the requests took.

    POST /bench/edit  {"sys_id": value, ...}   somebody in ServiceNow gives these records another short description
    POST /bench/take  -> what happened since the last time
    anything else     the Table API, or a PUT of the peer comparison, which is answered 200
"""

import asyncio
import json
import re
import signal
import sys
import time
from collections.abc import Iterator
from email.utils import formatdate
from urllib.parse import parse_qs, unquote, urlsplit

Columns = dict[str, str]
ACCOUNT = "svc.sync"
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_AMONG = re.compile(r"sys_idIN([^^]*)")
_OURS = re.compile(r"correlation_idSTARTSWITH([^^]*)\^sys_id>([^^]*)\^")
_PRIORITY = {"11": "1", "12": "2", "13": "3", "21": "2", "22": "3", "23": "4", "31": "3", "32": "4", "33": "5"}


def columns_of(sys_id: str) -> Columns:
    """What a record shows that nobody has written."""
    return {
        "sys_id": sys_id,
        "number": f"INC{int(sys_id[-7:], 16) % 10**7:07d}",
        "sys_mod_count": "1",
        "sys_updated_on": "2026-01-01 00:00:00",
        "sys_updated_by": ACCOUNT,
        "sys_created_on": "2026-01-01 00:00:00",
        "sys_created_by": ACCOUNT,
        "correlation_id": "",
        "short_description": f"Checkout latency {sys_id[-7:]}",
        "description": "",
        "state": "2",
        "impact": "2",
        "urgency": "2",
        "priority": "3",
        "close_code": "",
        "close_notes": "",
        "hold_reason": "",
    }


class Table:
    """The records, and what has been asked of them. ``ours``: so many carry a correlation id, numbered from 0."""

    def __init__(self, ours: int = 0) -> None:
        self._ours = ours
        self._records: dict[str, Columns] = {}
        self.forget()

    def forget(self) -> None:
        """Begin to count anew."""
        self.methods: dict[str, int] = {}
        self.rows_read = 0
        self.own_s: dict[str, list[float]] = {}
        self.writes: list[tuple[float, str, str]] = []  # when it came, the record, its new short description

    def write(self, sys_id: str, columns: Columns, by: str) -> Columns:
        """Change a record, as ServiceNow would show it."""
        record = self._records.setdefault(sys_id, columns_of(sys_id))
        record.update(columns)
        record["priority"] = _PRIORITY.get(record["impact"] + record["urgency"], "3")
        record["sys_mod_count"] = str(int(record["sys_mod_count"]) + 1)
        record["sys_updated_on"] = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        record["sys_updated_by"] = by
        return record

    def answer(self, method: str, target: str, body: bytes, came_at_s: float) -> object:
        """The JSON to be answered."""
        parts = urlsplit(target)
        match method, parts.path:
            case "POST", "/bench/edit":
                for sys_id, value in json.loads(body).items():
                    self.write(sys_id, {"short_description": value}, "beth.anglin")
                return {}
            case "POST", "/bench/take":
                taken = {
                    "methods": self.methods,
                    "rows_read": self.rows_read,
                    "own_s": self.own_s,
                    "writes": self.writes,
                }
                self.forget()
                return taken
        self.methods[method] = self.methods.get(method, 0) + 1
        match method:
            case "GET":
                asked = parse_qs(parts.query)
                query = unquote(asked.get("sysparm_query", [""])[0])
                among, ours = _AMONG.search(query), _OURS.search(query)
                rows = [self._record(sys_id) for sys_id in among[1].split(",")] if among else []
                if ours is not None:
                    rows = self._carrying(ours[1], ours[2], int(asked["sysparm_limit"][0]))
                self.rows_read += len(rows)
                return {"result": rows}
            case "POST":
                made: Columns = json.loads(body)
                sys_id = f"{len(self._records):032x}"
                made["sys_created_on"] = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
                return {"result": self.write(sys_id, made, ACCOUNT)}
            case _:
                sys_id = parts.path.rpartition("/")[2]
                columns: Columns = json.loads(body)
                self.writes.append((came_at_s, sys_id, columns.get("short_description", "")))
                return {"result": self.write(sys_id, columns, ACCOUNT)}

    def _carrying(self, prefix: str, after: str, limit: int) -> list[Columns]:
        """The next records whose correlation id begins with ``prefix``, by id behind ``after``."""
        first = int(after, 16) + 1 if len(after) == 32 else 0
        numbers = range(first, min(first + limit, self._ours))
        return [
            {"sys_id": f"{one:032x}", "number": f"INC{one:07d}", "correlation_id": f"{prefix}INC-{one:010d}"}
            for one in numbers
        ]

    def _record(self, sys_id: str) -> Columns:
        return self._records.get(sys_id) or columns_of(sys_id)


class Conversation(asyncio.Protocol):
    """One connection: requests in, answers out."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        came_at_s, begun = time.time(), time.perf_counter()
        self._received += data
        for method, target, body in self._requests():
            own_s = self._table.own_s  # before the answer, which may begin the count anew
            shown = json.dumps(self._table.answer(method, target, body, came_at_s)).encode()
            head = (
                f"HTTP/1.1 {201 if method == 'POST' else 200} OK\r\nContent-Type: application/json;charset=UTF-8\r\n"
                f"Date: {formatdate(usegmt=True)}\r\nContent-Length: {len(shown)}\r\n\r\n"
            )
            self._transport.write(head.encode() + shown)
            own_s.setdefault(method, []).append(time.perf_counter() - begun)
            begun = time.perf_counter()

    def _requests(self) -> Iterator[tuple[str, str, bytes]]:
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._received, 0, end)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self._received) < size:
                return
            method, target, _ = self._received.split(b" ", 2)
            body, self._received = self._received[end + 4 : size], self._received[size:]
            yield method.decode(), target.decode(), body


async def serve(port: int, ours: int) -> None:
    """Until SIGTERM."""
    loop, table = asyncio.get_running_loop(), Table(ours)
    server = await loop.create_server(lambda: Conversation(table), "127.0.0.1", port)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
