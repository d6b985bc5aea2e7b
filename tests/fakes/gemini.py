"""Gemini's API: generateContent, streamGenerateContent and batchEmbedContents.

Alone: python -m tests.fakes.gemini --port 9801 --delay 0 --chunks 20 --gap 0.2
"""

import json
from collections.abc import Sequence
from typing import Any

from llmapi.core.calls import ToolCall
from tests.fakes.behaviours import Answer, Blocked, Empty, Status, StreamError
from tests.fakes.upstream import Asked, Upstream
from tests.fakes.words import pieces, tokens, vector

FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "blocked": "SAFETY", None: None}
NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class FakeGemini(Upstream):
    """A fake of generativelanguage.googleapis.com."""

    def streamed(self, asked: Asked) -> bool:
        return ":streamGenerateContent" in asked.path

    def whole(self, asked: Asked, wanted: Any) -> Any:
        if ":batchEmbedContents" in asked.path:
            texts = [each["content"]["parts"][0]["text"] for each in asked.body["requests"]]
            return {"embeddings": [{"values": vector(text)} for text in texts]}
        if isinstance(wanted, Blocked):
            prompt = self._prompt(asked)
            usage = {"promptTokenCount": prompt, "totalTokenCount": prompt}
            return self._body(asked, promptFeedback={"blockReason": "PROHIBITED_CONTENT"}, usageMetadata=usage)
        if isinstance(wanted, Empty):
            return self._body(asked)
        said = tokens(wanted.text)
        return self._said(asked, wanted, parts(wanted.text) + functions(wanted.tool_calls), wanted.finish, said)

    def events(self, asked: Asked, wanted: Any) -> list[Any]:
        if isinstance(wanted, StreamError):
            first = self._said(asked, Answer(), parts(wanted.text), None, 1)
            return [first, self.wrong(Status(wanted.code))]
        if not isinstance(wanted, Answer):
            return [self.whole(asked, wanted)]
        texts = list(wanted.pieces) or pieces(wanted.text)
        steps = [parts(text) for text in texts] + [functions([call]) for call in wanted.tool_calls] or [[]]
        said = 0
        events = []
        for number, step in enumerate(steps, 1):
            said += sum(tokens(part.get("text", "")) for part in step)
            events.append(self._said(asked, wanted, step, wanted.finish if number == len(steps) else None, said))
        return events

    def wrong(self, wanted: Status) -> Any:
        error = {"code": wanted.code, "message": wanted.message, "status": NAMES.get(wanted.code, "UNKNOWN")}
        if wanted.details is not None:
            error["details"] = wanted.details
        return {"error": error}

    def _said(self, asked: Asked, wanted: Answer, step: list[Any], finish: str | None, said: int) -> Any:
        content = {"role": "model", "parts": step} if step else {"role": "model"}
        candidate: dict[str, Any] = {"index": 0, "content": content}
        if finish is not None:
            candidate["finishReason"] = FINISH[finish]
        usage = self._usage(asked, wanted, said) if wanted.usage is None else dict(wanted.usage)
        return self._body(asked, candidates=[candidate], usageMetadata=usage) | dict(wanted.extra)

    def _usage(self, asked: Asked, wanted: Answer, said: int) -> dict[str, int]:
        prompt = self._prompt(asked)
        usage = {"promptTokenCount": prompt, "candidatesTokenCount": said}
        if wanted.thinking:
            usage["thoughtsTokenCount"] = wanted.thinking
        if wanted.cached:
            usage["cachedContentTokenCount"] = wanted.cached
        return {**usage, "totalTokenCount": prompt + said + wanted.thinking}

    def _prompt(self, asked: Asked) -> int:
        turns = [*asked.body.get("contents", ()), asked.body.get("systemInstruction", {})]
        return sum(tokens(part.get("text", "")) for turn in turns for part in turn.get("parts", ()))

    def _body(self, asked: Asked, **fields: Any) -> dict[str, Any]:
        model = asked.path.rsplit("/", 1)[-1].partition(":")[0]
        return {**fields, "modelVersion": model, "responseId": "fake-1"}


def parts(text: str) -> list[dict[str, Any]]:
    """Return words as Gemini writes them."""
    return [{"text": text}] if text else []


def functions(calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    """Return tool calls of ours as Gemini writes them."""
    return [{"functionCall": {"name": call.name, "args": json.loads(call.arguments or "{}")}} for call in calls]


def retry_info(seconds: str) -> list[dict[str, Any]]:
    """Return Google's details of a 429 that says when to come back, e.g. retry_info("17s")."""
    return [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": seconds}]


def daily_quota() -> list[dict[str, Any]]:
    """Return Google's details of a 429 that will not pass before tomorrow."""
    violation = {"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier", "quotaValue": "20"}
    return [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}]


if __name__ == "__main__":
    from tests.fakes.alone import serve

    serve(FakeGemini)
