"""Every vendor that speaks OpenAI's chat completions, through LangChain: a row of data each (rows.py), no file."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from llmapi.core.calls import Call, Chunk, Tool
from llmapi.providers.answers import model_of, unit_vectors
from llmapi.providers.endpoint import Endpoint
from llmapi.providers.exchange import Exchange, during
from llmapi.providers.failures import our_errors
from llmapi.providers.messages import langchain_messages
from llmapi.providers.transport import Transport
from llmapi.providers.usage import clean, whole_number

MOST_LOGPROBS = 20  # alternatives a token can be asked for
FIXED_SAMPLING = re.compile(r"(o\d|gpt-5(?!-chat|\.[1-4])|gpt-[6-9])")  # OpenAI's models that reject a temperature


class OpenAIFormat(Endpoint):
    """One endpoint in OpenAI's format.

    names: what this vendor calls a field differently, e.g. {"max_tokens": "max_completion_tokens"}
    """

    cumulative = True

    def __init__(
        self,
        name: str,
        api_key: str,
        base_url: str,
        *,
        transport: Transport,
        names: Mapping[str, str] | None = None,
        keyless: bool = False,
    ) -> None:
        super().__init__(name, api_key, base_url, transport, keyless=keyless)
        self._names = dict(names or {})

    def _embedded(self, call: Call) -> Iterator[Chunk]:
        """Ask the client below LangChain, whose own class counts tokens with a download and drops the usage."""
        exchange = Exchange(call.lifetime)
        with our_errors(exchange), during(exchange):
            chat = self._client(call)
            found = chat.root_client.embeddings.create(
                input=list(call.inputs), model=model_of(call), encoding_format="float"
            )
            rows = [each.embedding for each in sorted(found.data, key=lambda each: each.index)]
            vectors = unit_vectors(rows, len(call.inputs))
            spent = whole_number(getattr(found.usage, "prompt_tokens", 0))
        yield Chunk(usage=clean((spent, 0, 0, 0)), finish="stop", vectors=vectors)

    def _chat(self, call: Call) -> Any:
        return self._client(call).model_copy(update={"model_name": model_of(call)})

    def _messages(self, call: Call) -> list[Any]:
        return langchain_messages(call.messages, verbatim=True)

    def _make(self, api_key: str) -> Any:
        import httpx2

        from llmapi.providers.openai_chat import OpenAIChat

        chat = OpenAIChat(
            model="gpt-5-mini",
            api_key=api_key or "none",  # type: ignore[arg-type]  # LangChain insists on one; local servers do not
            base_url=self._base_url,
            http_client=httpx2.Client(transport=self._transport.adapter(), trust_env=False, timeout=None),
            max_retries=0,  # its own retries would block a thread for half a minute
            stream_usage=True,  # unset, there is none from any other address than OpenAI's
            use_responses_api=False,
            output_version="v0",
        )
        if api_key != self._api_key:  # somebody else's: what the environment says of our account is not theirs
            chat.root_client.organization = chat.root_client.project = None
            chat.root_client._custom_headers = {}
        return chat

    def _knobs(self, call: Call) -> dict[str, Any]:
        """Return what a call sets, in this vendor's words; what it leaves open stays the vendor's default.

        All of it goes through `extra_body`: LangChain would rename some of it and parse the answer of a schema itself.
        """
        wanted = {name: value for name, value in fields(call).items() if value is not None}
        if fixed_sampling(model_of(call)):
            wanted = {name: value for name, value in wanted.items() if name not in ("temperature", "top_p")}
        return {"extra_body": {self._names.get(name, name): value for name, value in wanted.items()}}


def fields(call: Call) -> dict[str, Any]:
    """Return a call's parameters in OpenAI's words."""
    most = min(call.logprobs, MOST_LOGPROBS)
    return {
        "max_tokens": call.max_tokens,
        "temperature": call.temperature,
        "top_p": call.top_p,
        "stop": list(call.stop) or None,
        "seed": call.seed,
        "logprobs": True if most else None,
        "top_logprobs": most or None,
        "response_format": None if call.schema is None else json_schema(call.schema),
        "tools": [function(tool) for tool in call.tools] or None,
        "tool_choice": choice(call.tool_choice) if call.tools else None,
    }


def function(tool: Tool) -> dict[str, Any]:
    """Return a tool in OpenAI's words; without parameters it is called with none."""
    wanted = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": {name: value for name, value in wanted.items() if value}}


def choice(wanted: str) -> Any:
    """Return a tool choice in OpenAI's words; anything but its three words is a tool's name."""
    if wanted in ("", "auto", "none", "required"):
        return wanted or None
    return {"type": "function", "function": {"name": wanted}}


def fixed_sampling(model: str) -> bool:
    """Say whether a model takes no temperature."""
    return FIXED_SAMPLING.match(model.rpartition("/")[2]) is not None


def json_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a response format; "strict" makes the schema binding, and is refused for one that leaves things open."""
    wanted = {"name": "answer", "schema": dict(schema), "strict": closed(schema)}
    return {"type": "json_schema", "json_schema": wanted}


def closed(schema: Any) -> bool:
    """Say whether every object of a schema forbids other fields and requires its own."""
    if isinstance(schema, list):
        return all(map(closed, schema))
    if not isinstance(schema, Mapping):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        own = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(own):
            return False
    return all(closed(value) for value in schema.values())
