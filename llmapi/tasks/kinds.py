"""The three tasks as the runner knows them: what to ask, how to stream it, what it would ask at most."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from llmapi.core.calls import Call, Completion, whole
from llmapi.tasks.answers import Json
from llmapi.tasks.runner import Plan, Wanted
from llmapi.tasks.tab import Tab
from llmapi.tasks.text import answer_text, read_text, text_call


class TextTask:
    """Text generation."""

    def __init__(self, system: str) -> None:
        self._system = system

    def answer(self, tab: Tab, base: Call, wanted: Wanted) -> Json:
        """Return the text; JSON that follows no schema goes back once."""
        return answer_text(tab.ask, self._call(base, wanted))

    def stream(self, tab: Tab, base: Call, wanted: Wanted) -> Iterator[str | Json]:
        """Yield the text as it comes; JSON is checked at the end and not repaired."""
        call = self._call(base, wanted)
        chunks = []
        for chunk in tab.stream(call):
            chunks.append(chunk)
            if chunk.text:
                yield chunk.text
        yield read_text(whole(chunks), call.schema)

    def plan(self, base: Call, wanted: Wanted) -> Plan:
        """Return one call, and one repair of JSON."""
        call = self._call(base, wanted)
        return Plan((call,), repairs=0 if call.schema is None else 1)

    def _call(self, base: Call, wanted: Wanted) -> Call:
        return text_call(
            base,
            prompt=wanted.get("prompt"),
            messages=wanted.get("messages"),
            system=wanted.get("system", self._system),
            response_format=wanted.get("response_format"),
        )
