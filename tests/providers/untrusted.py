"""Answers of three vendors, and all the ways to spoil them."""

import copy
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.fakes.wire import http

SSE = {"Content-Type": "text/event-stream"}
NAN, ENDLESS = float("nan"), float("inf")


@dataclass(frozen=True)
class Format:
    """A vendor's words for one answer with a text and a tool's call, plain and as the events of a stream."""

    plain: Any
    events: tuple[Any, ...]
    named: bool = False  # events carry their type as a name

    def whole(self, value: Any) -> bytes:
        return http(json.dumps(value).encode())

    def stream(self, events: Any) -> bytes:
        return http(b"".join(map(self.event, events)), headers=SSE)

    def event(self, value: Any) -> bytes:
        kind = value.get("type") if isinstance(value, dict) else "message_start"
        name = f"event: {kind}\n" if self.named else ""
        return f"{name}data: {json.dumps(value)}\n\n".encode("utf-8", "surrogatepass")


ARGUMENTS = '{"city": "Rome"}'
TOKEN = {"token": "Fine", "logprob": -0.1, "top_logprobs": [{"token": "Fine", "logprob": -0.1}]}
FUNCTION = {"name": "weather", "arguments": ARGUMENTS}


def openai_choice(field: str, finish: str | None, **said: Any) -> dict[str, Any]:
    return {"index": 0, field: said, "finish_reason": finish, "logprobs": {"content": [TOKEN]}}


OPENAI_USAGE = {
    "prompt_tokens": 2,
    "completion_tokens": 3,
    "total_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 1},
}
CALL = {"index": 0, "id": "call_1", "type": "function", "function": FUNCTION}
OPENAI = Format(
    {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [openai_choice("message", "stop", role="assistant", content="Fine.", tool_calls=[CALL])],
        "usage": OPENAI_USAGE,
    },
    (
        {"id": "x", "model": "m", "choices": [openai_choice("delta", None, role="assistant", content="Fi")]},
        {"id": "x", "model": "m", "choices": [openai_choice("delta", None, content="ne.", tool_calls=[CALL])]},
        {"id": "x", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"id": "x", "model": "m", "choices": [], "usage": OPENAI_USAGE},
    ),
)

GEMINI_PARTS = [{"text": "Fine."}, {"functionCall": {"name": "weather", "args": {"city": "Rome"}}}]
GEMINI = Format(
    {
        "candidates": [{"index": 0, "content": {"role": "model", "parts": GEMINI_PARTS}, "finishReason": "STOP"}],
        "usageMetadata": {
            "promptTokenCount": 2,
            "candidatesTokenCount": 2,
            "thoughtsTokenCount": 1,
            "cachedContentTokenCount": 1,
            "totalTokenCount": 5,
        },
        "promptFeedback": {},
        "modelVersion": "m",
        "responseId": "x",
    },
    (
        {"candidates": [{"index": 0, "content": {"role": "model", "parts": GEMINI_PARTS[:1]}}]},
        {
            "candidates": [{"content": {"role": "model", "parts": GEMINI_PARTS[1:]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 2, "candidatesTokenCount": 2, "totalTokenCount": 4},
        },
    ),
)

CLAUDE_USAGE = {
    "input_tokens": 1,
    "cache_read_input_tokens": 1,
    "cache_creation_input_tokens": 0,
    "cache_creation": {"ephemeral_5m_input_tokens": 0},
    "output_tokens": 3,
    "output_tokens_details": {"thinking_tokens": 1},
}
CLAUDE = {"id": "x", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}
TOOL_USE = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Rome"}}
ANTHROPIC = Format(
    CLAUDE
    | {"content": [{"type": "text", "text": "Fine."}, TOOL_USE], "stop_reason": "tool_use", "usage": CLAUDE_USAGE},
    (
        {"type": "message_start", "message": CLAUDE | {"content": [], "stop_reason": None, "usage": CLAUDE_USAGE}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Fine."}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": TOOL_USE | {"input": {}}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": ARGUMENTS}},
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": CLAUDE_USAGE},
        {"type": "message_stop"},
    ),
    named=True,
)

FORMATS = {"openai": OPENAI, "gemini": GEMINI, "anthropic": ANTHROPIC}

# What may stand where anything else belongs.
ODD: dict[str, Any] = {
    "null": None,
    "true": True,
    "number": 7,
    "negative": -1,
    "fraction": 0.5,
    "nan": NAN,
    "endless": ENDLESS,
    "huge": 10**4000,
    "text": "?",
    "empty text": "",
    "NUL": "\0",
    "half a character": "\ud800",
    "list": [],
    "list of null": [None],
    "list of lists": [[[1]]],
    "object": {},
    "foreign object": {"a": {"b": None}},
    "long text": "x" * 5_000,
    "gone": ...,
}


def spoiled(value: Any, odd: Any) -> Iterator[Any]:
    """Yield a value once for each of its parts, with something odd in that part's place."""
    for path in list(paths(value)):
        copied = copy.deepcopy(value)
        inner = copied
        for step in path[:-1]:
            inner = inner[step]
        if odd is ...:
            del inner[path[-1]]
        else:
            inner[path[-1]] = odd
        yield copied


def paths(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every part of a JSON value."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield (*before, step)
        yield from paths(inner, (*before, step))


def json_text(form: Format) -> bytes:
    return json.dumps(form.plain).encode()


def sse(form: Format) -> bytes:
    return b"".join(map(form.event, form.events))


Shape = Callable[[Format], bytes]

# Whole answers as they come over the wire; each is tried as a plain one and as a stream.
SHAPES: dict[str, Shape] = {
    "HTML with 200": lambda form: http(b"<html>Hello</html>", headers={"Content-Type": "text/html"}),
    "JSON called HTML": lambda form: http(json_text(form), headers={"Content-Type": "text/html"}),
    "no type": lambda form: http(json_text(form), headers={"Content-Type": None}),
    "a type that is none": lambda form: http(json_text(form), headers={"Content-Type": ";;;charset=\"\xff"}),
    "no body": lambda form: http(),
    "blanks": lambda form: http(b" \n\t "),
    "null": lambda form: http(b"null"),
    "a number": lambda form: http(b"1e999"),
    "a text": lambda form: http(b'"Fine."'),
    "a list": lambda form: http(b"[" + json_text(form) + b"]"),
    "two values": lambda form: http(json_text(form) * 2),
    "byte order mark": lambda form: http(b"\xef\xbb\xbf" + json_text(form)),
    "UTF-16": lambda form: http(json_text(form).decode().encode("utf-16")),
    "no UTF-8": lambda form: http(json_text(form).replace(b"Fine", b"\xff\xfe\xc3")),
    "unknown charset": lambda form: http(json_text(form), headers={"Content-Type": "application/json; charset=x-no"}),
    "wrong charset": lambda form: http(
        json_text(form).replace(b"Fine", "Fein\u00e9".encode()),
        headers={"Content-Type": "application/json; charset=ascii"},
    ),
    "a codec that is no charset": lambda form: http(
        json_text(form), headers={"Content-Type": "application/json; charset=base64"}
    ),
    "NUL bytes": lambda form: http(b"\0" * 1000),
    "NUL in the middle": lambda form: http(json_text(form).replace(b"Fine", b"\0")),
    "nested a hundred thousand deep": lambda form: http(b"[" * 100_000 + b"]" * 100_000),
    "objects nested deep": lambda form: http(b'{"choices":' * 50_000 + b"1" + b"}" * 50_000),
    "a number of 100,000 digits": lambda form: http(b'{"usage": ' + b"9" * 100_000 + b"}"),
    "keys twice": lambda form: http(json_text(form)[:-1] + b"," + json_text(form)[1:]),
    "a million keys": lambda form: http(b"{" + b",".join(b'"%d":0' % n for n in range(200_000)) + b"}"),
    "an error without words": lambda form: http(b'{"error": null}'),
    "an error that is a list": lambda form: http(b'{"error": [1], "type": "error"}', "500 No"),
    "an error in an odd status": lambda form: http(b'{"error": {"code": 99, "type": 5, "message": {}}}', "418 Teapot"),
    "an error of bytes": lambda form: http(b"\xff\xfe\0", "503 No"),
    "an error with odd waits": lambda form: http(b"{}", "429 No", {"Retry-After": "-1e999", "retry-after-ms": "x"}),
    "204": lambda form: b"HTTP/1.1 204 No Content\r\n\r\n",
    "302": lambda form: http(b"", "302 Found", {"Location": "http://127.0.0.1:9/elsewhere"}),
    "302 to nowhere": lambda form: http(b"", "302 Found", {"Location": "\xff:::"}),
    "304": lambda form: b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "100 first": lambda form: b"HTTP/1.1 100 Continue\r\n\r\n" + form.whole(form.plain),
    "103 first": lambda form: b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + form.whole(form.plain),
    "only 100": lambda form: b"HTTP/1.1 100 Continue\r\n\r\n",
    "101": lambda form: b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + json_text(form),
    "status 199": lambda form: http(json_text(form), "199 Odd"),
    "status 299": lambda form: http(json_text(form), "299 Odd"),
    "status 600": lambda form: http(json_text(form), "600 Odd"),
    "status 999": lambda form: http(json_text(form), "999 Odd"),
    "status 0": lambda form: http(json_text(form), "000 Odd"),
    "status that is none": lambda form: http(json_text(form), "OK"),
    "no HTTP": lambda form: b"220 mail.example.org ESMTP\r\n",
    "HTTP of another kind": lambda form: b"HTTP/9.9 200 OK\r\n\r\n" + json_text(form),
    "bytes at random": lambda form: bytes(range(256)) * 16,
    "a header without a name": lambda form: http(json_text(form), headers={"": "x"}),
    "a header of 100 kB": lambda form: http(json_text(form), headers={"X-Long": "x" * 100_000}),
    "a thousand headers": lambda form: http(json_text(form), headers={f"X-{n}": "x" for n in range(1000)}),
    "length too long": lambda form: http(json_text(form), headers={"Content-Length": "99999"}),
    "length too short": lambda form: http(json_text(form), headers={"Content-Length": "20"}),
    "length zero": lambda form: http(json_text(form), headers={"Content-Length": "0"}),
    "length negative": lambda form: http(json_text(form), headers={"Content-Length": "-5"}),
    "length no number": lambda form: http(json_text(form), headers={"Content-Length": "many"}),
    "length twice": lambda form: http(json_text(form), headers={"content-length": "7"}),
    "chunks without sizes": lambda form: http(
        json_text(form), headers={"Content-Length": None, "Transfer-Encoding": "chunked"}
    ),
    "chunks without an end": lambda form: http(
        b"5\r\n[1,2,", headers={"Content-Length": None, "Transfer-Encoding": "chunked"}
    ),
    "a chunk of negative size": lambda form: http(
        b"-5\r\n[1,2,\r\n0\r\n\r\n", headers={"Content-Length": None, "Transfer-Encoding": "chunked"}
    ),
    "packed, but it is not": lambda form: http(json_text(form), headers={"Content-Encoding": "gzip"}),
    "packed and cut": lambda form: http(gzip.compress(json_text(form))[:-9], headers={"Content-Encoding": "gzip"}),
    "packed to burst": lambda form: http(gzip.compress(b" " * 20_000_000), headers={"Content-Encoding": "gzip"}),
    "packed nobody knows how": lambda form: http(json_text(form), headers={"Content-Encoding": "lzma, x"}),
    "packed a hundred times": lambda form: http(json_text(form), headers={"Content-Encoding": "gzip, " * 99 + "gzip"}),
    "20 MB": lambda form: http(b'{"id": "' + b"x" * 20_000_000 + b'"}'),
    "a text of 10 MB": lambda form: form.whole(json.loads(json_text(form).replace(b"Fine.", b"F" * 10_000_000))),
    "events in place of JSON": lambda form: form.stream(form.events),
    "events called JSON": lambda form: http(sse(form)),
    "events without data": lambda form: http(b"event: message\nid: 1\n\n" * 100, headers=SSE),
    "only comments": lambda form: http(b": ping\n\n" * 1000, headers=SSE),
    "only the end": lambda form: http(b"data: [DONE]\n\n", headers=SSE),
    "an event cut": lambda form: http(sse(form)[:-20], headers=SSE),
    "events with broken JSON": lambda form: http(sse(form).replace(b'": ', b'":: '), headers=SSE),
    "events of UTF-16": lambda form: http(sse(form).decode().encode("utf-16"), headers=SSE),
    "events with NUL": lambda form: http(sse(form).replace(b"data", b"\0data"), headers=SSE),
    "events without ends": lambda form: http(sse(form).replace(b"\n\n", b"\n"), headers=SSE),
    "events with returns": lambda form: http(sse(form).replace(b"\n", b"\r"), headers=SSE),
    "an event of 2 MB": lambda form: http(sse(form).replace(b"Fi", b"F" * 2_000_000), headers=SSE),
    "a line of 17 MB": lambda form: http(b"data: " + b"x" * 17_000_000, headers=SSE),
    "events backwards": lambda form: form.stream(reversed(form.events)),
    "events twice": lambda form: form.stream(form.events * 2),
    "ten thousand empty events": lambda form: http(b"data:\n\n" * 10_000, headers=SSE),
    "an error of numbers in a stream": lambda form: http(b'event: error\ndata: {"error": 5}\n\n', headers=SSE),
    "an error of text in a stream": lambda form: http(b"event: error\ndata: no\n\n", headers=SSE),
    "an error nested in a stream": lambda form: http(
        b'event: error\ndata: {"type": "error", "error": {"type": [], "message": 1, "details": [{}]}}\n\n', headers=SSE
    ),
}
