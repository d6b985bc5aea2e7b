"""A Gemini that costs next to nothing: raw asyncio, no HTTP library. Behaviour stands in the model's name.

`fake` answers at once, `fake-s2000` after 2000 ms, `fake-n20-g200` streams 20 chunks 200 ms apart.
"""

import asyncio
import json
import re
import sys

WAIT = re.compile(rb"-s(\d+)")
CHUNKS = re.compile(rb"-n(\d+)")
GAP = re.compile(rb"-g(\d+)")
LENGTH = re.compile(rb"content-length: *(\d+)", re.I)


def said(text: str, finish: str | None) -> bytes:
    candidate: dict[str, object] = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}
    usage = {"promptTokenCount": 8, "candidatesTokenCount": 4, "totalTokenCount": 12}
    if finish:
        candidate["finishReason"] = finish
    return json.dumps({"candidates": [candidate], "usageMetadata": usage, "modelVersion": "fake"}).encode()


WHOLE = said("The sea is wide and deep. " * 8, "STOP")


def number(pattern: re.Pattern[bytes], line: bytes) -> int:
    found = pattern.search(line)
    return int(found[1]) if found else 0


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            await reader.readexactly(number(LENGTH, head))
            line = head.split(b"\r\n", 1)[0]
            await asyncio.sleep(number(WAIT, line) / 1000)
            if b"streamGenerateContent" in line:
                await stream(writer, number(CHUNKS, line) or 1, number(GAP, line) / 1000)
            else:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
                writer.write(b"content-length: %d\r\n\r\n%s" % (len(WHOLE), WHOLE))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


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
    server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=4096)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
