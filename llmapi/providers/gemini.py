"""Gemini through LangChain: one long-lived client for an endpoint, shared by every thread and model."""

from collections.abc import Iterator
from typing import Any

from llmapi.core.calls import Call, Chunk
from llmapi.providers.answers import model_of, unit_vectors
from llmapi.providers.endpoint import Endpoint
from llmapi.providers.exchange import Exchange, during
from llmapi.providers.failures import our_errors
from llmapi.providers.transport import Transport

ENDPOINT = "https://generativelanguage.googleapis.com"
FIXED_SAMPLING = frozenset({"gemini-3.5-flash-lite", "gemini-3.6-flash", "gemini-4-argon"})  # take no temperature
BATCH = 100  # texts of one embedding request, Gemini's limit


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
    return {name: value for name, value in wanted.items() if value is not None}
