"""Secrets that requests are signed with, the nonces they have used, and the keys tenants have with providers."""

from sqlalchemy import Column, Index, PrimaryKeyConstraint, String, Table, Text

from llmapi.db.columns import Instant
from llmapi.db.tables.metadata import metadata

signing_secrets = Table(
    "signing_secrets",
    metadata,
    Column("key_id", String(64), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("secret", Text, nullable=False),  # sealed
    Column("created", Instant, nullable=False),
)

nonces = Table(
    "signature_nonces",
    metadata,
    Column("key_id", String(64), nullable=False),
    Column("nonce", String(128), nullable=False),
    Column("expires", Instant, nullable=False),
    PrimaryKeyConstraint("key_id", "nonce"),
)
Index("ix_signature_nonces_expires", nonces.c.expires)

provider_keys = Table(
    "provider_keys",
    metadata,
    Column("tenant", String(64), nullable=False),
    Column("provider", String(64), nullable=False),
    Column("secret", Text, nullable=False),  # sealed
    Column("ending", String(4), nullable=False),  # its last characters, to tell it from others
    Column("created", Instant, nullable=False),
    PrimaryKeyConstraint("tenant", "provider"),
)
