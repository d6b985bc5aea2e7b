"""What the database says, remembered for some seconds: a change made elsewhere is known here before they are over."""

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cachetools import LRUCache

from llmapi.core.clock import Monotonic, monotonic
from llmapi.core.errors import LlmApiError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

SECONDS = 5.0
ENTRIES = 4096


@dataclass(slots=True)
class _Read(Generic[V]):
    value: V
    at: float  # when its reading began
    renewing: bool = False


class Remembered(Generic[K, V]):
    """Values by key, each at most `seconds` old: read again by one thread at half that age, while others go on.

    outlives: the last value serves on while the database cannot be read
    """

    def __init__(
        self,
        read: Callable[[K], V],
        *,
        outlives: bool = False,
        seconds: float = SECONDS,
        entries: int = ENTRIES,
        clock: Monotonic = monotonic,
    ) -> None:
        self._read = read
        self._outlives = outlives
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._known: LRUCache[K, _Read[V]] = LRUCache(entries)

    def get(self, key: K) -> V:
        """Return the value; raises what reading it raises."""
        now = self._clock()
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                age = now - known.at
                if age < self._seconds and (known.renewing or age < self._seconds / 2):
                    return known.value
                known.renewing = True
        return self._renewed(key, known, now)

    def forget(self, key: K) -> None:
        """Read it anew the next time: it was changed here."""
        with self._lock:
            self._known.pop(key, None)

    def _renewed(self, key: K, known: _Read[V] | None, now: float) -> V:
        try:
            fresh = _Read(self._read(key), now)
        except LlmApiError:
            if known is None:
                raise
            known.renewing = False
            if self._outlives:
                known.at = max(known.at, now - self._seconds / 2)  # one thread at a time looks again, no other waits
            if now - known.at >= self._seconds:
                raise
            return known.value
        with self._lock:
            self._known[key] = fresh
        return fresh.value
