"""What one answer has used so far: a task may ask several times (votes, repairs), its caller pays and sees the sum."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from llmapi.core.calls import NOTHING, Call, Chunk, Completion, Facts, Usage
from llmapi.core.contracts import Prices
from llmapi.core.errors import LlmApiError
from llmapi.core.money import FREE
from llmapi.core.reply import Handler, Reply
from llmapi.gateway.billed import cost_of_answer, cost_of_attempts

AT_ONCE = 16  # calls of one request
Item = TypeVar("Item")
Result = TypeVar("Result")


class Tab:
    """Asks through the gateway and adds up the usage, the cost and the facts of every reply."""

    def __init__(self, gateway: Handler, prices: Prices) -> None:
        self._gateway, self._prices = gateway, prices
        self._adding = threading.Lock()  # calls of one request end on several threads
        self.facts: list[Facts] = []
        self.usage, self.cost = NOTHING, FREE

    def ask(self, call: Call) -> Completion:
        """Return the whole answer of one call; raises LlmApiError, whose usage counts: the task may go on without."""
        try:
            return self._read(self._gateway(call))
        except LlmApiError as error:
            self._add_failed(error)
            raise

    def ask_many(self, calls: Sequence[Call]) -> list[Completion]:
        """Return the answers of calls asked at the same time, in their order; raises what the first failed one did."""
        return together(self.ask, calls)

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
        with self._adding:
            self.facts.append(facts)
            self.usage += usage
            self.cost += cost_of_answer(self._prices, facts, usage)

    def _add_failed(self, error: LlmApiError) -> None:
        with self._adding:
            self.usage += error.usage
            self.cost += cost_of_attempts(self._prices, error.attempts)


def together(work: Callable[[Item], Result], items: Sequence[Item], most: int = AT_ONCE) -> list[Result]:
    """Return the work's results, done at the same time on `most` threads; raises what the first failed one did."""
    if len(items) == 1:
        return [work(items[0])]
    pool = ThreadPoolExecutor(min(len(items), most), thread_name_prefix="ask")
    try:
        futures = [pool.submit(copy_context().run, work, item) for item in items]
        return [future.result() for future in futures]
    finally:  # after a failure the rest is not worth asking for
        pool.shutdown(cancel_futures=True)
