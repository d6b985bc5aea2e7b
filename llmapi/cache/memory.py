"""Answers kept in this process: least recently used first out, and none older than its time to live."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace

from cachetools import TLRUCache

from llmapi.core.calls import Completion
from llmapi.core.clock import Monotonic, monotonic


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as it lies in the cache, or with its age as it comes out."""

    completion: Completion
    provider: str
    model: str
    ttl: float  # seconds it is kept in all
    since: float  # instant on the cache's clock
    age: float = 0.0


class _Shelf(TLRUCache[str, Kept]):
    """cachetools' TTL-LRU, which also counts what it had to throw out before its time."""

    evictions = 0

    def popitem(self) -> tuple[str, Kept]:
        self.evictions += 1
        return super().popitem()


class MemoryCache:
    """The AnswerCache of one process; safe for threads."""

    def __init__(self, entries: int = 128, ttl: float = 3600.0, clock: Monotonic = monotonic) -> None:
        self._ttl = ttl
        self._clock = clock
        self._lock = threading.Lock()
        self._shelf = _Shelf(entries, ttu=lambda _key, kept, now: now + kept.ttl, timer=clock)

    def get(self, key: str) -> Kept | None:
        """Return the answer kept under a key with its age, or None."""
        try:
            with self._lock:
                kept = self._shelf[key]  # not .get(): it looks twice, and the answer may expire in between
        except KeyError:
            return None
        return replace(kept, age=self._clock() - kept.since)

    def put(self, key: str, completion: Completion, *, provider: str, model: str, ttl: float | None = None) -> None:
        """Keep an answer for `ttl` seconds, at most the cache's own; it replaces what the key had."""
        span = self._ttl if ttl is None else min(ttl, self._ttl)
        kept = Kept(_hardened(completion), provider, model, span, self._clock())
        with self._lock:
            self._shelf[key] = kept

    def stats(self) -> Mapping[str, int]:
        """Return the entries alive, the capacity, and how many answers had to make room for others."""
        with self._lock:
            self._shelf.expire()
            return {
                "entries": len(self._shelf),
                "capacity": int(self._shelf.maxsize),
                "evictions": self._shelf.evictions,
            }


def open_memory(url: str, *, entries: int, ttl: float, clock: Monotonic) -> MemoryCache:
    """Open memory://; the URL has nothing more to say."""
    return MemoryCache(entries, ttl, clock)


def _hardened(completion: Completion) -> Completion:
    """Return the completion with tuples all the way down: many readers share it, and a list could be changed."""
    return replace(
        completion,
        logprobs=tuple(completion.logprobs),
        vectors=tuple(map(tuple, completion.vectors)),
        tool_calls=tuple(completion.tool_calls),
    )
