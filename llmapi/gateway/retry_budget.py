"""How much of what is sent may be asked again: retries must not become the load that keeps a provider down.

source: retry budgets, Beyer et al., Site Reliability Engineering, chapter 21; Finagle's RetryBudget
"""

import threading

from llmapi.core.clock import Monotonic, monotonic
from llmapi.gateway.rolling import Rolling

FIRST, RETRY = 0, 1


class RetryBudget:
    """Allow retries up to a share of the first attempts of the last seconds, for the whole process.

    The first attempt at a fallback candidate is a first one: each provider has its own load to be spared. An attempt
    that was never sent (breaker open, gate full) earns nothing.

    ratio: retries for each first attempt; window: seconds; floor: retries allowed however few first attempts there are
    """

    def __init__(
        self, ratio: float = 0.2, window: float = 60.0, floor: int = 10, clock: Monotonic = monotonic
    ) -> None:
        self._ratio = ratio
        self._floor = floor
        self._clock = clock
        self._lock = threading.Lock()
        self._counts = Rolling(window)

    def first(self) -> None:
        """Count a first attempt."""
        with self._lock:
            self._counts.add(FIRST, self._clock())

    def take(self) -> bool:
        """Count a retry and return True, or return False when there are too many of them already."""
        with self._lock:
            now = self._clock()
            firsts, retries = self._counts.sums(now)
            if retries >= self._allowed(firsts):
                return False
            self._counts.add(RETRY, now)
            return True

    def state(self) -> dict[str, int]:
        """Return {"firsts", "retries", "allowed"} of the window as it is now."""
        with self._lock:
            firsts, retries = self._counts.sums(self._clock())
        return {"firsts": firsts, "retries": retries, "allowed": self._allowed(firsts)}

    def _allowed(self, firsts: int) -> int:
        return max(self._floor, int(self._ratio * firsts))
