"""Where the answer to a question of use stands: the widest sums that know what is asked, finer ones at the edges.

Days first, hours where a day is cut, the ledger's own rows where an hour is cut: every range is exact.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from sqlalchemy import Table

from llmapi.core.clock import rfc3339
from llmapi.core.errors import ValidationFailed
from llmapi.costs.postings import micros
from llmapi.db.columns import EPOCH, MICROSECOND
from llmapi.db.tables.ledger import ledger
from llmapi.db.tables.usage import days, hours, users

Interval = Literal["hour", "day", "month", "none"]

HOUR, DAY = 3_600_000_000, 86_400_000_000  # microseconds
STEPS: Mapping[str, int] = {"hour": HOUR, "day": DAY}
MOST_ROWS_OF = 31 * DAY  # of the ledger itself one question may read, for that takes a microsecond a call
LONGEST: Mapping[str, int] = {"hour": 31 * DAY, "day": 400 * DAY, "month": 3660 * DAY, "none": 3660 * DAY}
DIMENSIONS = ("tenant", "project", "key", "user", "provider", "model", "task", "cache", "experiment", "batch")


class Source(NamedTuple):
    """A table sums can be read from: of whole steps, or of any instant (step 1)."""

    name: str  # in usage_kept
    table: Table
    step: int

    def knows(self, dimensions: frozenset[str]) -> bool:
        """Say whether it tells these dimensions apart."""
        return dimensions <= set(self.table.columns.keys())


LEDGER = Source("ledger", ledger, 1)
SOURCES = (Source("days", days, DAY), Source("users", users, DAY), Source("hours", hours, HOUR), LEDGER)


class Piece(NamedTuple):
    """A range of one source; `bucket` is the interval it falls into where the source need not say so itself."""

    source: Source
    first: int  # microseconds since 1970
    last: int  # not part of it
    bucket: int | None


def plan(
    start: datetime, end: datetime, interval: Interval, dimensions: frozenset[str], since: Mapping[str, datetime]
) -> list[Piece]:
    """Return what has to be read; raises ValidationFailed for a range that is too long or no longer known.

    since: of a source's name, from when on it is whole; none: from the first call
    """
    first, last = micros(start), micros(end)
    if last - first > LONGEST[interval]:
        raise refused(f"At most {LONGEST[interval] // DAY} days can be asked with interval {interval}.")
    sources = [each for each in SOURCES if each.knows(dimensions) and each.step <= STEPS.get(interval, DAY)]
    begins = {name: micros(at) for name, at in since.items()}
    pieces = [
        Piece(source, low, high, bucket)
        for bucket, begin, stop in windows(first, last, interval)
        for source, low, high in cover(begin, stop, sources, begins)
    ]
    if sum(piece.last - piece.first for piece in pieces if piece.source is LEDGER) > MOST_ROWS_OF:
        named = ", ".join(sorted(dimensions))
        raise refused(f"No sums are kept of {named} by {interval}: at most {MOST_ROWS_OF // DAY} days can be asked.")
    return pieces


def windows(first: int, last: int, interval: Interval) -> list[tuple[int | None, int, int]]:
    """Return (bucket, begin, end): one for each month where months are asked, else all in one."""
    if interval != "month":
        return [(first if interval == "none" else None, first, last)]
    edges = [first]
    while (after := next_month(edges[-1])) < last:
        edges.append(after)
    return [(low, low, high) for low, high in zip(edges, [*edges[1:], last], strict=True)]


def cover(
    first: int, last: int, sources: Sequence[Source], since: Mapping[str, int]
) -> list[tuple[Source, int, int]]:
    """Return the ranges that make up a range: whole steps from the first source, the edges from those after it."""
    if first >= last:
        return []
    if not sources:
        oldest = rfc3339(instant(max(since.values(), default=last)))
        raise refused(f"What was before {oldest} is no longer known so finely: ask for whole days, or fewer groups.")
    source, finer = sources[0], sources[1:]
    low = max(up(first, source.step), up(since.get(source.name, first), source.step))
    high = last - last % source.step
    if low >= high:
        return cover(first, last, finer, since)
    return [*cover(first, low, finer, since), (source, low, high), *cover(high, last, finer, since)]


def up(at: int, step: int) -> int:
    """Return the first beginning of a step from an instant on."""
    return -(-at // step) * step


def next_month(at: int) -> int:
    """Return when the month after an instant's begins."""
    day = instant(at).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = day.replace(year=day.year + 1, month=1) if day.month == 12 else day.replace(month=day.month + 1)
    return micros(following)


def instant(at: int) -> datetime:
    """Return what the database keeps as an instant."""
    return (EPOCH + at * MICROSECOND).astimezone(UTC)


def refused(why: str) -> ValidationFailed:
    """Return the refusal of a range."""
    return ValidationFailed(why, fields={"from": [why]})
