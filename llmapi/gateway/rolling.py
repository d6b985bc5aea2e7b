"""Two counts over the last seconds: what breaker and retry budget know of the past."""


class Rolling:
    """Two counts over the last `span` seconds, in a ring of slots: one slot's time is forgotten at once.

    Bounded memory and a constant cost, however many are counted. Not thread-safe: its owner has a lock.
    """

    __slots__ = ("_width", "_ring", "_sums", "_head")

    def __init__(self, span: float, slots: int = 10) -> None:
        self._width = span / slots
        self._ring = [[0, 0] for _ in range(slots)]
        self._sums = [0, 0]
        self._head = 0  # number of the newest slot, counted from the clock's zero

    def add(self, kind: int, now: float) -> int:
        """Count one of kind 0 or 1; returns the number of the slot it went to."""
        self._turn(now)
        self._change(kind, self._head, 1)
        return self._head

    def take_back(self, kind: int, slot: int, now: float) -> None:
        """Uncount one that was added to this slot, unless that is forgotten already."""
        self._turn(now)
        if slot > self._head - len(self._ring):
            self._change(kind, slot, -1)

    def sums(self, now: float) -> tuple[int, int]:
        """Return both counts."""
        self._turn(now)
        return self._sums[0], self._sums[1]

    def _change(self, kind: int, slot: int, by: int) -> None:
        self._ring[slot % len(self._ring)][kind] += by
        self._sums[kind] += by

    def _turn(self, now: float) -> None:
        newest = int(now // self._width)
        size = len(self._ring)
        for number in range(self._head + 1, min(newest, self._head + size) + 1):
            slot = self._ring[number % size]
            self._sums[0] -= slot[0]
            self._sums[1] -= slot[1]
            slot[0] = slot[1] = 0
        self._head = max(self._head, newest)
