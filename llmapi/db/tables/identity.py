"""Tenants, their projects and keys, and the number that says whether any of them changed."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, PrimaryKeyConstraint, String, Table, Text, false

from llmapi.db.columns import Instant
from llmapi.db.tables.metadata import metadata

tenants = Table(
    "tenants",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("state", String(16), nullable=False),  # active, suspended
    Column("plan", String(64), nullable=False),
    Column("created", Instant, nullable=False),
)

projects = Table(
    "projects",
    metadata,
    Column("tenant", String(64), nullable=False),
    Column("id", String(64), nullable=False),
    Column("name", String(128), nullable=False),
    Column("created", Instant, nullable=False),
    PrimaryKeyConstraint("tenant", "id"),
)

keys = Table(
    "api_keys",
    metadata,
    Column("id", String(64), primary_key=True),  # the public part of the key; sorts by time
    Column("tenant", String(64), nullable=False),
    Column("project", String(64), nullable=False),
    Column("name", String(128), nullable=False),
    Column("role", String(16), nullable=False),
    Column("scopes", Text),  # JSON list; NULL: all of the role's
    Column("addresses", Text, nullable=False, server_default="[]"),  # JSON list of networks; empty: from anywhere
    Column("requires_signature", Boolean, nullable=False, server_default=false()),
    Column("may_name_user", Boolean, nullable=False, server_default=false()),
    Column("plan", String(64), nullable=False),  # "": the tenant's
    Column("state", String(16), nullable=False),  # active, revoked
    Column("digest", String(64), nullable=False),  # of the whole key, with a pepper the database does not have
    Column("previous_digest", String(64)),
    Column("previous_until", Instant),
    Column("expires", Instant),
    Column("created", Instant, nullable=False),
    Column("last_used", Instant),
)
Index("ix_api_keys_tenant", keys.c.tenant, keys.c.id)

changes = Table(
    "identity_changes",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # one row: 1
    Column("version", BigInteger, nullable=False),  # one more with each change, in its transaction
    Column("first_key", Instant),  # when the first key was made by the service itself; NULL: it was not
)
