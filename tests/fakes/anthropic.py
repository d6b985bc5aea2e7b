"""Anthropic's API: messages, plain and streamed.

Alone: python -m tests.fakes.anthropic --port 9803 --delay 0 --chunks 20 --gap 0.2
"""

import json
from typing import Any

from llmapi.core.calls import ToolCall
from tests.fakes.behaviours import Answer, Blocked, Empty, Status, StreamError
from tests.fakes.upstream import Asked, Upstream
from tests.fakes.words import pieces, tokens

FINISH = {"stop": "end_turn", "length": "max_tokens", "blocked": "refusal", "tool_calls": "tool_use", None: None}
KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class FakeAnthropic(Upstream):
    """A fake of api.anthropic.com. What `Answer.extra` says of `content` and `stop_reason` is streamed too."""

    def streamed(self, asked: Asked) -> bool:
        return bool((asked.body or {}).get("stream"))

    def whole(self, asked: Asked, wanted: Any) -> Any:
        wanted = answer_of(wanted)
        usage = self._usage(asked, wanted)
        body = self._message(asked, blocks(wanted), reason(wanted), usage)
        return body | dict(wanted.extra)

    def events(self, asked: Asked, wanted: Any) -> list[Any]:
        if isinstance(wanted, StreamError):
            began = self.events(asked, Answer(wanted.text, finish=None))[:-1]  # its block is still open
            return [*began, self.wrong(Status(wanted.code))]
        wanted = answer_of(wanted)
        final = self._usage(asked, wanted)
        usage = final if wanted.usage is not None else {**final, "output_tokens": min(1, final["output_tokens"])}
        events: list[Any] = [{"type": "message_start", "message": self._message(asked, [], None, usage)}]
        for index, block in enumerate(wanted.extra.get("content") or blocks(wanted)):
            events += streamed_block(index, block, wanted)
        if wanted.finish is not None:
            delta = {"stop_reason": wanted.extra.get("stop_reason") or reason(wanted), "stop_sequence": None}
            events += [{"type": "message_delta", "delta": delta, "usage": final}, {"type": "message_stop"}]
        return [events[0], {"type": "ping"}, *events[1:]]

    def framed(self, event: Any) -> str:
        return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"

    def wrong(self, wanted: Status) -> Any:
        error: dict[str, Any] = {"type": KINDS.get(wanted.code, "api_error"), "message": wanted.message}
        if wanted.details is not None:
            error["details"] = {"error_code": wanted.details}
        return {"type": "error", "error": error, "request_id": "req_fake"}

    def _usage(self, asked: Asked, wanted: Answer) -> dict[str, Any]:
        if wanted.usage is not None:
            return dict(wanted.usage)
        turns = [*asked.body.get("messages", ()), {"content": asked.body.get("system", "")}]
        prompt = sum(tokens(words(turn["content"])) for turn in turns)
        usage: dict[str, Any] = {
            "input_tokens": prompt - wanted.cached,  # here the cached ones are not part of the input
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": wanted.cached,
            "output_tokens": tokens(wanted.text or "".join(wanted.pieces)) + wanted.thinking,
            "service_tier": "standard",
        }
        if wanted.thinking:
            usage["output_tokens_details"] = {"thinking_tokens": wanted.thinking}
        return usage

    def _message(self, asked: Asked, content: list[Any], reason: str | None, usage: Any) -> dict[str, Any]:
        return {
            "id": "msg_fake",
            "type": "message",
            "role": "assistant",
            "model": asked.body["model"],
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": usage,
        }


def answer_of(wanted: Any) -> Answer:
    """Return anything that is a success here as an answer: a block is a refusal without a word."""
    if isinstance(wanted, Blocked):
        return Answer("", finish="blocked")
    if isinstance(wanted, Empty):
        return Answer("")
    assert isinstance(wanted, Answer)
    return wanted


def blocks(wanted: Answer) -> list[Any]:
    """Return what was said as content blocks; after thinking, there is one of that before."""
    thought = [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}] if wanted.thinking else []
    text = wanted.text or "".join(wanted.pieces)
    calls = [tool_use(each) for each in wanted.tool_calls]
    return [*thought, *([{"type": "text", "text": text}] if text else []), *calls]


def reason(wanted: Answer) -> str | None:
    """Return why an answer ends; one that wants tools called says so."""
    return FINISH["tool_calls" if wanted.tool_calls and wanted.finish == "stop" else wanted.finish]


def tool_use(call: ToolCall) -> dict[str, Any]:
    """Return a tool call of ours as a block."""
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments or "{}")}


def streamed_block(index: int, block: Any, wanted: Answer) -> list[Any]:
    """Return the events of one content block."""
    if block["type"] == "text":
        empty, name, field = {"text": ""}, "text_delta", "text"
        parts = list(wanted.pieces) or pieces(block["text"])
    elif block["type"] == "tool_use":
        empty, name, field = {"input": {}}, "input_json_delta", "partial_json"
        raw = json.dumps(block["input"])
        parts = ["", raw[:5], raw[5:]]
    else:
        empty, name, field = {"thinking": "", "signature": ""}, "thinking_delta", "thinking"
        parts = [block["thinking"]]
    deltas = [{"type": "content_block_delta", "index": index, "delta": {"type": name, field: part}} for part in parts]
    start = {"type": "content_block_start", "index": index, "content_block": block | empty}
    return [start, *deltas, {"type": "content_block_stop", "index": index}]


def words(content: Any) -> str:
    """Return the text of a turn, which is a string or blocks."""
    if isinstance(content, str):
        return content
    return " ".join(words(block.get("text") or block.get("content") or "") for block in content)


if __name__ == "__main__":
    from tests.fakes.alone import serve

    serve(FakeAnthropic)
