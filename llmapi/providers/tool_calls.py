"""From LangChain's words into ours: the tools a model wants called, whole or in the pieces of a stream."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llmapi.core.calls import ToolCall
from llmapi.core.ids import new_id
from llmapi.providers.readable import readable


def whole_calls(message: Any) -> tuple[ToolCall, ...]:
    """Return the calls of a plain answer. Arguments that are no JSON stay the text they are."""
    found = [*getattr(message, "tool_calls", ()), *getattr(message, "invalid_tool_calls", ())]
    return tuple(
        ToolCall(number, readable(row["id"] or new_id("call")), readable(row["name"] or ""), as_text(row["args"]))
        for number, row in enumerate(found)
    )


def as_text(arguments: Any) -> str:
    """Return arguments as JSON text that can be sent on."""
    if isinstance(arguments, str):
        return readable(arguments)
    text = json.dumps(arguments or {}, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a character, which the model had written as an escape
        return json.dumps(arguments)
    return text


class CallPieces:
    """The calls of one stream, numbered 0, 1, …, each with one id and its name, both in its first piece.

    Vendors number as they like: with the answer's texts in between, each call 0 again, or not at all.
    """

    def __init__(self) -> None:
        self._ids: list[str] = []  # as the vendor says them, by our number
        self._named: list[bool] = []
        self._numbers: dict[Any, int] = {}  # by the vendor's number

    def any(self) -> bool:
        """Say whether a call has come."""
        return bool(self._ids)

    def of(self, message: Any) -> tuple[ToolCall, ...]:
        """Return the pieces that a chunk brings."""
        rows: Sequence[Mapping[str, Any]] = getattr(message, "tool_call_chunks", ())
        return tuple(self._piece(row) for row in rows)

    def _piece(self, row: Mapping[str, Any]) -> ToolCall:
        id, name, arguments = (readable(row.get(field) or "") for field in ("id", "name", "args"))
        number = self._numbers.get(row.get("index"))
        if number is None or (id and self._ids[number] and id != self._ids[number]):
            number = self._numbers[row.get("index")] = len(self._ids)
            self._ids.append(id)
            self._named.append(bool(name))
            return ToolCall(number, id or new_id("call"), name, arguments)
        self._ids[number] = self._ids[number] or id
        name, self._named[number] = "" if self._named[number] else name, self._named[number] or bool(name)
        return ToolCall(number, "", name, arguments)
