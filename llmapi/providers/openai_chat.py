"""LangChain's model of OpenAI's format, kept from a costly guess. Imported when it is first needed."""

from collections.abc import Iterator
from typing import Any

from langchain_core.outputs import ChatGenerationChunk
from langchain_openai import ChatOpenAI

from llmapi.core.errors import ProviderBroken


class OpenAIChat(ChatOpenAI):
    """ChatOpenAI that leaves the pieces of a tool's arguments as they are.

    LangChain tries to complete each piece to JSON, in time that grows with the square of its length: 100 kB that are
    none take 40 s, whatever time the call had.
    """

    def _convert_chunk_to_generation_chunk(
        self, chunk: dict[str, Any], default_chunk_class: type, base_generation_info: dict[str, Any] | None
    ) -> ChatGenerationChunk | None:
        taken = list(arguments_taken(chunk))
        made = super()._convert_chunk_to_generation_chunk(chunk, default_chunk_class, base_generation_info)
        rows: Any = getattr(made.message, "tool_call_chunks", ()) if made is not None else ()
        for row, arguments in zip(rows, taken, strict=False):
            row["args"] = arguments
        return made


def arguments_taken(chunk: dict[str, Any]) -> Iterator[str]:
    """Take the arguments out of an event and yield them."""
    choices = chunk.get("choices") or [{}]
    for call in (choices[0].get("delta") or {}).get("tool_calls") or ():
        function = call.get("function") or {}
        arguments = function.get("arguments") or ""
        if not isinstance(arguments, str):
            raise ProviderBroken("The provider's tool call has no readable arguments.")
        function["arguments"] = ""
        yield arguments
