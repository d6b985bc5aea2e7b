"""Anthropic's Claude through LangChain (claude.py)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmapi.core.calls import Call, Chunk, Message, Tool
from llmapi.core.errors import ProviderInvalid
from llmapi.providers.answers import model_of
from llmapi.providers.endpoint import Endpoint
from llmapi.providers.messages import langchain_messages
from llmapi.providers.transport import Transport

ENDPOINT = "https://api.anthropic.com"
BEFORE_4_5 = r"claude-(2|3|instant|(opus|sonnet)-4(-[01])?(-\d{8})?$)"
UNBOUND = re.compile(BEFORE_4_5)  # models that cannot be bound to a schema
SAMPLED = re.compile(rf"{BEFORE_4_5}|claude-(opus|sonnet|haiku)-4-[56]")  # models that take a temperature
FREE_CHOICE = re.compile(r"claude-(fable-5-1|opus-5-5|sonnet-5-5)")  # models that cannot be made to call a tool
CHOICES = {"auto": "auto", "none": "none", "required": "any"}

# What a schema may say to be bound to: the rest, and objects left open, the API refuses or takes to mean less.
BINDABLE = frozenset(
    "type properties required additionalProperties items enum const anyOf title description default examples format"
    " pattern minLength maxLength minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minItems maxItems"
    " uniqueItems $schema $id".split()
)


class Anthropic(Endpoint):
    """Anthropic's messages API. It has no seed, no log probabilities and no embeddings."""

    cumulative = True

    def __init__(
        self, api_key: str, base_url: str | None = None, *, transport: Transport, name: str = "anthropic"
    ) -> None:
        super().__init__(name, api_key, base_url or ENDPOINT, transport)

    def _embedded(self, call: Call) -> Iterator[Chunk]:
        raise ProviderInvalid("Anthropic has no embeddings; name a model of another provider.")

    def _chat(self, call: Call) -> Any:
        return self._client(call).model_copy(update={"model": model_of(call)})

    def _knobs(self, call: Call) -> dict[str, Any]:
        return {name: value for name, value in knobs(call).items() if value is not None}

    def _messages(self, call: Call) -> list[Any]:
        return langchain_messages(system_first(call.messages))

    def _make(self, api_key: str) -> Any:
        from llmapi.providers.claude import open_claude

        return open_claude(api_key, self._base_url, self._transport)


def system_first(messages: Sequence[Message]) -> list[Message]:
    """Return messages with every system message in one at the start, the only place that all models know."""
    said = [each.text for each in messages if each.role == "system"]
    others = [each for each in messages if each.role != "system"]
    return [Message("system", "\n\n".join(said)), *others] if said else others


def knobs(call: Call) -> dict[str, Any]:
    """Return what a call sets in Anthropic's words, None for what it leaves open."""
    model = model_of(call)
    return {
        "max_tokens": call.max_tokens,
        **(sampling(call) if SAMPLED.match(model) else {}),
        "stop_sequences": [word for word in call.stop if word.strip()] or None,  # a blank one is refused
        "output_config": None if call.schema is None or UNBOUND.match(model) else bound_to(call.schema),
        "tools": [tool_row(tool) for tool in call.tools] or None,
        "tool_choice": choice(call.tool_choice, model) if call.tools and call.tool_choice else None,
    }


def sampling(call: Call) -> dict[str, Any]:
    """Return temperature or top_p: both are refused, and so is a temperature above 1, where other vendors go on."""
    if call.temperature is not None:
        return {"temperature": min(call.temperature, 1.0)}
    return {"top_p": call.top_p}


def tool_row(tool: Tool) -> dict[str, Any]:
    schema = dict(tool.parameters) or {"type": "object", "properties": {}}
    row = {"name": tool.name, "input_schema": schema}
    return {**row, "description": tool.description} if tool.description else row


def choice(wanted: str, model: str) -> dict[str, Any]:
    """Return a tool choice; models that cannot be forced decide themselves."""
    kind = CHOICES.get(wanted, "tool")
    if kind in ("any", "tool") and FREE_CHOICE.match(model):
        return {"type": "auto"}
    return {"type": "tool", "name": wanted} if kind == "tool" else {"type": kind}


def bound_to(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what binds an answer to a schema, or None for one it cannot be bound to: the prompt asks for it anyway."""
    if not bindable(schema):
        return None
    from anthropic import transform_schema

    return {"format": {"type": "json_schema", "schema": transform_schema(dict(schema))}}


def bindable(schema: Any) -> bool:
    """Say whether a schema is one the API knows, with every object closed."""
    if not isinstance(schema, Mapping) or not schema.keys() <= BINDABLE:
        return False
    kind = schema.get("type")
    if kind == "object" and schema.get("additionalProperties") is not False:
        return False
    if not isinstance(kind, str) and not schema.keys() & {"enum", "const", "anyOf"}:
        return False
    parts = [*schema.get("properties", {}).values(), *schema.get("anyOf", ())]
    return all(map(bindable, [*parts, schema["items"]] if "items" in schema else parts))
