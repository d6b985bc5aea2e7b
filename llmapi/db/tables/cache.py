"""What was declared good no longer in the caches of all workers, in the order they are told of it; and what was asked,
where the operator wants that kept."""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from llmapi.db.columns import Instant
from llmapi.db.tables.metadata import metadata

# A number is never used twice, also where the newest mark was deleted: who has seen it looks for higher ones only.
marks = Table(
    "cache_marks",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("field", String(8), nullable=False),
    Column("value", String(300), nullable=False),
    Column("before", Instant, nullable=False),  # what was asked earlier is meant
    sqlite_autoincrement=True,
)
Index("ix_cache_marks_place", marks.c.tenant, marks.c.field, marks.c.value, unique=True)
Index("ix_cache_marks_before", marks.c.before)

# Requests somebody waited for, so that the most asked can be asked ahead.
requests = Table(
    "asked_requests",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("task", String(32), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("request", Text, nullable=False),  # JSON
    Column("times", BigInteger, nullable=False),
    Column("last", Instant, nullable=False),  # when it was asked last
)
Index("ix_asked_requests_times", requests.c.tenant, requests.c.task, requests.c.times)
Index("ix_asked_requests_last", requests.c.last)
