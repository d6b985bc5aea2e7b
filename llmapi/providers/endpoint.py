"""What every vendor asked through LangChain has in common: long-lived clients, one way to ask, one health."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from llmapi.core.calls import Call, Chunk
from llmapi.core.errors import LlmApiError, ProviderInvalid
from llmapi.core.reply import Reply
from llmapi.providers.answers import KEPT, begun, read_stream, read_whole
from llmapi.providers.exchange import AttemptTime, Exchange
from llmapi.providers.failures import our_errors
from llmapi.providers.messages import langchain_messages, said_streamed, said_whole
from llmapi.providers.outcomes import Outcomes
from llmapi.providers.own_keys import OwnClients, is_of_the_key, told_to
from llmapi.providers.transport import Transport


class Endpoint(ABC):
    """One vendor at one address. A vendor's file says how its client is made, addressed and embedded with.

    api_key: ours; "": only callers with a key of their own are answered
    keyless: this vendor needs no key
    """

    cumulative: ClassVar[bool] = False  # each report of a stream's usage counts from the start

    def __init__(
        self, name: str, api_key: str, base_url: str, transport: Transport, *, keyless: bool = False
    ) -> None:
        self.name = name
        self._api_key = api_key
        self._base_url = base_url
        self._transport = transport
        self._usable = keyless or bool(api_key)
        self._outcomes = Outcomes()
        self._making = threading.Lock()
        self._made: Any = None
        self._own = OwnClients(self._loaded)

    def start(self) -> None:
        """Make the client beforehand (a second, with its imports), so that the first call need not."""
        if self._usable:
            self._our_client()

    def ask(self, call: Call) -> Reply:
        """Ask once; returns with the first chunk in hand."""
        if not self._usable and not call.provider_key:
            raise ProviderInvalid("No key is configured for this provider.")
        if (seconds := call.policy.attempt_timeout) is None:
            return self._asked(call)
        time = AttemptTime(call.lifetime, seconds)
        try:
            reply = self._asked(replace(call, lifetime=time.lifetime))
        except BaseException:
            time.release()
            raise
        time.begun()
        return reply.when_ended(lambda *_: time.release())

    def health(self) -> Mapping[str, Any]:
        """Return how the last calls went."""
        return self._outcomes.health()

    def close(self) -> None:
        """Forget the clients; the transport belongs to who made it."""
        self._made = None
        self._own.clear()

    def _asked(self, call: Call) -> Reply:
        work = self._embedded if call.inputs else self._streamed if call.stream else self._plain
        reply = begun(self.name, call, self._watched(call, work))
        self._outcomes.good()
        return reply

    def _watched(self, call: Call, work: Callable[[Call], Iterator[Chunk]]) -> Iterator[Chunk]:
        """Yield an answer, noting how it fails."""
        try:
            yield from work(call)
        except LlmApiError as error:
            if not is_of_the_key(error, call):
                self._outcomes.bad(error)
            if (told := told_to(call, error)) is not error:
                raise told from None  # what the vendor says of a key may quote it
            raise

    def _plain(self, call: Call) -> Iterator[Chunk]:
        def ask() -> Any:
            return said_whole(self._chat(call), self._messages(call), self._knobs(call))

        yield read_whole(ask, call, Exchange(call.lifetime, keep=KEPT))

    def _streamed(self, call: Call) -> Iterator[Chunk]:
        exchange = Exchange(call.lifetime)
        with our_errors(exchange):
            parts = said_streamed(self._chat(call), self._messages(call), self._knobs(call))
        yield from read_stream(parts, call, exchange, cumulative=self.cumulative)

    def _client(self, call: Call) -> Any:
        """Return the LangChain model to copy for a call: the one of our key, or of the caller's own.

        Hold it while it is asked: some of them close themselves when nobody does.
        """
        return self._own.of(call.provider_key) if call.provider_key else self._our_client()

    def _our_client(self) -> Any:
        if (made := self._made) is not None:
            return made
        with self._making:
            if self._made is None:
                self._made = self._loaded(self._api_key)
            return self._made

    def _loaded(self, api_key: str) -> Any:
        """Make a client while no other vendor's library is being loaded: two at once see each other half made."""
        with self._transport.loading:
            try:
                return self._make(api_key)
            except SystemError:  # CPython 3.11 may lose count while two threads parse; it does not twice in a row
                return self._make(api_key)

    def _messages(self, call: Call) -> list[Any]:
        """Return the conversation in LangChain's words."""
        return langchain_messages(call.messages)

    @abstractmethod
    def _make(self, api_key: str) -> Any:
        """Return a new LangChain model for a key on our transport, its own retries off."""

    @abstractmethod
    def _chat(self, call: Call) -> Any:
        """Return the LangChain model of the call's model, a copy of `_client(call)`."""

    @abstractmethod
    def _knobs(self, call: Call) -> dict[str, Any]:
        """Return what a call sets, in this vendor's words; what it leaves open stays the vendor's default."""

    @abstractmethod
    def _embedded(self, call: Call) -> Iterator[Chunk]:
        """Yield the vectors of an embedding call."""
