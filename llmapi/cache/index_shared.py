"""The index all workers share, opened by its URL, and what keeps calls from a server that is away."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from llmapi.cache.index import Found, SharedIndex, Vector
from llmapi.core.clock import Monotonic, monotonic
from llmapi.core.errors import BadSetting, LlmApiError, Overloaded

REST: Final = 1.0  # seconds a server is not asked after a failure; doubled with each, and one call tries then
LONGEST: Final = 30.0
Result = TypeVar("Result")


def open_index(url: str, *, entries: int, folder: Path) -> SharedIndex:
    """Return the index a URL names, for about `entries` of each namespace; nothing is connected. Raises BadSetting."""
    scheme = urlsplit(url).scheme.partition("+")[0]
    if scheme in ("redis", "rediss", "unix"):
        from llmapi.cache.index_redis import RedisIndex

        return Guarded(RedisIndex(url, entries=entries))
    if scheme in ("postgresql", "postgres"):
        from llmapi.cache.index_pgvector import PgVectorIndex

        return Guarded(PgVectorIndex(url, entries=entries, folder=folder))
    raise BadSetting(f"semantic.url: no index is called {scheme or url!r}, known: postgresql, redis")


class Guarded:
    """An index that is left alone for a while after it failed: its time limits are paid by one call, not by all."""

    def __init__(self, index: SharedIndex, clock: Monotonic = monotonic) -> None:
        self._index, self._clock = index, clock
        self._lock = threading.Lock()
        self._rest, self._until = REST, 0.0

    def add(self, space: str, entry: str, vector: Vector, payload: bytes, ttl: float) -> None:
        """Put an entry for `ttl` seconds."""
        self._ask(lambda: self._index.add(space, entry, vector, payload, ttl))

    def remove(self, space: str, entry: str) -> bool:
        """Forget an entry; returns whether it was there."""
        return self._ask(lambda: self._index.remove(space, entry))

    def nearest(self, space: str, vector: Vector, count: int) -> list[Found]:
        """Return up to `count` entries that are not over, nearest first."""
        return self._ask(lambda: self._index.nearest(space, vector, count))

    def close(self) -> None:
        """Give the connections back."""
        self._index.close()

    def _ask(self, work: Callable[[], Result]) -> Result:
        with self._lock:
            now = self._clock()
            if now < self._until:
                raise Overloaded("The shared index was away just now.")
            if self._until:
                self._until = now + self._rest  # this call tries; the others go on without
        try:
            found = work()
        except LlmApiError:
            with self._lock:
                self._until = self._clock() + self._rest
                self._rest = min(LONGEST, 2 * self._rest)
            raise
        with self._lock:
            self._rest, self._until = REST, 0.0
        return found
