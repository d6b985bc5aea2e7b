"""Rate-limit counts of a service that is one process: in memory, exact, 4 us a hit, gone with the process.

The library's own MemoryStorage starts a timer thread up to a hundred times a second, keeps an object a hit, works on
several dictionaries and has no common lock; this one has one dictionary and one lock.
"""

import threading
import time
from array import array
from collections.abc import Callable, Sequence
from typing import Any

from llmapi.db.sliding import EXACT, SLOTS, Charge, Log, Sliding, Taken, add, forget, take_from

SCHEME = "process"
URI = f"{SCHEME}://"
FEW = 1024  # windows that may be there before those that are over are thrown away


class ProcessCounters(Sliding):
    """A storage of the library `limits` for moving windows; importing this module registers it for `process:` URIs."""

    STORAGE_SCHEME = [SCHEME]

    def __init__(
        self, uri: str = URI, wrap_exceptions: bool = False, *, clock: Callable[[], float] = time.time, **_: Any
    ) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        self._clock = clock  # seconds since 1970
        self._lock = threading.Lock()
        self._windows: dict[str, tuple[Log, float]] = {}  # the hits, and the span
        self._many = FEW  # windows at which to look for those that are over

    def take(self, charges: Sequence[Charge], amount: int = 1) -> Taken:
        with self._lock:
            now = self._care()
            return take_from([self._log(charge) for charge in charges], charges, amount, now)[0]

    def note(self, charges: Sequence[Charge]) -> None:
        """Write down a hit that somebody else has let pass."""
        with self._lock:
            now = self._care()
            for charge in charges:
                log = self._log(charge)
                forget(log, now, charge.span)
                add(log, now, 1, charge.span / SLOTS if charge.limit > EXACT else 0.0)

    def now(self) -> float:
        return self._clock()

    def check(self) -> bool:
        return True

    def clear(self, key: str) -> None:
        with self._lock:
            self._windows.pop(key, None)

    def reset(self) -> int:
        with self._lock:
            count, self._windows = len(self._windows), {}
        return count

    def _log(self, charge: Charge) -> Log:
        known = self._windows.get(charge.key)
        if known is None:
            known = self._windows[charge.key] = (array("d"), charge.span)
        return known[0]

    def _care(self) -> float:
        """Return the time. Once there are twice as many windows as last time, those that are over are thrown away."""
        now = self._clock()
        if len(self._windows) >= self._many:
            live = {key: (log, span) for key, (log, span) in self._windows.items() if log and now - log[-2] < span}
            self._windows, self._many = live, max(FEW, 2 * len(live))
        return now
