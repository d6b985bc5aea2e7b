"""A conversation as callers send it, in OpenAI's shape: turns with text, and tools called between them.

Read by hand instead of by a schema for each turn, which would cost more than all else a door does.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from marshmallow import ValidationError, fields

MOST_TURNS = 2048
MOST_CALLS = 128  # tools called in one turn
LONGEST = 1_000_000  # characters of a turn
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # a tool's
Json = dict[str, Any]

# What may stand in a turn and has no effect on the answer; a client sends back what he was answered.
IDLE = frozenset({"name", "refusal", "annotations", "function_call", "audio", "reasoning_content", "parsed"})
KNOWN: Mapping[str, frozenset[str]] = {
    "system": IDLE | {"role", "content"},
    "developer": IDLE | {"role", "content"},
    "user": IDLE | {"role", "content"},
    "assistant": IDLE | {"role", "content", "tool_calls"},
    "tool": IDLE | {"role", "content", "tool_call_id"},
}
REFUSED = ("function_call", "audio")  # they would have an effect

TEXT_PART = {
    "type": "object",
    "properties": {"type": {"type": "string", "enum": ["text"]}, "text": {"type": "string"}},
    "required": ["type", "text"],
}
CALL = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "minLength": 1, "maxLength": 256},
        "type": {"type": "string", "enum": ["function"]},
        "function": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
                "arguments": {"type": "string", "description": "JSON"},
            },
            "required": ["name", "arguments"],
        },
    },
    "required": ["id", "type", "function"],
}
CONTENT = [{"type": "string", "maxLength": LONGEST}, {"type": "array", "items": TEXT_PART, "minItems": 1}]
TURN = {
    "type": "object",
    "properties": {
        "role": {"type": "string", "enum": list(KNOWN), "description": "`developer` is `system` by another name"},
        "content": {"anyOf": [*CONTENT, {"type": "null"}], "description": "Text, or a list of text parts"},
        "tool_calls": {"type": "array", "items": CALL, "description": "Of an assistant: the tools it wants called"},
        "tool_call_id": {"type": "string", "description": "Of a tool: which call this answers"},
    },
    "required": ["role"],
}


class Turns(fields.Raw):
    """A list of turns; loads to role, content (a text), and where there are some tool_calls and tool_call_id."""

    def __init__(self, **more: Any) -> None:
        told = {"type": "array", "items": TURN, "minItems": 1, "maxItems": MOST_TURNS}
        super().__init__(metadata={"description": "The conversation so far", **told}, **more)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> list[Json]:
        return each_of(value, turn, most=MOST_TURNS)


def each_of(value: Any, read: Callable[[Any], Json], *, most: int) -> list[Json]:
    """Return the items of a list as `read` has them; raises ValidationError naming each wrong one by its place."""
    if not isinstance(value, list) or not 1 <= len(value) <= most:
        raise ValidationError(f"Must be a list of 1 to {most} items.")
    found: list[Json] = []
    wrong: dict[int, Any] = {}
    for place, item in enumerate(value):
        try:
            found.append(read(item))
        except ValidationError as error:
            wrong[place] = error.messages
    if wrong:
        raise ValidationError(wrong)  # places are keys as good as names
    return found


def turn(told: Any) -> Json:
    """Return one turn; raises ValidationError naming its wrong field."""
    if not isinstance(told, dict):
        raise ValidationError("Must be an object.")
    role = told.get("role")
    known = KNOWN.get(role) if isinstance(role, str) else None
    if known is None:
        raise wrong("role", f"Must be one of: {', '.join(KNOWN)}.")
    if not told.keys() <= known:
        raise wrong(min(told.keys() - known), "Unknown field.")
    if role == "assistant":
        return assistant(told)
    said: Json = {"role": "system" if role == "developer" else role, "content": content(told.get("content"))}
    if role == "user" and not said["content"]:
        raise wrong("content", "Must not be empty.")
    if role == "tool":
        said["tool_call_id"] = short(told.get("tool_call_id"), "tool_call_id")
    return said


def assistant(told: Json) -> Json:
    """Return an assistant's turn, which may call tools instead of saying something."""
    for name in REFUSED:
        if told.get(name) is not None:
            raise wrong(name, "This cannot be done here; use `tool_calls`.")
    calls = told.get("tool_calls") or ()
    said = told.get("content")
    if not calls:
        return {"role": "assistant", "content": content(said)}
    try:
        found = each_of(calls, tool_call, most=MOST_CALLS)
    except ValidationError as error:
        raise ValidationError({"tool_calls": error.messages}) from None
    return {"role": "assistant", "content": "" if said is None else content(said), "tool_calls": found}


def content(told: Any) -> str:
    """Return a turn's text; several parts are lines of it."""
    if isinstance(told, list) and told:
        told = "\n".join(map(text_part, told))
    if not isinstance(told, str):
        raise wrong("content", "Must be a text or a list of text parts.")
    if len(told) > LONGEST:
        raise wrong("content", f"Longer than {LONGEST} characters.")
    return told


def text_part(part: Any) -> str:
    """Return the text of one part of a turn."""
    if not isinstance(part, dict):
        raise wrong("content", "A part must be an object.")
    said = part.get("refusal") if part.get("type") == "refusal" else part.get("text")
    if part.get("type") not in ("text", "refusal") or not isinstance(said, str):
        raise wrong("content", "Only text parts, {\"type\": \"text\", \"text\": …}, are taken here.")
    return said


def tool_call(told: Any) -> Json:
    """Return one call of a tool within an assistant's turn."""
    function = told.get("function") if isinstance(told, dict) else None
    if not isinstance(function, dict) or told.get("type", "function") != "function":
        raise ValidationError("Must be {\"id\", \"type\": \"function\", \"function\": {\"name\", \"arguments\"}}.")
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        raise wrong("function.arguments", "Must be a text: the arguments as JSON.")
    called = {"name": tool_name(function.get("name"), "function.name"), "arguments": arguments}
    return {"id": short(told.get("id"), "id"), "type": "function", "function": called}


def tool_name(told: Any, field: str) -> str:
    """Return a tool's name."""
    if not isinstance(told, str) or not NAME.fullmatch(told):
        raise wrong(field, "Must be 1 to 64 letters, digits, _ or -.")
    return told


def short(told: Any, field: str) -> str:
    """Return an id."""
    if not isinstance(told, str) or not 1 <= len(told) <= 256:
        raise wrong(field, "Must be a text of 1 to 256 characters.")
    return told


def wrong(field: str, what: str) -> ValidationError:
    """Return the complaint about a field."""
    return ValidationError({field: [what]})
