"""Answers in this process over answers on a Redis server that all processes share; the server may be away."""

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from llmapi.cache.leases import Leases
from llmapi.cache.memory import MemoryCache
from llmapi.cache.record import Kept, Source
from llmapi.cache.redis import Away, RedisServer
from llmapi.cache.shelf import ANSWERS, milliseconds, opened, packed_small
from llmapi.core.calls import Completion
from llmapi.core.kept import KNOWN_NOTHING, About, Mark


class TieredCache:
    """The AnswerCache of many processes: what one keeps, all find. While the server is away, memory serves alone.

    A lookup costs at most one round trip. What is written while the server is away is not written later; what is
    dropped meanwhile is remembered here and not served when it is back.
    """

    def __init__(self, memory: MemoryCache, server: RedisServer) -> None:
        self._memory, self._server = memory, server
        self._lock = threading.Lock()
        self._found = self._missed = 0
        self.leases = Leases(memory, server)

    def start(self) -> None:
        """Begin to look after the server and after the leases."""
        self._server.start()
        self.leases.start()

    def close(self) -> None:
        """Give threads and connections back."""
        self.leases.close()
        self._server.close()

    def get(self, key: str, *, stale: bool = False) -> Kept | None:
        """Return a kept answer; of one whose time is over here, a newer one of the server comes first."""
        near = self._memory.get(key, stale=stale)
        if near is not None and near.age < near.ttl:
            return near
        try:
            packed = self._server.ask(lambda client: client.get(ANSWERS + key))
        except Away:
            return near
        far = opened(self._memory, key, packed, stale=stale)
        with self._lock:
            self._found += far is not None
            self._missed += far is None
        if near is None or (far is not None and far.record.created > near.record.created):
            return far
        return near

    def put(
        self,
        key: str,
        completion: Completion,
        *,
        provider: str,
        model: str,
        ttl: float | None = None,
        about: About = KNOWN_NOTHING,
    ) -> None:
        """Keep an answer here, and on the server if it is there."""
        record = self._memory.recorded(completion, Source(provider, model, ttl), about)
        self._memory.keep(key, record)
        if (packed := packed_small(record)) is None:
            return
        span = milliseconds(record)
        try:
            if span > 0:
                self._server.ask(lambda client: client.set(ANSWERS + key, packed, px=span))
            else:
                self._server.ask(lambda client: client.delete(ANSWERS + key))
        except Away:
            pass

    def drop(self, keys: Iterable[str]) -> int:
        """Delete answers by key, here and there; what is not reached there is not served when it is back."""
        every = list(keys)
        here = {key for key in every if self._memory.drop([key])}
        if not every:
            return 0
        try:
            there = int(self._server.ask(lambda client: client.delete(*(ANSWERS + key for key in every))))
            return max(len(here), there)
        except Away:
            self._memory.forbid(every)
            return len(here)

    def mark(self, marks: Iterable[Mark]) -> None:
        """Serve nothing from now on that a mark means, wherever it lies."""
        self._memory.mark(marks)

    def stats(self) -> Mapping[str, int]:
        """Return what memory counts, and the lookups the server answered and did not."""
        return {**self._memory.stats(), "shared_hits": self._found, "shared_misses": self._missed}

    def health(self) -> Mapping[str, Any]:
        """Return how both tiers do."""
        server = self._server.health()
        status = "ok" if server["status"] == "ok" else "degraded"
        return {"status": status, **self.stats(), "tiers": {"memory": {"status": "ok"}, "redis": server}}
