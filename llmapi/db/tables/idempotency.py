"""Idempotency keys and what became of their requests."""

from sqlalchemy import Column, Index, Integer, LargeBinary, String, Table, Text

from llmapi.db.columns import Instant
from llmapi.db.tables.metadata import metadata

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("route", String(128), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("state", String(8), nullable=False),  # claimed, sent, done, unknown
    Column("fingerprint", String(64), nullable=False),
    Column("owner", String(40), nullable=False),  # one for each claim, so that it tells them apart
    Column("lease_until", Instant),
    Column("status", Integer),
    Column("headers", Text),  # JSON
    Column("body", LargeBinary),
    Column("encoding", String(8)),  # of the body: plain, zlib, or lost when it was too large to keep
    Column("created", Instant, nullable=False),
    Column("expires", Instant, nullable=False),
)
Index("ix_idempotency_keys_expires", idempotency_keys.c.expires)

# What the fingerprints are keyed with: one row, made by whoever needs it first.
idempotency_secret = Table(
    "idempotency_secret",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("value", LargeBinary, nullable=False),
)
