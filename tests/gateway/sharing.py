"""The gateway's stages with their parts in reach, and a way to know that callers have come to share."""

import threading
from collections import Counter

from llmapi.cache.memory import MemoryCache
from llmapi.core.calls import NOTHING, Chunk, Completion, Usage
from llmapi.core.clock import monotonic
from llmapi.core.lifetime import Lifetime
from llmapi.gateway.ask import ask_providers
from llmapi.gateway.caching import Caching
from llmapi.gateway.coalesce import Coalesce
from llmapi.gateway.pipeline import compose
from llmapi.gateway.retry import Retry
from llmapi.gateway.route import Route
from llmapi.gateway.telemetry import Telemetry
from tests.gateway.conftest import PATIENCE, KeptEvents, PennyPrices, ScriptedProvider, a_call

STREAM = [Chunk("Hel", Usage(5, 1)), Chunk("lo", Usage(0, 1)), Chunk(".", NOTHING, "stop")]
ANSWER = Completion("Hello.", Usage(5, 2), "stop")


class CountedCache(MemoryCache):
    """A cache that counts how often it was given something."""

    puts = 0

    def put(self, *args, **kwargs):
        self.puts += 1
        super().put(*args, **kwargs)


class Line:
    """The gateway's stages with their parts in reach, and a way to know that callers have come to share."""

    def __init__(self):
        self.provider = ScriptedProvider()
        self.coalesce = Coalesce()
        self.bus = KeptEvents()
        self.cache = CountedCache()
        self.joined = threading.Semaphore(0)
        caching = Caching(self.cache, MemoryCache())
        stages = [Telemetry(self.bus, PennyPrices()), caching, self.coalesce, Route(), Retry(1)]
        self.handler = compose(stages, ask_providers({"p": self.provider}, lambda: 0.0))

    def call(self, seconds=60.0, clock=monotonic, **said):
        return a_call(lifetime=WatchedLife(seconds, self.joined, clock), **said)

    def ask(self, seconds=60.0, **said):
        return self.handler(self.call(seconds, **said))

    def wait_for_callers(self, number):
        """Return a step of a script that goes on once so many callers share the question."""

        def wait(_):
            for _ in range(number):
                assert self.joined.acquire(timeout=PATIENCE)

        return wait

    @staticmethod
    def opened(gate):
        """Return a step of a script that goes on when the gate is opened, and fails when it never is."""

        def wait(_):
            assert gate.wait(PATIENCE)

        return wait

    def cached(self):
        return Counter(event.cache for event in self.bus.events)


class WatchedLife(Lifetime):
    """A life that tells when somebody has begun to listen to its end."""

    def __init__(self, seconds, joined, clock):
        super().__init__(seconds, clock)
        self.joined = joined

    def on_end(self, tell):
        forget = super().on_end(tell)
        self.joined.release()
        return forget
