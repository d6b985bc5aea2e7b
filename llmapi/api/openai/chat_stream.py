"""The chat task's events as chat.completion.chunk events."""

import time
from typing import Any

import orjson

from llmapi.api.openai.errors import openai_error
from llmapi.api.openai.words import FINISHES, logprobs_of, usage_of
from llmapi.core.errors import LlmApiError
from llmapi.tasks.runner import StreamEvent

Json = dict[str, Any]
DONE = b"data: [DONE]\n\n"


class Chunks:
    """Says each event of one stream in OpenAI's words: the role first, then the pieces, then why it ended.

    usage: whether a last chunk tells the tokens
    """

    def __init__(self, id: str, model: str, *, usage: bool) -> None:
        self._usage, self._begun = usage, False
        self._head: Json = {
            "id": f"chatcmpl-{id}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,  # as the caller named it: who answers is known for certain at the end alone
            "system_fingerprint": None,
        }

    def __call__(self, event: StreamEvent) -> bytes:
        """Return the bytes of what came."""
        begin = b"" if self._begun else self._chunk({"role": "assistant", "content": "", "refusal": None})
        self._begun = True
        return begin + (self._piece(event.data) if event.kind == "chunk" else self._end(event.data))

    def failed(self, error: LlmApiError) -> bytes:
        """Return the last word of a stream that broke: it ends without its [DONE]."""
        return data(openai_error(error))

    def _piece(self, told: Json) -> bytes:
        delta: Json = {"content": told["text"]} if "text" in told else {}
        if calls := told.get("tool_calls"):
            delta["tool_calls"] = [piece_of_call(call) for call in calls]
        return self._chunk(delta, logprobs=logprobs_of(told))

    def _end(self, told: Json) -> bytes:
        last = self._chunk({}, finish=FINISHES.get(told["output"]["finish_reason"], "stop"))
        if self._usage:
            last += data({**self._head, "choices": [], "usage": usage_of(told["usage"])})
        return last + DONE

    def _chunk(self, delta: Json, *, logprobs: Json | None = None, finish: str | None = None) -> bytes:
        told = {
            **self._head,
            "choices": [{"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}],
        }
        return data({**told, "usage": None} if self._usage else told)


def data(told: Json) -> bytes:
    """Return one event on the wire."""
    return b"data: %s\n\n" % orjson.dumps(told)


def piece_of_call(call: Json) -> Json:
    """Return a piece of a tool call: its id and name stand in the first one alone."""
    function = {name: value for name, value in call["function"].items() if value or name == "arguments"}
    if not call["id"]:
        return {"index": call["index"], "function": function}
    return {"index": call["index"], "id": call["id"], "type": "function", "function": function}
