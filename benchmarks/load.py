"""The clients: raw asyncio, so that measuring costs less than what is measured."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

HEAD = (
    "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer bench-key\r\n"
    "Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
)


@dataclass
class Outcome:
    """What a load saw; times in seconds."""

    wall: float = 0.0
    took: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)  # until a stream's first chunk
    chunks: int = 0
    errors: int = 0

    def percentile(self, share: float, of: list[float] | None = None) -> float:
        values = sorted(self.took if of is None else of)
        return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def packed(path: str, body: Any) -> bytes:
    raw = json.dumps(body).encode()
    return HEAD.format(path=path, length=len(raw)).encode() + raw


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bool:
    """Send a request and read its plain answer; say whether it was a 200."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(row[15:]) for row in head.lower().split(b"\r\n") if row.startswith(b"content-length:"))
    await reader.readexactly(length)
    return head.startswith(b"HTTP/1.1 200")


async def _client(port: int, requests: list[bytes], outcome: Outcome) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    try:
        for request in requests:
            begin = time.perf_counter()
            good = await exchange(reader, writer, request)
            outcome.errors += not good  # in two lines: the sum must not be begun before the answer is there
            outcome.took.append(time.perf_counter() - begin)
    except (OSError, asyncio.IncompleteReadError, StopIteration, RuntimeError):
        outcome.errors += 1
    finally:
        writer.close()


async def _stream(port: int, request: bytes, outcome: Outcome, wait: float) -> None:
    await asyncio.sleep(wait)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    begin, seen, done = time.perf_counter(), 0, False
    writer.write(request)
    try:
        while row := await asyncio.wait_for(reader.readline(), 60):
            if row.startswith(b"event: chunk"):
                if not seen:
                    outcome.first.append(time.perf_counter() - begin)
                seen += 1
            done = done or row.startswith(b"event: done")
            if row == b"0\r\n":
                break
    except (OSError, TimeoutError):
        done = False
    outcome.took.append(time.perf_counter() - begin)
    outcome.chunks += seen
    outcome.errors += not done
    writer.close()


def calls(port: int, path: str, body: Callable[[int], Any], *, clients: int, each: int) -> Outcome:
    """Return what `clients` connections saw that asked `each` questions one after the other."""
    outcome = Outcome()
    work = [[packed(path, body(number * each + turn)) for turn in range(each)] for number in range(clients)]

    async def run() -> None:
        await asyncio.gather(*(_client(port, requests, outcome) for requests in work))

    begin = time.perf_counter()
    asyncio.run(run())
    outcome.wall = time.perf_counter() - begin
    return outcome


def streams(port: int, path: str, body: Callable[[int], Any], *, clients: int, within: float) -> Outcome:
    """Return what `clients` streams saw that began evenly within so many seconds."""
    outcome = Outcome()

    async def run() -> None:
        rows = [packed(path, body(number)) for number in range(clients)]
        await asyncio.gather(
            *(_stream(port, row, outcome, within * number / clients) for number, row in enumerate(rows))
        )

    begin = time.perf_counter()
    asyncio.run(run())
    outcome.wall = time.perf_counter() - begin
    return outcome
