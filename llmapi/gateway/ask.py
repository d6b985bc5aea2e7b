"""The end of the line: the provider is asked, and the seconds it takes are counted."""

from collections.abc import Iterator, Mapping

from llmapi.core.calls import Call, Chunk, Facts
from llmapi.core.clock import Monotonic
from llmapi.core.contracts import Provider
from llmapi.core.errors import LlmApiError, ProviderInvalid
from llmapi.core.reply import Handler, Reply


def ask_providers(providers: Mapping[str, Provider], clock: Monotonic) -> Handler:
    """Return the handler that asks the provider of `call.target`; its replies know provider, model and time spent."""

    def ask(call: Call) -> Reply:
        target = call.target or call.targets[0]
        provider = providers.get(target.provider)
        if provider is None:
            raise ProviderInvalid(f"the provider {target.provider!r} is not set up here")
        call.sending()
        start = clock()
        try:
            answer = provider.ask(call)
        except LlmApiError as error:
            call.refused(error)
            error.provider_time = clock() - start
            raise
        facts = Facts(target.provider, target.model, provider_time=clock() - start)
        return _Timed(answer, clock).reply(facts)

    return ask


class _Timed:
    """An answer's chunks, read on a stopwatch. An object and not a generator: closing must work before the start."""

    def __init__(self, answer: Reply, clock: Monotonic) -> None:
        self._answer = answer
        self._chunks = iter(answer)
        self._clock = clock
        self._spent = 0.0

    def reply(self, facts: Facts) -> Reply:
        """Return the reply that adds the time once it ended; a failure on the way carries the time too."""
        reply = Reply(self, facts)

        def add_time(_: object, error: BaseException | None) -> None:
            reply.told(provider_time=reply.facts.provider_time + self._spent)
            if isinstance(error, LlmApiError):
                error.provider_time = reply.facts.provider_time

        return reply.when_ended(add_time)

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        start = self._clock()
        try:
            return next(self._chunks)
        finally:
            self._spent += self._clock() - start

    def close(self) -> None:
        """Leave the answer early."""
        self._answer.close()
