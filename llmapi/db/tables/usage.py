"""Sums of the ledger that questions are answered from, each with the dimensions that keep it small.

Hours know neither key nor user, days know the key, and what users did is summed by day in a table of its own: a month
of a million calls is some ten thousand rows each. `start` begins the hour or the UTC day.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Float, String, Table

from llmapi.db.columns import Instant
from llmapi.db.tables.metadata import metadata


def _sums(name: str, *dimensions: str) -> Table:
    """Return a table of sums; its primary key is its only tree, in the order questions read it."""
    begin: list[Column[Any]] = [
        Column("tenant", String(64), primary_key=True),
        Column("start", Instant, primary_key=True, autoincrement=False),
    ]
    counted = "requests failures kept unpriced input_tokens output_tokens cached_tokens reasoning_tokens cost saved"
    sums: list[Column[Any]] = [Column(each, BigInteger, nullable=False) for each in counted.split()]
    by = [Column(each, KINDS[each], primary_key=True, autoincrement=False) for each in dimensions]
    duration = Column("duration", Float, nullable=False)  # seconds
    return Table(name, metadata, *begin, *by, *sums, duration, sqlite_with_rowid=False)


KINDS: Mapping[str, Any] = {
    "project": String(64),
    "key": String(64),
    "user": String(128),
    "task": String(32),
    "provider": String(64),
    "model": String(128),
    "cache": String(16),
    "experiment": String(64),
    "batch": Boolean(),
}

hours = _sums("usage_hours", "project", "task", "provider", "model", "cache", "experiment", "batch")
days = _sums("usage_days", "project", "key", "task", "provider", "model", "cache", "experiment", "batch")
users = _sums("usage_users", "project", "user")

# Since when each of the ledger and its sums is whole: what is older was deleted. No row: nothing was.
kept = Table(
    "usage_kept",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("since", Instant, nullable=False),
)
