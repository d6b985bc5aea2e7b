"""LangChain's model of Anthropic, with what it drops put back. Imported when it is first needed: it takes a second.

In a stream LangChain passes over the usage that comes at the start, which is all there is when the stream is cut; and
it has no place for an HTTP client of ours.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import anthropic
import httpx2
from anthropic.types import RawMessageStreamEvent
from langchain_anthropic import ChatAnthropic
from langchain_anthropic.chat_models import _create_usage_metadata
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from llmapi.providers.transport import Transport

# Anthropic's reasons to end in the words that other vendors use for them.
REASONS: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def open_claude(api_key: str, base_url: str, transport: Transport) -> "Claude":
    """Return a model on our transport, which reads no variable and never retries."""
    made = Claude(
        model_name="claude-sonnet-5",
        api_key=api_key or "none",  # type: ignore[arg-type]  # empty, LangChain would look for one elsewhere
        base_url=base_url,
        anthropic_proxy=None,
        max_tokens_to_sample=1,  # each call says its own
        max_retries=0,
        timeout=None,
        stop=None,
    )
    client = anthropic.Anthropic(
        api_key=api_key or "none",
        base_url=base_url,
        timeout=None,
        max_retries=0,  # its own retries would block a thread
        open_telemetry=False,
        http_client=httpx2.Client(transport=transport.adapter(), trust_env=False, timeout=None),
    )
    client._custom_headers = {}  # ANTHROPIC_CUSTOM_HEADERS is not for us
    made.__dict__["_client"] = client  # where LangChain would keep the one it makes
    return made


class Claude(ChatAnthropic):
    """ChatAnthropic in the words that answers.py reads."""

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        result = super()._generate(*args, **kwargs)
        told = result.generations[0].message.response_metadata
        told["finish_reason"] = reason((result.llm_output or {}).get("stop_reason"))
        return result

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        usage: dict[str, Any] = {}
        for part in super()._stream(*args, **kwargs):
            message: Any = part.message
            message.response_metadata["finish_reason"] = reason(message.response_metadata.get("stop_reason"))
            if message.usage_metadata:
                usage = message.usage_metadata = most(usage, message.usage_metadata)
            yield part

    def _make_message_chunk_from_anthropic_event(
        self, event: RawMessageStreamEvent, **kwargs: Any
    ) -> tuple[AIMessageChunk | None, RawMessageStreamEvent | None]:
        chunk, begun = super()._make_message_chunk_from_anthropic_event(event, **kwargs)
        if chunk is not None and event.type == "message_start" and (usage := event.message.usage):
            chunk.usage_metadata = _create_usage_metadata(usage)
        return chunk, begun


def reason(word: Any) -> str:
    return REASONS.get(word, word) if isinstance(word, str) else ""


def most(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the larger of two reports, number by number: each counts from the start, but not each tells all."""
    found = {**old, **{name: value for name, value in new.items() if value is not None}}
    for name in old.keys() & found.keys():
        if isinstance(old[name], Mapping):
            found[name] = most(old[name], found[name])
        else:
            found[name] = max(old[name], found[name])
    return found
