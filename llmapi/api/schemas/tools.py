"""Tools as callers describe them, in OpenAI's shape, and which of them the model may or must have called."""

from collections.abc import Collection
from typing import Any

from marshmallow import ValidationError, fields

from llmapi.api.schemas.turns import Json, each_of, tool_name, wrong

MOST_TOOLS = 128
LONGEST = 20_000  # characters of a description
WORDS = ("auto", "none", "required")

FUNCTION = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
        "description": {"type": "string", "maxLength": LONGEST},
        "parameters": {"type": "object", "description": "A JSON schema"},
    },
    "required": ["name"],
}
TOOL = {
    "type": "object",
    "properties": {"type": {"type": "string", "enum": ["function"]}, "function": FUNCTION},
    "required": ["type", "function"],
}
NAMED = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "enum": ["function"]},
        "function": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    },
    "required": ["type", "function"],
}


class Tools(fields.Raw):
    """A list of functions; loads to name, description, parameters."""

    def __init__(self, **more: Any) -> None:
        told = {"type": "array", "items": TOOL, "minItems": 1, "maxItems": MOST_TOOLS}
        super().__init__(metadata={"description": "Functions the model may want called", **told}, **more)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> list[Json]:
        found = each_of(value, tool, most=MOST_TOOLS) if value != [] else []
        names = [each["name"] for each in found]
        if len(set(names)) != len(names):
            raise ValidationError("Two tools have one name.")
        return found


def tool(told: Any) -> Json:
    """Return one tool; raises ValidationError naming its wrong field."""
    function = told.get("function") if isinstance(told, dict) and told.get("type") == "function" else None
    if not isinstance(function, dict):
        raise wrong("type", "Must be {\"type\": \"function\", \"function\": {\"name\", …}}.")
    return described(function, "function.")


def described(function: Json, at: str = "") -> Json:
    """Return name, description and parameters of a function; `at`: where in its tool they are, for ValidationError."""
    name = tool_name(function.get("name"), f"{at}name")
    if name in WORDS:
        raise wrong(f"{at}name", "This word has a meaning of its own in tool_choice.")
    description, parameters = function.get("description") or "", function.get("parameters") or {}
    if not isinstance(description, str) or len(description) > LONGEST:
        raise wrong(f"{at}description", f"Must be a text of at most {LONGEST} characters.")
    if not isinstance(parameters, dict):
        raise wrong(f"{at}parameters", "Must be a JSON schema.")
    return {"name": name, "description": description, "parameters": parameters}


class ToolChoice(fields.Raw):
    """auto, none, required, or one function; loads to the word or the function's name."""

    def __init__(self, **more: Any) -> None:
        told = {"anyOf": [{"type": "string", "enum": list(WORDS)}, NAMED]}
        super().__init__(metadata={"description": "Whether a tool must be called", **told}, **more)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        if isinstance(value, str) and value in WORDS:
            return value
        function = value.get("function") if isinstance(value, dict) and value.get("type") == "function" else None
        if not isinstance(function, dict):
            raise ValidationError(f"Must be one of: {', '.join(WORDS)}; or a function.")
        return tool_name(function.get("name"), "function.name")


def check_tools(loaded: Json) -> None:
    """Raise ValidationError for a choice that does not go with the tools."""
    names: Collection[str] = [each["name"] for each in loaded.get("tools", ())]
    choice = loaded.get("tool_choice", "auto")
    if choice not in ("auto", "none") and not names:
        raise wrong("tool_choice", "There are no tools to choose from.")
    if choice not in WORDS and choice not in names:
        raise wrong("tool_choice", "No tool has this name.")


def check_logprobs(loaded: Json) -> None:
    """Raise ValidationError for alternatives to log-probabilities nobody asked for."""
    if loaded.get("top_logprobs") and not loaded.get("logprobs"):
        raise wrong("top_logprobs", "Goes with `logprobs: true` alone.")
