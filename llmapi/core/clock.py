"""Time as an argument: two clocks that a test replaces by plain functions."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

Monotonic = Callable[[], float]  # seconds since some moment; for spans and deadlines
Wall = Callable[[], datetime]  # aware UTC; for what is stored and shown
Sleep = Callable[[float], None]  # seconds

monotonic: Monotonic = time.monotonic


def utc_now() -> datetime:
    """Return this instant as an aware UTC datetime."""
    return datetime.now(UTC)


def rfc3339(instant: datetime) -> str:
    """Return an aware datetime as RFC 3339 text in UTC with milliseconds, e.g. 2026-11-02T09:30:00.125Z."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
