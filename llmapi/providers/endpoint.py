"""What every vendor asked through LangChain has in common: one long-lived client, one way to ask, one health."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from llmapi.core.calls import Call, Chunk
from llmapi.core.reply import Reply
from llmapi.providers.answers import KEPT, begun, read_stream, read_whole, said_streamed, said_whole
from llmapi.providers.exchange import Exchange
from llmapi.providers.failures import our_errors
from llmapi.providers.outcomes import Outcomes
from llmapi.providers.transport import Transport


class Endpoint(ABC):
    """One vendor at one address. A vendor's file says how its client is made, addressed and embedded with."""

    cumulative: ClassVar[bool] = False  # each report of a stream's usage counts from the start

    def __init__(self, name: str, api_key: str, base_url: str, transport: Transport) -> None:
        self.name = name
        self._api_key = api_key
        self._base_url = base_url
        self._transport = transport
        self._outcomes = Outcomes()
        self._making = threading.Lock()
        self._made: Any = None

    def start(self) -> None:
        """Make the client beforehand (a second, with its imports), so that the first call need not."""
        self._client()

    def ask(self, call: Call) -> Reply:
        """Ask once; returns with the first chunk in hand."""
        work = self._embedded if call.inputs else self._streamed if call.stream else self._plain
        reply = begun(self.name, call, self._outcomes.watch(work(call)))
        self._outcomes.good()
        return reply

    def health(self) -> Mapping[str, Any]:
        """Return how the last calls went."""
        return self._outcomes.health()

    def close(self) -> None:
        """Forget the client; the transport belongs to who made it."""
        self._made = None

    def _plain(self, call: Call) -> Iterator[Chunk]:
        def ask() -> Any:
            return said_whole(self._chat(call), call, self._knobs(call))

        yield read_whole(ask, call, Exchange(call.lifetime, keep=KEPT))

    def _streamed(self, call: Call) -> Iterator[Chunk]:
        exchange = Exchange(call.lifetime)
        with our_errors(exchange):
            parts = said_streamed(self._chat(call), call, self._knobs(call))
        yield from read_stream(parts, call, exchange, cumulative=self.cumulative)

    def _client(self) -> Any:
        """Return the one LangChain model that all others are copies of; made by the first call."""
        if (made := self._made) is not None:
            return made
        with self._making:
            if self._made is None:
                self._made = self._make()
            return self._made

    @abstractmethod
    def _make(self) -> Any:
        """Return a new LangChain model on our transport, its own retries off."""

    @abstractmethod
    def _chat(self, call: Call) -> Any:
        """Return the LangChain model of the call's model."""

    @abstractmethod
    def _knobs(self, call: Call) -> dict[str, Any]:
        """Return what a call sets, in this vendor's words; what it leaves open stays the vendor's default."""

    @abstractmethod
    def _embedded(self, call: Call) -> Iterator[Chunk]:
        """Yield the vectors of an embedding call."""
