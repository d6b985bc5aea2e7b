"""A Gemini that costs next to nothing: raw asyncio, no HTTP library. Behaviour stands in the model's name.

`fake` answers at once, `fake-s2000` after 2000 ms, `fake-n20-g200` streams 20 chunks 200 ms apart, `fake-c6` answers
429 to whoever comes while six are being answered, `fake-f50` answers 503 to half of all, `fake-x` to all after
GET /down and to nobody after GET /up, `fake-says-yes` says yes. GET /asked tells how often such a model was asked.
Anything sent to /chat/completions is answered well in OpenAI's format.
"""

import asyncio
import json
import random
import re
import sys
from dataclasses import dataclass
from functools import partial

WAIT = re.compile(rb"-s(\d+)")
CHUNKS = re.compile(rb"-n(\d+)")
GAP = re.compile(rb"-g(\d+)")
PLACES = re.compile(rb"-c(\d+)")
FAILING = re.compile(rb"-f(\d+)")
SAYS = re.compile(rb"-says-(\w+)")
LENGTH = re.compile(rb"content-length: *(\d+)", re.I)


def said(text: str, finish: str | None) -> bytes:
    candidate: dict[str, object] = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}
    usage = {"promptTokenCount": 8, "candidatesTokenCount": 4, "totalTokenCount": 12}
    if finish:
        candidate["finishReason"] = finish
    return json.dumps({"candidates": [candidate], "usageMetadata": usage, "modelVersion": "fake"}).encode()


WHOLE = said("The sea is wide and deep. " * 8, "STOP")


CHAT = json.dumps({
    "id": "fake",
    "object": "chat.completion",
    "created": 0,
    "model": "fake",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Fine."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 8, "completion_tokens": 4, "total_tokens": 12},
}).encode()


@dataclass
class Mood:
    """How the server is doing."""

    down: bool = False
    asked: int = 0  # models that fail
    serving: int = 0  # models with few places


def number(pattern: re.Pattern[bytes], line: bytes) -> int:
    found = pattern.search(line)
    return int(found[1]) if found else 0


async def serve(mood: Mood, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            await reader.readexactly(number(LENGTH, head))
            line = head.split(b"\r\n", 1)[0]
            if line.startswith(b"GET"):
                written(writer, 200, told(mood, line))
            elif places := number(PLACES, line):
                await few(mood, writer, line, places)
            elif status := failure(mood, line):
                written(writer, status, b"{}")
            else:
                await good(writer, line)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def told(mood: Mood, line: bytes) -> bytes:
    """Do what an address asks for, and tell how often failing models were asked."""
    mood.down = b"/down" in line or (mood.down and b"/up" not in line)
    return b"%d" % mood.asked


def failure(mood: Mood, line: bytes) -> int:
    """Return the status to fail with, or 0."""
    mood.asked += b"-x" in line or b"-f" in line
    fails = (mood.down and b"-x" in line) or random.random() * 100 < number(FAILING, line)
    return 503 if fails else 0


async def few(mood: Mood, writer: asyncio.StreamWriter, line: bytes, places: int) -> None:
    if mood.serving >= places:
        written(writer, 429, b"{}")
        return
    mood.serving += 1
    try:
        await good(writer, line)
    finally:
        mood.serving -= 1


async def good(writer: asyncio.StreamWriter, line: bytes) -> None:
    await asyncio.sleep(number(WAIT, line) / 1000)
    if b"streamGenerateContent" in line:
        await stream(writer, number(CHUNKS, line) or 1, number(GAP, line) / 1000)
    else:
        word = SAYS.search(line)
        plain = said(word[1].decode(), "STOP") if word else WHOLE
        written(writer, 200, CHAT if b"/chat/completions" in line else plain)


def written(writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
    writer.write(b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\n" % status)
    writer.write(b"content-length: %d\r\n\r\n%s" % (len(body), body))


async def stream(writer: asyncio.StreamWriter, chunks: int, gap: float) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    for each in range(chunks):
        if each:
            await asyncio.sleep(gap)
        event = b"data: %s\r\n\r\n" % said("word ", "STOP" if each == chunks - 1 else None)
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        await writer.drain()
    writer.write(b"0\r\n\r\n")


async def main(port: int) -> None:
    server = await asyncio.start_server(partial(serve, Mood()), "127.0.0.1", port, backlog=4096)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
