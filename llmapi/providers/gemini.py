"""Gemini through LangChain: one long-lived client for an endpoint, shared by every thread and model."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from llmapi.core.calls import Call, Chunk, Message, Tool
from llmapi.core.errors import ProviderInvalid
from llmapi.providers.answers import model_of, unit_vectors
from llmapi.providers.endpoint import Endpoint
from llmapi.providers.exchange import Exchange, during
from llmapi.providers.failures import our_errors
from llmapi.providers.messages import langchain_messages
from llmapi.providers.transport import Transport

ENDPOINT = "https://generativelanguage.googleapis.com"
FIXED_SAMPLING = frozenset({"gemini-3.5-flash-lite", "gemini-3.6-flash", "gemini-4-argon"})  # take no temperature
BATCH = 100  # texts of one embedding request, Gemini's limit
MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}  # of calling tools


class Gemini(Endpoint):
    """Google's Gemini API. `temperature` and the like are of the call: what the client carries is sent unasked."""

    def __init__(
        self, api_key: str, base_url: str | None = None, *, transport: Transport, name: str = "gemini"
    ) -> None:
        super().__init__(name, api_key, base_url or ENDPOINT, transport)

    def _embedded(self, call: Call) -> Iterator[Chunk]:
        exchange, rows = Exchange(call.lifetime), []
        with our_errors(exchange), during(exchange):
            chat = self._client(call)
            for start in range(0, len(call.inputs), BATCH):
                texts = [{"parts": [{"text": text}]} for text in call.inputs[start : start + BATCH]]
                found = chat.client.models.embed_content(model=model_of(call), contents=texts)
                rows += [each.values for each in found.embeddings]
            vectors = unit_vectors(rows, len(call.inputs))
        yield Chunk(finish="stop", vectors=vectors)

    def _chat(self, call: Call) -> Any:
        return self._client(call).model_copy(update={"model": model_of(call)})

    def _knobs(self, call: Call) -> dict[str, Any]:
        return knobs(call)

    def _messages(self, call: Call) -> list[Any]:
        return langchain_messages(told_apart(call.messages))

    def _make(self, api_key: str) -> Any:
        from langchain_google_genai import ChatGoogleGenerativeAI

        return ChatGoogleGenerativeAI(
            model="gemini-flash-latest",
            api_key=api_key,
            base_url=self._base_url,
            vertexai=False,
            temperature=None,
            max_retries=1,  # its own retries would block a thread for half a minute
            client_args={
                "transport": self._transport.adapter(),
                "verify": True,  # this and `ssl` are unused beside a transport; unset, each costs a context of 20 ms
                "ssl": True,
                "trust_env": False,
                "follow_redirects": False,
            },
        )


def knobs(call: Call) -> dict[str, Any]:
    """Return what a call sets, in LangChain's words; what it leaves open stays Google's default."""
    wanted: dict[str, Any] = {
        "max_output_tokens": call.max_tokens,
        "temperature": call.temperature,
        "top_p": call.top_p,
        "seed": call.seed,
        "stop": list(call.stop) or None,
    }
    if model_of(call) in FIXED_SAMPLING:
        wanted |= {"temperature": None, "top_p": None}
    if call.schema is not None:
        wanted |= {"response_mime_type": "application/json", "response_json_schema": dict(call.schema)}
    if call.tools:
        wanted |= {"tools": [declared(call.tools)]}
        wanted |= {"tool_config": {"function_calling_config": choice(call.tool_choice)} if call.tool_choice else None}
    return {name: value for name, value in wanted.items() if value is not None}


def declared(tools: Sequence[Tool]) -> Any:
    """Return tools in Google's words, their schemas as they are: LangChain would rewrite them into a smaller format."""
    from google.genai.types import FunctionDeclaration
    from google.genai.types import Tool as Declarations

    rows = [
        FunctionDeclaration(
            name=tool.name,
            description=tool.description or None,
            parameters_json_schema=dict(tool.parameters) or None,
        )
        for tool in tools
    ]
    return Declarations(function_declarations=rows)


def choice(wanted: str) -> dict[str, Any]:
    """Return a tool choice in Gemini's words; anything but the three words is a tool's name."""
    return {"mode": MODES[wanted]} if wanted in MODES else {"mode": "ANY", "allowed_function_names": [wanted]}


def told_apart(messages: Sequence[Message]) -> list[Message]:
    """Return messages whose tools' calls have each an id of its own: LangChain finds a call's result by it.

    A client may number its calls anew in each turn. Gemini itself sees no ids, only an order.
    """
    latest: dict[str, str] = {}
    found: list[Message] = []
    for message in messages:
        ids = [f"{len(found)}.{number}" for number in range(len(message.tool_calls))]
        latest |= {call.id: id for call, id in zip(message.tool_calls, ids, strict=True)}
        if message.role == "tool" and message.tool_call_id not in latest:  # LangChain would leave it out in silence
            raise ProviderInvalid("A tool's result belongs to no call of the conversation.")
        calls = tuple(replace(call, id=id) for call, id in zip(message.tool_calls, ids, strict=True))
        found.append(replace(message, tool_calls=calls, tool_call_id=latest.get(message.tool_call_id, "")))
    return found
