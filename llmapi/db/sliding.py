"""Sliding windows: never more than N hits in any stretch of the window's length, whatever its beginning.

A window is a log of when hits came, oldest first. Up to EXACT hits each has its own entry; of more, those of one 64th
of the window share one, which leaves when its last hit does: never a hit too many, at least 0.98 N under demand. A
refused hit is not written down. What several limits say of one request is one decision: it counts for all or for none.
"""

from abc import abstractmethod
from array import array
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from limits.storage import MovingWindowSupport, Storage

from llmapi.core.errors import BadSetting

EXACT = 64  # limits up to this are kept hit by hit
SLOTS = 64  # the parts of a window of a greater one
SLIDES = "these counters slide: use flask-limiter's strategy moving-window"
Log: TypeAlias = "array[float]"  # when (seconds since 1970), how many, when, how many …


class CountersAway(Exception):
    """The place where hits are counted cannot be asked."""


class Charge(NamedTuple):
    """A hit one limit shall count. A key has one span always, and comes once in a request."""

    key: str
    limit: int
    span: float  # seconds


class Room(NamedTuple):
    """What a limit has left, and the seconds until it has more: enough for this hit, if it was refused."""

    left: int
    wait: float


class Taken(NamedTuple):
    """Whether a request was counted by all its limits, or by none; and the room in each, in order."""

    counted: bool
    rooms: Sequence[Room]


class Sliding(Storage, MovingWindowSupport):
    """A storage of the library `limits`, for the strategy "moving-window" alone; `take` is the quick way past it."""

    @property
    def base_exceptions(self) -> type[Exception]:
        return CountersAway

    @abstractmethod
    def take(self, charges: Sequence[Charge], amount: int = 1) -> Taken:
        """Count a request at all its limits if each has room; raises CountersAway. An amount of 0 only looks."""

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        return self.take((Charge(key, limit, float(expiry)),), amount).counted

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Return when the window's oldest hit came (now, if there is none), and how many there are."""
        room = self.take((Charge(key, limit, float(expiry)),), 0).rooms[0]
        return self.now() + room.wait - expiry, limit - room.left

    @abstractmethod
    def now(self) -> float:
        """Return the seconds since 1970 by which `take` counts."""

    def close(self) -> None:
        """Give back what is open; the next use opens it again."""

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        raise BadSetting(SLIDES)

    def get(self, key: str) -> int:
        raise BadSetting(SLIDES)

    def get_expiry(self, key: str) -> float:
        raise BadSetting(SLIDES)


def take_from(logs: Sequence[Log], charges: Sequence[Charge], amount: int, now: float) -> tuple[Taken, bool]:
    """Count a request in the logs of its limits if each has room; returns also whether the logs must be kept."""
    counted, moved, used = True, False, []
    for log, (_, limit, span) in zip(logs, charges, strict=True):
        moved |= forget(log, now, span)
        used.append(sum(log[1::2]))
        counted &= used[-1] + amount <= limit
    rooms = []
    for log, (_, limit, span), have in zip(logs, charges, used, strict=True):
        if counted and amount:
            add(log, now, amount, span / SLOTS if limit > EXACT else 0.0)
            have += amount
            surplus = 1.0
        else:
            surplus = max(1.0, have + amount - limit)
        rooms.append(Room(max(0, limit - int(have)), wait(log, now, span, surplus)))
    return Taken(counted, rooms), moved or counted and amount > 0


def forget(log: Log, now: float, span: float) -> bool:
    """Drop the hits that have left the window. True when a clock set back had to be mended, which must be kept: hits
    of the future are taken for hits of this moment, so nobody waits longer than one window."""
    old, size = 0, len(log)
    while old < size and now - log[old] >= span:
        old += 2
    if old:
        del log[:old]
    if not log or log[-2] <= now:
        return False
    for at in range(0, len(log), 2):
        log[at] = min(log[at], now)
    return True


def add(log: Log, now: float, amount: int, grain: float) -> None:
    """Write a hit down, together with earlier ones of the same `grain` seconds."""
    if log and (log[-2] == now or grain and log[-2] // grain == now // grain):
        log[-2] = now
        log[-1] += amount
    else:
        log.extend((now, amount))


def wait(log: Log, now: float, span: float, surplus: float) -> float:
    """Return the seconds until so many hits have left; a whole span when there are not as many."""
    for at in range(0, len(log), 2):
        surplus -= log[at + 1]
        if surplus <= 0:
            return max(0.0, log[at] + span - now)
    return span
