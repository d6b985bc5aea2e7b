"""What the cache by meaning has learned in each namespace, so that a restart does not forget it."""

from sqlalchemy import Column, Index, Integer, LargeBinary, String, Table

from llmapi.db.columns import Instant
from llmapi.db.tables.metadata import metadata

learned = Table(
    "semantic_learned",
    metadata,
    Column("space", String(128), primary_key=True),  # tenant:digest
    Column("tenant", String(64), nullable=False),
    Column("policy", String(32), nullable=False),  # what wrote it, and nobody else reads
    Column("labels", Integer, nullable=False),  # learned in all: of two writers the one who knows more is kept
    Column("state", LargeBinary, nullable=False),  # JSON, compressed with zstandard
    Column("updated", Instant, nullable=False),
)
Index("ix_semantic_learned_updated", learned.c.updated)
Index("ix_semantic_learned_tenant", learned.c.tenant)
