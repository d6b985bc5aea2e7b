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


@dataclass(frozen=True)
class Answer:
    """The answer to one of the requests that arrive; `status` 0: none came. Times in seconds."""

    number: int
    status: int
    took: float
    body: bytes = b""


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Pool:
    """Connections that are kept and used again, as clients' libraries do."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[Streams] = []

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Return the status and the body of a whole answer, also of one in chunks."""
        while self._idle:
            try:
                return await self._over(self._idle.pop(), request)
            except (ConnectionError, asyncio.IncompleteReadError):
                continue  # the server closed it meanwhile
        return await self._over(await asyncio.open_connection("127.0.0.1", self._port, limit=2**20), request)

    async def _over(self, streams: Streams, request: bytes) -> tuple[int, bytes]:
        reader, writer = streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = [int(row[15:]) for row in head.split(b"\r\n") if row.startswith(b"content-length:")]
        body = await (reader.readexactly(length[0]) if length else reader.readuntil(b"\r\n0\r\n\r\n"))
        if b"connection: close" in head:
            writer.close()
        else:
            self._idle.append(streams)
        return int(head[9:12]), body

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


async def arriving(port: int, rate: float, seconds: float, request: Callable[[int], bytes]) -> list[Answer]:
    """Ask `rate` times a second, whatever comes back, and return all answers."""
    answers: list[Answer] = []
    running: set[asyncio.Task[None]] = set()
    pool = Pool(port)

    async def one(number: int) -> None:
        begun = time.perf_counter()
        try:
            said = await asyncio.wait_for(pool.ask(request(number)), 60)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            said = 0, b""
        answers.append(Answer(number, said[0], time.perf_counter() - begun, said[1]))

    begun, number = time.monotonic(), 0
    while (now := time.monotonic() - begun) < seconds:
        while number < now * rate:
            running.add(task := asyncio.create_task(one(number)))
            task.add_done_callback(running.discard)
            number += 1
        await asyncio.sleep(0.005)
    await asyncio.gather(*running)
    pool.close()
    return answers


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
