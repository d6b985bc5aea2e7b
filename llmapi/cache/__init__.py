"""cache: answers kept, and where.

keys (cache_key: what makes two questions the same), memory (MemoryCache), open_cache (an engine by its URL).
May import db and core, never another subject room.
"""

from typing import Final
from urllib.parse import urlsplit

from llmapi.cache.memory import open_memory
from llmapi.core.clock import Monotonic, monotonic
from llmapi.core.contracts import AnswerCache
from llmapi.core.errors import BadSetting

KINDS: Final = {"memory": open_memory}


def open_cache(url: str, *, entries: int, ttl: float, clock: Monotonic = monotonic) -> AnswerCache:
    """Return the cache a URL names, e.g. memory://, for at most `entries` answers of `ttl` seconds."""
    scheme = urlsplit(url).scheme
    if scheme not in KINDS:
        raise BadSetting(f"cache_url: no cache is called {scheme or url!r}, known: {', '.join(sorted(KINDS))}")
    if entries < 1 or ttl <= 0:
        raise BadSetting("cache_entries must be at least 1 and cache_ttl more than 0 seconds")
    return KINDS[scheme](url, entries=entries, ttl=ttl, clock=clock)
