"""Plans: named sets of limits that tenants and keys refer to."""

from sqlalchemy import Column, String, Table, Text

from llmapi.db.columns import Instant
from llmapi.db.tables.metadata import metadata

plans = Table(
    "plans",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("description", Text, nullable=False),
    Column("limits", Text, nullable=False),  # JSON
    Column("created", Instant, nullable=False),
    Column("changed", Instant, nullable=False),
)
