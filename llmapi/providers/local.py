"""The models that ship with us: a small language model in a child process, sentence embeddings in this one."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from llmapi.core.calls import Call, Completion, Facts, Usage
from llmapi.core.contracts import Provider
from llmapi.core.errors import CallEnded, ProviderTimeout
from llmapi.core.lifetime import Lifetime
from llmapi.core.reply import Reply
from llmapi.providers.embeddings import MiniLM
from llmapi.providers.llama import LlamaServer
from llmapi.providers.llama_keeper import Endpoint
from llmapi.providers.openai import OpenAIFormat
from llmapi.providers.transport import Answer, Transport

NOWHERE = "http://127.0.0.1"  # of an adapter made only for what making it loads
Chat = Callable[[str, str], Provider]  # base address and key -> who talks to the server there


class Local:
    """The provider "local": chat goes to the model's server, inputs to the embedder.

    chat: makes the adapter for the server; made anew whenever the server was started anew
    """

    name = "local"

    def __init__(self, server: LlamaServer, embedder: MiniLM, chat: Chat) -> None:
        self._server = server
        self.embedder = embedder
        self._chat = chat
        self._changing = threading.Lock()
        self._current: tuple[Endpoint, Provider] | None = None

    def start(self) -> None:
        """Start the model's server without waiting for it, and load what talks to it, so that no call need wait."""
        self._server.start()
        self._chat(NOWHERE, "").start()

    def ask(self, call: Call) -> Reply:
        """Ask one of the models; a server that is starting is waited for as long as the call lives."""
        reply = self._embedded(call) if call.inputs else self._said(call)
        return reply.told(provider=self.name, model=call.target.model if call.target else call.model)

    def health(self) -> Mapping[str, Any]:
        """Return the state of the model's server, and whether the embedder is in memory."""
        return {**self._server.health(), "embedder": "loaded" if self.embedder.loaded else "not loaded"}

    def close(self) -> None:
        """Give back the adapter, and the server if it is this process's."""
        with self._changing:
            current, self._current = self._current, None
        if current is not None:
            current[1].close()
        self._server.close()

    def _said(self, call: Call) -> Reply:
        """Ask for a stream in any case.

        Beside other answers the server does not notice that nobody waits for a plain one, and writes it to its end.
        """
        reply = self._adapter(self._server.endpoint(call.lifetime)).ask(replace(call, stream=True))
        return reply if call.stream else Reply.of(reply.completion(), reply.facts)

    def _adapter(self, endpoint: Endpoint) -> Provider:
        """Return the adapter for the server that runs now."""
        with self._changing:
            if self._current is not None and self._current[0] == endpoint:
                return self._current[1]
            if self._current is not None:
                self._current[1].close()
            adapter = self._chat(endpoint.base_url, endpoint.api_key)
            self._current = (endpoint, adapter)
            return adapter

    def _embedded(self, call: Call) -> Reply:
        found = self.embedder.embed_counted(call.inputs, partial(_in_time, call.lifetime))
        answer = Completion(usage=Usage(input_tokens=found.tokens), finish="stop", vectors=found.vectors)
        return Reply.of(answer, Facts())


def _in_time(lifetime: Lifetime) -> None:
    """Raise once a call is over, so that a long list of inputs ends with it."""
    if lifetime.ended:
        raise CallEnded("The call was ended while its inputs were embedded.")
    if not lifetime.remaining():
        raise ProviderTimeout("The inputs could not be embedded within the time of the call.")


class FreshTransport(Transport):
    """A new connection for every call: the engine closes one after a stream although it promises to keep it."""

    def send(self, method: str, url: Any, headers: dict[str, str], body: bytes) -> Answer:
        return super().send(method, url, headers | {"connection": "close"}, body)


def open_local(
    data_dir: Path,
    *,
    slots: int = 4,
    threads: int | None = None,
    keep: int = 4096,
    loading: "threading.Lock | None" = None,
) -> Local:
    """Return the provider with its parts put together; nothing runs yet.

    slots, threads: of the language model's server (LlamaServer); keep: vectors remembered (MiniLM)
    loading: as of Transport
    """
    transport = FreshTransport(loading=loading)
    names = {"max_completion_tokens": "max_tokens"}

    def chat(base_url: str, api_key: str) -> Provider:
        return OpenAIFormat(Local.name, api_key, base_url, transport=transport, names=names, keyless=True)

    return Local(LlamaServer(data_dir, slots=slots, threads=threads), MiniLM(keep=keep), chat)
