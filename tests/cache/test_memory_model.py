"""The memory cache does what a dozen lines of plain Python say it does, whatever is asked of it and in any order."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from llmapi.cache.memory import MemoryCache
from llmapi.core.calls import Completion
from tests.cache.conftest import Clock

CAPACITY, TTL = 3, 10.0
KEYS = st.sampled_from("abcde")
SPANS = st.sampled_from([0.0, 0.5, 3.0, 9.5, 10.0])


class CacheAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.cache = MemoryCache(CAPACITY, TTL, self.clock)
        self.model: dict[str, tuple[str, float]] = {}  # key -> text and the instant it dies, longest unused first
        self.evictions = 0

    def bury(self) -> None:
        self.model = {key: row for key, row in self.model.items() if self.clock.now < row[1]}

    @rule(key=KEYS, text=st.text(max_size=3), ttl=st.none() | SPANS | st.just(99.0))
    def put(self, key: str, text: str, ttl: float | None) -> None:
        self.cache.put(key, Completion(text), provider="p", model="m", ttl=ttl)
        self.bury()
        span = TTL if ttl is None else min(ttl, TTL)
        known = self.model.pop(key, None)
        if span <= 0:
            return
        if known is None and len(self.model) == CAPACITY:
            del self.model[next(iter(self.model))]
            self.evictions += 1
        self.model[key] = (text, self.clock.now + span)

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        self.bury()
        kept = self.cache.get(key)
        if key in self.model:
            self.model[key] = self.model.pop(key)  # used just now
        assert (kept.completion.text if kept else None) == self.model.get(key, (None,))[0]

    @rule(seconds=SPANS)
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def counts_agree(self) -> None:
        self.bury()
        told = self.cache.stats()
        assert (told["entries"], told["capacity"], told["evictions"]) == (len(self.model), CAPACITY, self.evictions)
        assert (told["bytes"] > 0) == bool(self.model)


TestCacheAgainstModel = CacheAgainstModel.TestCase
TestCacheAgainstModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
