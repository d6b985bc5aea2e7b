"""Sums of the ledger that questions are answered from."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

COUNTED = "requests failures kept unpriced input_tokens output_tokens cached_tokens reasoning_tokens cost saved"
LENGTHS = {"project": 64, "key": 64, "user": 128, "task": 32, "provider": 64, "model": 128, "cache": 16}
LENGTHS |= {"tenant": 64, "experiment": 64}
TABLES = {
    "usage_hours": "project task provider model cache experiment batch",
    "usage_days": "project key task provider model cache experiment batch",
    "usage_users": "project user",
}


def column(name: str) -> sa.Column[Any]:
    kind: Any = sa.String(LENGTHS[name]) if name in LENGTHS else sa.Boolean()
    return sa.Column(name, kind, nullable=False)


def upgrade() -> None:
    for table, dimensions in TABLES.items():
        op.create_table(
            table,
            column("tenant"),
            sa.Column("start", sa.BigInteger, nullable=False),
            *map(column, dimensions.split()),
            *(sa.Column(name, sa.BigInteger, nullable=False) for name in COUNTED.split()),
            sa.Column("duration", sa.Float, nullable=False),
            sa.PrimaryKeyConstraint("tenant", "start", *dimensions.split(), name=f"pk_{table}"),
            sqlite_with_rowid=False,
        )
    op.create_table(
        "usage_kept",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_usage_kept"),
    )


def downgrade() -> None:
    op.drop_table("usage_kept")
    for table in TABLES:
        op.drop_table(table)
