"""How often answers by meaning would have been wrong: from those that were held back by chance and asked for afresh.

What is served is not checked, so the share comes from the explored ones alone: a fair sample of what would be served.
"""

import math
import threading
from typing import Any, Final

TENANTS: Final = 10_000
SPREAD: Final = 1.96  # standard deviations on either side: 95 % of the time


class Checked:
    """Counts them by tenant, of this process since its start."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, tuple[int, int]] = {}  # tenant -> checked, wrong

    def note(self, tenant: str, right: bool) -> None:
        """Count one that was checked."""
        with self._lock:
            number, wrong = self._counts.pop(tenant, (0, 0))
            self._counts[tenant] = number + 1, wrong + (not right)
            if len(self._counts) > TENANTS:
                del self._counts[next(iter(self._counts))]

    def error(self, tenant: str | None) -> dict[str, Any] | None:
        """Return {"estimate", "low", "high", "n"} of one tenant or of all; None before the first.

        source: Wilson's score interval (1927)
        """
        with self._lock:
            rows = [row for name, row in self._counts.items() if tenant in (None, name)]
        number, wrong = sum(row[0] for row in rows), sum(row[1] for row in rows)
        if not number:
            return None
        share, square = wrong / number, SPREAD**2 / number
        middle = (share + square / 2) / (1 + square)
        half = SPREAD * math.sqrt(share * (1 - share) / number + square / (4 * number)) / (1 + square)
        low, high = max(0.0, middle - half), min(1.0, middle + half)
        return {"estimate": round(share, 5), "low": round(low, 5), "high": round(high, 5), "n": number}
