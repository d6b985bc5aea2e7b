"""Answers kept in this process: least recently used first out, and none older than its time to live."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from llmapi.cache.expiry import Expiry
from llmapi.cache.invalid import Invalid
from llmapi.cache.record import Kept, Record, Source, recorded
from llmapi.core.calls import Completion
from llmapi.core.clock import Monotonic
from llmapi.core.kept import KNOWN_NOTHING, About, Mark

BYTES = 64 * 1_048_576
BARE = 1200  # bytes of an empty record with its key and its places in the tables
STALEST = 7 * 86_400.0  # seconds an answer may be used after its time, whatever is wished
STEP = 8  # expired answers taken away with each one that is kept: no call pays for all


def steady() -> float:
    """Return the share of its time to live that an answer loses: none."""
    return 0.0


class Lying(NamedTuple):
    """A record on the shelf, and its bytes."""

    record: Record
    size: int


class MemoryCache:
    """The AnswerCache of one process; safe for threads.

    entries, size: most answers, and bytes of answers
    grace: seconds every answer is kept after its time, for callers who accept that
    clock: seconds; one all processes share where records come from elsewhere
    spread: the share of its time to live, 0 to 0.1, that an answer loses, so that not all end at once
    invalid: what may not be served, shared with who else looks at it
    """

    leases: None = None  # nobody else is there

    def __init__(
        self,
        entries: int = 128,
        ttl: float = 3600.0,
        clock: Monotonic = time.time,
        *,
        size: int = BYTES,
        grace: float = 0.0,
        spread: Callable[[], float] = steady,
        invalid: Invalid | None = None,
    ) -> None:
        self._entries, self._size = entries, size
        self._ttl, self._grace, self._clock, self._spread = ttl, grace, clock, spread
        self._invalid = invalid or Invalid()
        self._lock = threading.Lock()
        self._shelf: OrderedDict[str, Lying] = OrderedDict()
        self._expiry = Expiry()
        self._bytes = self._evictions = 0

    def start(self) -> None:
        """Nothing needs a start here."""

    def close(self) -> None:
        """Nothing needs an end here."""

    def get(self, key: str, *, stale: bool = False) -> Kept | None:
        """Return the answer kept under a key with its age, or None."""
        with self._lock:
            lying = self._shelf.get(key)
            if lying is None:
                return None
            self._shelf.move_to_end(key)
        return self.judged(key, lying.record, stale=stale)

    def judged(self, key: str, record: Record, *, stale: bool = False) -> Kept | None:
        """Return a record as what may be served now, or None."""
        age = self._clock() - record.created
        if age >= (record.ttl + record.stale if stale else record.ttl) or self._invalid.means(key, record):
            return None
        return Kept(record, max(0.0, age))

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
        """Keep an answer for `ttl` seconds, at most the cache's own; it replaces what the key had."""
        self.keep(key, self.recorded(completion, Source(provider, model, wished=ttl), about))

    def recorded(self, completion: Completion, source: Source, about: About) -> Record:
        """Return what is kept of an answer: made now, and good for no longer than the cache allows."""
        wished = self._ttl if source.wished is None else min(source.wished, self._ttl)
        span = wished * (1 - self._spread())
        stale = min(max(about.stale, self._grace), STALEST) if span > 0 else 0.0
        return recorded(completion, source, replace(about, stale=stale), created=self._clock(), ttl=span)

    def keep(self, key: str, record: Record, *, older: bool = True) -> None:
        """Keep a record, which may come from elsewhere; without `older` only if none is here that is as new."""
        size, now = weight(key, record), self._clock()
        with self._lock:
            known = None if older else self._shelf.get(key)
            if known is not None and known.record.created >= record.created:
                return
            self._take(key)
            for old in self._expiry.over(now, STEP):
                self._take(old)
            if record.until <= now or size > self._size:
                return
            while len(self._shelf) >= self._entries or self._bytes + size > self._size:
                self._take(next(iter(self._shelf)))
                self._evictions += 1
            self._shelf[key] = Lying(record, size)
            self._expiry.add(key, record.until)
            self._bytes += size

    def drop(self, keys: Iterable[str]) -> int:
        """Delete answers by key; returns how many were found."""
        with self._lock:
            return sum([self._take(key) for key in keys])

    def mark(self, marks: Iterable[Mark]) -> None:
        """Serve nothing from now on that a mark means."""
        self._invalid.add(marks)
        self._invalid.forget(self._clock() - self._ttl - STALEST)

    def forbid(self, keys: Iterable[str]) -> None:
        """Serve nothing from now on that was asked until now under these keys, wherever it turns up."""
        now = self._clock()
        self.mark(Mark(key.rpartition(":")[0], "key", key, now) for key in keys)

    def stats(self) -> Mapping[str, int]:
        """Return the entries, the capacity, how many answers had to make room for others, and the bytes."""
        now = self._clock()
        with self._lock:
            for old in self._expiry.over(now, STEP):
                self._take(old)
            return {
                "entries": len(self._shelf),
                "capacity": self._entries,
                "evictions": self._evictions,
                "bytes": self._bytes,
            }

    def health(self) -> Mapping[str, Any]:
        """Return how it does: memory always does well."""
        return {"status": "ok", **self.stats()}

    def _take(self, key: str) -> bool:
        lying = self._shelf.pop(key, None)
        if lying is None:
            return False
        self._expiry.forget(key, lying.record.until)
        self._bytes -= lying.size
        return True


def weight(key: str, record: Record) -> int:
    """Return about how many bytes of memory a record takes."""
    answer = record.completion
    logprobs = sum(200 + 150 * len(token.top) for token in answer.logprobs)
    vectors = sum(56 + 32 * len(vector) for vector in answer.vectors)
    tools = sum(300 + 2 * len(call.arguments) for call in answer.tool_calls)
    tags = sum(60 + len(tag) for tag in record.tags)
    return BARE + len(key) + answer.text.__sizeof__() + logprobs + vectors + tools + tags
