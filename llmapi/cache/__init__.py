"""cache: answers kept, and where.

keys (cache_key: what makes two questions the same), record (what is kept, and its bytes), memory (MemoryCache),
tiered (TieredCache: memory over Redis), leases (who of all processes asks), invalid (what may be served no longer),
open_cache (an engine by its URL).
May import db and core, never another subject room.
"""

import random
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from llmapi.cache.memory import BYTES, MemoryCache
from llmapi.core.clock import Monotonic
from llmapi.core.contracts import AnswerCache
from llmapi.core.errors import BadSetting


def in_memory(url: str, memory: MemoryCache) -> AnswerCache:
    """Open memory://; the URL has nothing more to say."""
    return memory


def over_redis(url: str, memory: MemoryCache) -> AnswerCache:
    """Open redis://, rediss:// or unix:// under a memory tier."""
    from llmapi.cache.redis import RedisServer
    from llmapi.cache.tiered import TieredCache

    return TieredCache(memory, RedisServer(url))


KINDS: Final = {"memory": in_memory, "redis": over_redis, "rediss": over_redis, "unix": over_redis}


def some_percent() -> float:
    """Return up to a tenth: what is kept together does not end together, and never later than was said."""
    return random.random() / 10


def open_cache(
    url: str,
    *,
    entries: int,
    ttl: float,
    size: int = BYTES,
    grace: float = 0.0,
    clock: Monotonic = time.time,
    spread: Callable[[], float] = some_percent,
) -> AnswerCache:
    """Return the cache a URL names, e.g. memory://, for at most `entries` answers of `ttl` seconds in `size` bytes.

    grace: seconds an answer is kept after its time, for callers who accept that
    """
    scheme = urlsplit(url).scheme
    if scheme not in KINDS:
        raise BadSetting(f"cache_url: no cache is called {scheme or url!r}, known: {', '.join(sorted(KINDS))}")
    if entries < 1 or ttl <= 0:
        raise BadSetting("cache_entries must be at least 1 and cache_ttl more than 0 seconds")
    return KINDS[scheme](url, MemoryCache(entries, ttl, clock, size=size, grace=grace, spread=spread))
