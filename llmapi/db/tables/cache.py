"""What was declared good no longer in the caches of all workers, in the order they are told of it."""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table

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
