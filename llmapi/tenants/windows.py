"""How much was used within sliding windows and calendar months: plain values, no clock and no storage.

A sliding window is cut into slices, and each use is noted in the slice of its moment. All slices count that reach into
the window, the oldest one wholly: so never more than the limit is used in any span of the window's length, and a use is
given back at most one slice late (60 of 61 parts can be used by who always asks).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from llmapi.db.columns import EPOCH, MICROSECOND

SLICES = 60
SECOND = 1_000_000  # microseconds
MONTH = 0  # the window that is no span: the calendar month, UTC

Unit = Literal["requests", "tokens", "nanos"]


@dataclass(frozen=True, slots=True)
class Limit:
    """No more than `most` of a unit within a window, for all that has the same level.

    level: tenant, key:<id>, user:<name> or model:<provider>/<model>; each of them within one tenant
    window: seconds, or MONTH
    """

    level: str
    unit: Unit
    window: int
    most: int

    @property
    def name(self) -> str:
        """Return what its count is kept under."""
        return f"{self.level}/{self.unit}/{self.window}"


@dataclass(slots=True)
class Count:
    """What was used, by slices; instants are microseconds since 1970."""

    window: int
    slices: dict[int, int]  # number of the slice -> used in it

    def slice_at(self, now: int) -> int:
        """Return the slice of this moment, and forget those too old to count.

        Never an earlier one than was used already: machines' clocks differ a little. What lies further ahead than a
        window was noted by a clock that has since been set back, and is forgotten.
        """
        number = slice_of(self.window, now)
        if self.window == MONTH:
            self.slices = {each: used for each, used in self.slices.items() if each == number}
            return number
        number = max([number, *(each for each in self.slices if each <= number + SLICES)])
        self.slices = {each: used for each, used in self.slices.items() if number - SLICES <= each <= number}
        return number

    def used(self) -> int:
        """Return the sum of what counts."""
        return sum(self.slices.values())

    def reaches(self, number: int, now: int) -> bool:
        """Say whether an earlier slice still counts in the slice `now`."""
        return number >= now - (0 if self.window == MONTH else SLICES)

    def add(self, number: int, amount: int) -> None:
        """Note a use in a slice that still counts, or with a negative amount give some of it back."""
        self.slices[number] = max(0, self.slices.get(number, 0) + amount)

    def fits_at(self, amount: int, most: int, now: int) -> int:
        """Return when at the latest this amount fits, if nothing more is used."""
        excess = self.used() + amount - most
        if self.window != MONTH:
            for number in sorted(self.slices):
                excess -= self.slices[number]
                if excess <= 0:
                    return max(now, begin_of(self.window, number + SLICES + 1))
        return begin_of(self.window, slice_of(self.window, now) + 1)

    def over_at(self) -> int:
        """Return from when on nothing of it counts."""
        if not self.slices:
            return 0
        return begin_of(self.window, max(self.slices) + (1 if self.window == MONTH else SLICES + 1))


def slice_of(window: int, now: int) -> int:
    """Return the number of the slice of a moment."""
    if window == MONTH:
        day = instant_of(now)
        return day.year * 12 + day.month - 1
    return now * SLICES // (window * SECOND)


def begin_of(window: int, number: int) -> int:
    """Return when a slice begins."""
    if window == MONTH:
        return micros_of(datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC))
    return -(-number * window * SECOND // SLICES)


def micros_of(instant: datetime) -> int:
    """Return an instant as microseconds since 1970."""
    return (instant - EPOCH) // MICROSECOND


def instant_of(micros: int) -> datetime:
    """Return an instant."""
    return EPOCH + timedelta(microseconds=micros)
