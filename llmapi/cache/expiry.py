"""Which keys are over by now, a few at a time: looking costs the same whether ten or a hundred thousand end at once."""

import heapq
from itertools import islice

LONGEST = 1e15  # seconds; what has no end


class Expiry:
    """Keys by the second they end in. Not safe for threads."""

    def __init__(self) -> None:
        self._seconds: dict[int, dict[str, float]] = {}  # second -> key -> instant
        self._order: list[int] = []  # heap of the seconds

    def add(self, key: str, instant: float) -> None:
        """Note when a key ends."""
        second = _second(instant)
        keys = self._seconds.get(second)
        if keys is None:
            keys = self._seconds[second] = {}
            heapq.heappush(self._order, second)
        keys[key] = instant

    def forget(self, key: str, instant: float) -> None:
        """A key is gone before its end."""
        self._seconds.get(_second(instant), {}).pop(key, None)

    def over(self, now: float, most: int) -> list[str]:
        """Take out up to `most` keys that have ended, and return them."""
        found: list[str] = []
        for _ in range(most):
            if not self._order or self._order[0] > now or len(found) == most:
                break
            keys = self._seconds[self._order[0]]
            ended = [key for key, instant in islice(keys.items(), most - len(found)) if instant <= now]
            for key in ended:
                del keys[key]
            if not keys:
                del self._seconds[heapq.heappop(self._order)]
            elif not ended:
                break  # this second is not over yet
            found += ended
        return found


def _second(instant: float) -> int:
    return int(min(instant, LONGEST))
