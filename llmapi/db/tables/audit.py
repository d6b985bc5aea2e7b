"""The audit chain, and where it ends."""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from llmapi.db.columns import Instant
from llmapi.db.tables.metadata import metadata

entries = Table(
    "audit_entries",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),  # from 1, without gaps
    Column("at", Instant, nullable=False),
    Column("tenant", String(64), nullable=False),
    Column("actor", String(128), nullable=False),  # a key's name, never a key
    Column("action", String(64), nullable=False),
    Column("target", String(200), nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("details", Text, nullable=False),  # JSON
    Column("hash", String(64), nullable=False),  # keyed, over this entry and the hash before it
)
Index("ix_audit_entries_tenant", entries.c.tenant, entries.c.number)

head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # 1: there is one row, which writers take turns at
    Column("number", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
)
