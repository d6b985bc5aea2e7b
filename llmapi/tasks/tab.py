"""What one answer has used so far: a task may ask several times (votes, repairs), its caller pays and sees the sum."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from llmapi.core.calls import NOTHING, Call, Chunk, Completion, Facts, Target, Usage
from llmapi.core.contracts import Prices
from llmapi.core.events import KEPT
from llmapi.core.money import FREE
from llmapi.core.reply import Handler, Reply
AT_ONCE = 16  # calls of one request


class Tab:
    """Asks through the gateway and adds up the usage, the cost and the facts of every reply."""

    def __init__(self, gateway: Handler, prices: Prices) -> None:
        self._gateway, self._prices = gateway, prices
        self.facts: list[Facts] = []
        self.usage, self.cost = NOTHING, FREE

    def ask(self, call: Call) -> Completion:
        """Return the whole answer of one call; raises LlmApiError."""
        return self._read(self._gateway(call))

    def ask_many(self, calls: Sequence[Call]) -> list[Completion]:
        """Return the answers of calls asked at the same time, in their order; raises what the first failed one did."""
        if len(calls) == 1:
            return [self.ask(calls[0])]
        pool = ThreadPoolExecutor(min(len(calls), AT_ONCE), thread_name_prefix="ask")
        try:
            futures = [pool.submit(copy_context().run, self.ask, call) for call in calls]
            return [future.result() for future in futures]
        finally:  # after a failure the rest is not worth asking for
            pool.shutdown(cancel_futures=True)

    def stream(self, call: Call) -> Iterator[Chunk]:
        """Yield the chunks of one call as they come; closing the iterator closes the provider's stream."""
        reply = self._gateway(call)
        chunks = []
        try:
            for chunk in reply:
                chunks.append(chunk)
                yield chunk
        finally:
            reply.close()
            self._add(reply, sum((chunk.usage for chunk in chunks), NOTHING))

    def _read(self, reply: Reply) -> Completion:
        answer = reply.completion()
        self._add(reply, answer.usage)
        return answer

    def _add(self, reply: Reply, usage: Usage) -> None:
        facts = reply.facts
        self.facts.append(facts)
        self.usage += usage
        if facts.cache not in KEPT:
            billed = sum((attempt.usage for attempt in facts.attempts), usage)  # failed attempts may cost too
            self.cost += self._prices.cost(Target(facts.provider, facts.model), billed)
