"""Rate-limit counts of a service that is one process: in memory, exact, 1 us a hit, gone with the process.

The library's own MemoryStorage starts a timer thread up to a hundred times a second and works on several dictionaries
without a common lock; this one has one dictionary and one lock. Against db/counters it saves 20 us and two hand-overs
of the interpreter a request.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

from limits.storage import Storage

SCHEME = "process"
URI = f"{SCHEME}://"
HITS_BETWEEN_CARE = 1024  # hits between two purges of windows that are over


class ProcessCounters(Storage):
    """A storage of the library `limits` for fixed windows; importing this module registers it for `process:` URIs."""

    STORAGE_SCHEME = [SCHEME]

    def __init__(
        self, uri: str = URI, wrap_exceptions: bool = False, *, clock: Callable[[], float] = time.time, **_: Any
    ) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        self._clock = clock  # seconds since 1970
        self._lock = threading.Lock()
        self._windows: dict[str, tuple[int, float]] = {}  # count, and when the window ends
        self._hits = 0

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def hit(self, key: str, expiry: int, amount: int = 1) -> tuple[int, float]:
        """Count a hit in a window that began with its first one; returns the count and when the window ends."""
        now = self._clock()
        with self._lock:
            count, ends = self._windows.get(key, (0, 0.0))
            if not now < ends <= now + expiry:  # over, or begun by a clock that has since been set back
                count, ends = 0, now + expiry
            self._windows[key] = (count + amount, ends)
            self._hits += 1
            if self._hits % HITS_BETWEEN_CARE == 0:
                self._windows = {key: window for key, window in self._windows.items() if window[1] > now}
        return count + amount, ends

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        return self.hit(key, expiry, amount)[0]

    def get(self, key: str) -> int:
        count, ends = self._windows.get(key, (0, 0.0))
        return count if ends > self._clock() else 0

    def get_expiry(self, key: str) -> float:
        now = self._clock()
        return max(now, self._windows.get(key, (0, now))[1])

    def check(self) -> bool:
        return True

    def clear(self, key: str) -> None:
        with self._lock:
            self._windows.pop(key, None)

    def reset(self) -> int:
        with self._lock:
            count, self._windows = len(self._windows), {}
        return count
