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
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from llmapi.core.errors import ProviderBroken
from llmapi.providers.transport import Transport
from llmapi.providers.usage import whole_number

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
    """ChatAnthropic in the words that answers.py reads, its usage read with distrust, and kept from a costly guess.

    LangChain tries to complete each piece of a tool's arguments to JSON, in time that grows with the square of its
    length.
    """

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        usage: dict[str, Any] = {}
        for part in super()._stream(*args, **kwargs):
            message: Any = part.message
            message.response_metadata["finish_reason"] = reason(message.response_metadata.get("stop_reason"))
            if message.usage_metadata:
                usage = message.usage_metadata = most(usage, message.usage_metadata)
            yield part

    def _make_message_chunk_from_anthropic_event(
        self, event: Any, **kwargs: Any
    ) -> tuple[AIMessageChunk | None, RawMessageStreamEvent | None]:
        usage = usage_taken(event.message if event.type == "message_start" else event)
        arguments = arguments_taken(event)
        chunk, begun = super()._make_message_chunk_from_anthropic_event(event, **kwargs)
        if chunk is not None:
            chunk.usage_metadata = usage
            for row in chunk.tool_call_chunks:
                row["args"] = arguments or row["args"]
        return chunk, begun

    def _format_output(self, data: Any, **kwargs: Any) -> ChatResult:
        usage = usage_taken(data)
        result = super()._format_output(data, **kwargs)
        message: Any = result.generations[0].message
        message.usage_metadata = usage
        message.response_metadata["finish_reason"] = reason(data.stop_reason)
        return result


def usage_taken(source: Any) -> Any:
    """Take the usage out of an answer or an event, where LangChain would trip over an odd one; returns LangChain's."""
    found = getattr(source, "usage", None)
    if found is None:
        return None
    source.usage = anthropic.types.Usage(input_tokens=0, output_tokens=0)
    cached, kept = number(found, "cache_read_input_tokens"), number(found, "cache_creation_input_tokens")
    thought = number(getattr(found, "output_tokens_details", None), "thinking_tokens")
    return {
        "input_tokens": number(found, "input_tokens") + cached + kept,  # Anthropic leaves out what was or went cached
        "output_tokens": number(found, "output_tokens"),
        "input_token_details": {"cache_read": cached},
        "output_token_details": {"reasoning": thought},
    }


def number(source: Any, name: str) -> int:
    return whole_number(getattr(source, name, None))


def arguments_taken(event: Any) -> str:
    """Take the piece of a tool's arguments out of an event and return it."""
    if event.type != "content_block_delta" or event.delta.type != "input_json_delta":
        return ""
    piece, event.delta.partial_json = event.delta.partial_json, ""
    if not isinstance(piece, str):
        raise ProviderBroken("The provider's tool call has no readable arguments.")
    return piece


def reason(word: Any) -> str:
    return REASONS.get(word, word) if isinstance(word, str) else ""


def most(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the larger of two reports, number by number: each counts from the start, but not each tells all."""
    return {
        name: most(old.get(name, {}), value) if isinstance(value, Mapping) else max(old.get(name, 0), value)
        for name, value in new.items()
    }
