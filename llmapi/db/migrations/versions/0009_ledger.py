"""The ledger with its postings, budgets and reservations."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def named(name: str, length: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False)


def number(name: str, default: str | None = None) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default=default)


def upgrade() -> None:
    make_ledger()
    make_postings()
    make_budgets()
    make_balances()


def make_ledger() -> None:
    lengths = {"tenant": 64, "project": 64, "key": 64, "user": 128}
    op.create_table(
        "ledger",
        sa.Column("id", BIG, nullable=False),
        number("at"),
        named("entry", 40),
        named("call_id", 128),
        named("tenant", 64),
        *(named(name, lengths[name]) for name in ("project", "key", "user")),
        named("task", 32),
        named("provider", 64),
        named("model", 128),
        named("asked_model", 128),
        named("status", 40),
        named("cache", 16),
        named("experiment", 64),
        sa.Column("batch", sa.Boolean, nullable=False, server_default=sa.false()),
        named("question", 64),
        *(number(f"{kind}_tokens") for kind in ("input", "output", "cached", "reasoning")),
        number("max_tokens", "0"),
        named("pricing", 8),
        sa.Column("cost", sa.BigInteger),
        number("saved", "0"),
        sa.Column("price", sa.Text),
        sa.Column("duration", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ledger"),
    )
    op.create_index("ix_ledger_tenant_at", "ledger", ["tenant", "at"])
    op.create_index("ix_ledger_at", "ledger", ["at"])
    op.create_index("ix_ledger_call", "ledger", ["call_id"])
    op.create_index("ix_ledger_entry", "ledger", ["entry"], unique=True)


def make_postings() -> None:
    op.create_table(
        "postings",
        sa.Column("id", BIG, nullable=False),
        number("at"),
        named("entry", 40),
        named("account", 200),
        number("amount"),
        sa.PrimaryKeyConstraint("id", name="pk_postings"),
    )
    op.create_index("ix_postings_at", "postings", ["at"])


def make_budgets() -> None:
    op.create_table(
        "budgets",
        named("id", 40),
        named("tenant", 64),
        named("level", 8),
        named("name", 128),
        number("amount"),
        named("window", 8),
        number("seconds"),
        sa.Column("hard", sa.Boolean, nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("thresholds", sa.Text, nullable=False),
        number("created"),
        sa.PrimaryKeyConstraint("id", name="pk_budgets"),
    )
    op.create_index("ix_budgets_tenant", "budgets", ["tenant", "id"])


def make_balances() -> None:
    op.create_table(
        "budget_balances",
        named("budget", 40),
        number("start"),
        number("spent"),
        number("held"),
        sa.Column("told", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("budget", "start", name="pk_budget_balances"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "reservations",
        named("entry", 40),
        named("owner", 64),
        number("until"),
        sa.Column("sent", sa.Boolean, nullable=False),
        number("amount"),
        sa.Column("budgets", sa.Text, nullable=False),
        sa.Column("about", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("entry", name="pk_reservations"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_reservations_until", "reservations", ["until"])


def downgrade() -> None:
    for table in ("reservations", "budget_balances", "budgets", "postings", "ledger"):
        op.drop_table(table)
