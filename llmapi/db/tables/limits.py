"""What was used within windows and months, what calls under way may still use, and who has how many under way."""

from sqlalchemy import Column, Index, Integer, PrimaryKeyConstraint, String, Table, Text

from llmapi.db.columns import Instant
from llmapi.db.tables.metadata import metadata

counts = Table(
    "quota_counts",
    metadata,
    Column("tenant", String(64), nullable=False),
    Column("name", String(200), nullable=False),  # level, unit and window, such as key:ab12/tokens/60
    Column("slices", Text, nullable=False),  # JSON: [[number of the slice, used in it], …], oldest first
    Column("until", Instant, nullable=False),  # from then on all of it is too old to count
    PrimaryKeyConstraint("tenant", "name"),
)
Index("ix_quota_counts_until", counts.c.until)

holds = Table(
    "quota_holds",
    metadata,
    Column("id", String(40), primary_key=True),  # the passage of a call through the gateway
    Column("tenant", String(64), nullable=False),
    Column("parts", Text, nullable=False),  # JSON: [[name of the count, number of the slice, held], …]
    Column("lease_until", Instant, nullable=False),
)
Index("ix_quota_holds_lease_until", holds.c.lease_until)

under_way = Table(
    "under_way",
    metadata,
    Column("tenant", String(64), nullable=False),
    Column("key", String(64), nullable=False),
    Column("worker", String(40), nullable=False),  # the process whose heartbeat it is
    Column("held", Integer, nullable=False),  # requests of this key it works on
    Column("lease_until", Instant, nullable=False),
    PrimaryKeyConstraint("tenant", "key", "worker"),
)
