"""OpenAI's API, as its imitators speak it too: chat completions and embeddings.

Alone: python -m tests.fakes.openai --port 9802 --delay 2 --chunks 20 --gap 0.2
"""

import math
from dataclasses import replace
from typing import Any

from llmapi.core.calls import ToolCall
from tests.fakes.behaviours import Answer, Blocked, Empty, Status, StreamError
from tests.fakes.upstream import Asked, Upstream
from tests.fakes.words import pieces, tokens, vector

FINISH = {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "blocked": "content_filter", None: None}
KINDS = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error"}


class FakeOpenAI(Upstream):
    """A fake of api.openai.com; its address is `base`."""

    @property
    def base(self) -> str:
        return self.url + "/v1"

    def streamed(self, asked: Asked) -> bool:
        return bool((asked.body or {}).get("stream"))

    def whole(self, asked: Asked, wanted: Any) -> Any:
        if asked.path.endswith("/embeddings"):
            return self._embeddings(asked)
        if isinstance(wanted, Empty):
            return self._body(asked, "chat.completion", choices=[], usage=self._usage(asked, Answer(""), 0))
        if isinstance(wanted, Blocked):
            wanted = Answer("", finish="blocked")
        message: dict[str, Any] = {"role": "assistant", "content": wanted.text}
        if wanted.tool_calls:
            message |= {"content": wanted.text or None, "tool_calls": [function(each) for each in wanted.tool_calls]}
        choice = {"index": 0, "message": message, "finish_reason": finish(wanted), "logprobs": None}
        if asked.body.get("logprobs"):
            choice["logprobs"] = {"content": [self._logprob(asked, part) for part in pieces(wanted.text)]}
        usage = self._usage(asked, wanted, tokens(wanted.text))
        return self._body(asked, "chat.completion", choices=[choice], usage=usage) | dict(wanted.extra)

    def events(self, asked: Asked, wanted: Any) -> list[Any]:
        if isinstance(wanted, StreamError):
            return [self._delta(asked, {"content": wanted.text}), self.wrong(Status(wanted.code))]
        if isinstance(wanted, Empty):
            return ["[DONE]"]
        if isinstance(wanted, Blocked):
            wanted = Answer("", finish="blocked")
        parts = list(wanted.pieces) or pieces(wanted.text)
        events = [self._delta(asked, {"role": "assistant", "content": ""})]
        for part in parts:
            events.append(self._delta(asked, {"content": part}, logprobs=self._logprobs(asked, part)))
        for call in wanted.tool_calls:
            events += [self._delta(asked, {"tool_calls": [piece]}) for piece in call_pieces(call)]
        if wanted.finish is not None:
            events.append(self._delta(asked, {}, finish(wanted)))
        if (asked.body.get("stream_options") or {}).get("include_usage"):
            usage = self._usage(asked, wanted, tokens(wanted.text or "".join(parts)))
            events.append(self._body(asked, "chat.completion.chunk", choices=[], usage=usage))
        return [*events, "[DONE]"]

    def wrong(self, wanted: Status) -> Any:
        kind = KINDS.get(wanted.code, "server_error")
        return {"error": {"message": wanted.message, "type": kind, "param": None, "code": wanted.details}}

    def _delta(
        self, asked: Asked, delta: dict[str, Any], finish: str | None = None, logprobs: Any = None
    ) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": logprobs}
        return self._body(asked, "chat.completion.chunk", choices=[choice])

    def _logprobs(self, asked: Asked, part: str) -> Any:
        return {"content": [self._logprob(asked, part)]} if asked.body.get("logprobs") else None

    def _logprob(self, asked: Asked, token: str) -> dict[str, Any]:
        """Say 80 % for what was said and share the rest among made-up others."""
        others = (asked.body.get("top_logprobs") or 1) - 1
        rows = [{"token": token, "logprob": math.log(0.8)}]
        rows += [{"token": f"{token}{number}", "logprob": math.log(0.2 / others)} for number in range(1, others + 1)]
        return {**rows[0], "bytes": None, "top_logprobs": rows}

    def _usage(self, asked: Asked, wanted: Answer, said: int) -> dict[str, Any]:
        if wanted.usage is not None:
            return dict(wanted.usage)
        prompt = sum(tokens(str(turn.get("content"))) for turn in asked.body.get("messages", ()))
        output = said + wanted.thinking
        return {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": prompt + output,
            "prompt_tokens_details": {"cached_tokens": wanted.cached},
            "completion_tokens_details": {"reasoning_tokens": wanted.thinking},
        }

    def _embeddings(self, asked: Asked) -> dict[str, Any]:
        texts = asked.body["input"]
        rows = [{"object": "embedding", "index": at, "embedding": vector(text)} for at, text in enumerate(texts)]
        spent = sum(tokens(text) for text in texts)
        usage = {"prompt_tokens": spent, "total_tokens": spent}
        return {"object": "list", "data": rows, "model": asked.body["model"], "usage": usage}

    def _body(self, asked: Asked, kind: str, **fields: Any) -> dict[str, Any]:
        return {"id": "fake-1", "object": kind, "created": 1_700_000_000, "model": asked.body["model"], **fields}


def finish(wanted: Answer) -> str | None:
    """Return why an answer ends; one that wants tools called says so."""
    return FINISH["tool_calls" if wanted.tool_calls and wanted.finish == "stop" else wanted.finish]


def function(call: ToolCall) -> dict[str, Any]:
    """Return a tool call of ours as OpenAI writes it."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def call_pieces(call: ToolCall) -> list[dict[str, Any]]:
    """Return a tool call as a stream brings it: the name first, then the arguments, four characters at a time."""
    cuts = [call.arguments[start : start + 4] for start in range(0, len(call.arguments), 4)]
    first = {"index": call.index, **function(replace(call, arguments=""))}
    return [first, *({"index": call.index, "function": {"arguments": cut}} for cut in cuts)]


if __name__ == "__main__":
    from tests.fakes.alone import serve

    serve(FakeOpenAI)
