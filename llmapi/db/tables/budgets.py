"""Budgets, what is spent and held of each, and the reservations of calls under way. Money is in nano-dollars."""

from sqlalchemy import BigInteger, Boolean, Column, Index, PrimaryKeyConstraint, String, Table, Text

from llmapi.db.columns import Instant
from llmapi.db.tables.metadata import metadata

budgets = Table(
    "budgets",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("level", String(8), nullable=False),  # tenant, project, key, user, model
    Column("name", String(128), nullable=False),  # of the project, key, user or model; "" for the tenant
    Column("amount", BigInteger, nullable=False),
    Column("window", String(8), nullable=False),  # day, week, month, rolling
    Column("seconds", BigInteger, nullable=False),  # of a rolling window, else 0
    Column("hard", Boolean, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("thresholds", Text, nullable=False),  # JSON list of shares of the amount
    Column("created", Instant, nullable=False),
)
Index("ix_budgets_tenant", budgets.c.tenant, budgets.c.id)

# One row for each window of a budget; for a slice of the window of a rolling one.
balances = Table(
    "budget_balances",
    metadata,
    Column("budget", String(40), nullable=False),
    Column("start", Instant, nullable=False),
    Column("spent", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("told", Text, nullable=False),  # JSON list of the thresholds that were crossed and told
    PrimaryKeyConstraint("budget", "start"),
    sqlite_with_rowid=False,
)

reservations = Table(
    "reservations",
    metadata,
    Column("entry", String(40), primary_key=True),
    Column("owner", String(64), nullable=False),  # the process
    Column("until", Instant, nullable=False),  # then its owner is taken for dead
    Column("sent", Boolean, nullable=False),  # a provider was asked: money may be gone
    Column("amount", BigInteger, nullable=False),
    Column("budgets", Text, nullable=False),  # JSON list of [budget, start of its window in microseconds]
    Column("about", Text, nullable=False),  # JSON: the columns its ledger row would have
    sqlite_with_rowid=False,
)
Index("ix_reservations_until", reservations.c.until)
