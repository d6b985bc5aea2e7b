"""The windows of budgets: calendar days, weeks (from Monday) and months in UTC, or the last so many seconds.

A call counts where it began. A rolling window is made of slices, of which the oldest counts until all of it has left:
so it is never shorter than it says, and at most a slice longer.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from llmapi.db.columns import EPOCH

Kind = Literal["day", "week", "month", "rolling"]
SLICES: Final = 60  # of a rolling window
SHORTEST: Final = 60  # seconds a rolling window has at least
LONGEST: Final = 366 * 86_400
DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Window:
    """What counts at an instant: the slots from `first` on; a call that begins now counts in `slot`.

    `ends` is when the calendar's window is over, or when the oldest slice of a rolling one leaves it.
    """

    first: datetime
    slot: datetime
    ends: datetime


def window_at(kind: str, seconds: int, now: datetime) -> Window:
    """Return the window at an instant."""
    if kind == "rolling":
        return _rolling(seconds, now)
    start = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if kind == "day":
        return Window(start, start, start + DAY)
    if kind == "week":
        start -= start.weekday() * DAY
        return Window(start, start, start + 7 * DAY)
    start = start.replace(day=1)
    return Window(start, start, (start + 32 * DAY).replace(day=1))


def _rolling(seconds: int, now: datetime) -> Window:
    width = -(-seconds // SLICES)
    first = _floor(now - timedelta(seconds=seconds), width)
    return Window(first, _floor(now, width), first + timedelta(seconds=width + seconds))


def _floor(instant: datetime, width: int) -> datetime:
    return instant - (instant - EPOCH) % timedelta(seconds=width)
