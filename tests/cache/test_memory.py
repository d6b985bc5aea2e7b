"""Memory is bounded by bytes too, and no call pays for what a hundred thousand answers leave behind."""

from typing import Any

from llmapi.cache import open_cache
from llmapi.cache.memory import STEP, MemoryCache
from llmapi.core.calls import Completion
from llmapi.core.kept import About, Mark
from tests.cache.conftest import Clock


MEANT = [("all", ""), ("key", "acme:k"), ("tag", "v1"), ("model", "m"), ("model", "p/m"), ("task", "text")]


def put(cache: MemoryCache, key: str, text: str = "x", **about: Any) -> None:
    cache.put(key, Completion(text), provider="p", model="m", about=About("acme", "text", **about))


def test_it_keeps_no_more_bytes_than_it_may(clock: Clock) -> None:
    cache = MemoryCache(1000, 60.0, clock, size=100_000)
    for number in range(50):
        put(cache, f"acme:{number}", "x" * 10_000)
    told = cache.stats()
    assert 80_000 < told["bytes"] <= 100_000 and told["evictions"] == 50 - told["entries"]
    put(cache, "acme:large", "x" * 200_000)
    assert cache.get("acme:large") is None and cache.stats()["entries"] == told["entries"]


def test_answers_that_end_together_are_taken_away_a_few_at_a_time(clock: Clock) -> None:
    cache = MemoryCache(1000, 60.0, clock)
    for number in range(100):
        put(cache, f"acme:{number}")
    clock.now += 61.0
    put(cache, "acme:new")
    assert cache.stats()["entries"] == 101 - 2 * STEP
    assert cache.get("acme:99") is None


def test_a_time_to_live_loses_up_to_a_tenth_and_never_gains(clock: Clock) -> None:
    cache = open_cache("memory://", entries=100, ttl=60.0, clock=clock)
    spans = set()
    for number in range(100):
        cache.put(f"{number}", Completion(), provider="p", model="m")
        spans.add(getattr(cache.get(f"{number}"), "ttl"))
    assert len(spans) > 50 and 54.0 <= min(spans) and max(spans) <= 60.0


def test_a_mark_means_what_was_asked_before_it_and_no_other_tenant(clock: Clock) -> None:
    cache = MemoryCache(10, 60.0, clock)
    for field, value in MEANT:
        put(cache, "acme:k", tags=("v1",))
        clock.now += 1.0
        cache.mark([Mark("other", field, value, clock.now)])  # type: ignore[arg-type]
        assert cache.get("acme:k") is not None
        cache.mark([Mark("acme", field, value, clock.now)])  # type: ignore[arg-type]
        assert cache.get("acme:k") is None
        put(cache, "acme:k", tags=("v1",), took=0.5)
        assert cache.get("acme:k") is None  # its asking had begun before
        clock.now += 1.0
