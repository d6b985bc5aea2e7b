"""The `input` of a response: a text, or what was said, called and returned so far; loads to turns of a chat."""

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields

from llmapi.api.schemas.openai_parts import Json, text_of, word
from llmapi.api.schemas.turns import LONGEST, MOST_TURNS, short, tool_name, wrong

ROLES: Mapping[str, str] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
ITEM = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "enum": ["message", "function_call", "function_call_output"]},
        "role": {"type": "string", "enum": list(ROLES)},
        "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]},
        "call_id": {"type": "string"},
        "name": {"type": "string"},
        "arguments": {"type": "string"},
        "output": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]},
    },
}


class Items(fields.Raw):
    """A text or a list of items; loads to turns with role, content, tool_calls and tool_call_id."""

    def __init__(self, **more: Any) -> None:
        several = {"type": "array", "items": ITEM, "minItems": 1, "maxItems": MOST_TURNS}
        told = {"anyOf": [{"type": "string", "minLength": 1}, several]}
        super().__init__(metadata={"description": "A text, or the conversation so far: text alone", **told}, **more)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> list[Json]:
        if isinstance(value, str):
            value = [{"role": "user", "content": value}]
        if not isinstance(value, list) or not 1 <= len(value) <= MOST_TURNS:
            raise ValidationError(f"Must be a text or a list of 1 to {MOST_TURNS} items.")
        turns = Turns()
        for number, item in enumerate(value):
            try:
                turns.add(item)
            except ValidationError as error:
                raise ValidationError({number: error.messages}) from None
        if not any(turn["content"] or turn.get("tool_calls") for turn in turns.said):
            raise ValidationError("There is no question.")
        return turns.said


class Turns:
    """Puts items together: what an assistant says and calls at once is one turn."""

    def __init__(self) -> None:
        self.said: list[Json] = []
        self._called: set[str] = set()

    def add(self, item: Any) -> None:
        """Take the next item; raises ValidationError naming its wrong field."""
        if not isinstance(item, Mapping):
            raise ValidationError("Must be an object.")
        kind = item.get("type") or "message"
        if kind == "message":
            self._message(item)
        elif kind == "function_call":
            self._call(item)
        elif kind == "function_call_output":
            self._output(item)
        elif kind != "reasoning":  # another model's thoughts say nothing to this one
            raise wrong("type", "Must be one of: message, function_call, function_call_output.")

    def _message(self, item: Mapping[str, Any]) -> None:
        role = item.get("role")
        if not isinstance(role, str) or role not in ROLES:
            raise wrong("role", f"Must be one of: {', '.join(ROLES)}.")
        self.said.append({"role": ROLES[role], "content": content(item, "content")})

    def _call(self, item: Mapping[str, Any]) -> None:
        arguments = item.get("arguments")
        if not isinstance(arguments, str):
            raise wrong("arguments", "Must be a text: the arguments as JSON.")
        called = {"name": tool_name(item.get("name"), "name"), "arguments": arguments}
        id = short(item.get("call_id"), "call_id")
        if not self.said or self.said[-1]["role"] != "assistant":
            self.said.append({"role": "assistant", "content": ""})
        self.said[-1].setdefault("tool_calls", []).append({"id": id, "type": "function", "function": called})
        self._called.add(id)

    def _output(self, item: Mapping[str, Any]) -> None:
        id = word(item, "call_id", 256)
        if id not in self._called:
            raise wrong("call_id", "No function_call before it has this call_id.")
        self.said.append({"role": "tool", "content": content(item, "output"), "tool_call_id": id})


def content(item: Mapping[str, Any], field: str) -> str:
    """Return the text of an item; raises ValidationError naming the field."""
    try:
        text = text_of(item.get(field), {"refusal"})
    except ValidationError as error:
        raise ValidationError({field: error.messages}) from None
    if len(text) > LONGEST:
        raise wrong(field, f"Longer than {LONGEST} characters.")
    return text
