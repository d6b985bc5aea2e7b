"""What was declared good no longer in the caches of all workers."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cache_marks",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("field", sa.String(8), nullable=False),
        sa.Column("value", sa.String(300), nullable=False),
        sa.Column("before", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_cache_marks"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_cache_marks_place", "cache_marks", ["tenant", "field", "value"], unique=True)
    op.create_index("ix_cache_marks_before", "cache_marks", ["before"])


def downgrade() -> None:
    op.drop_table("cache_marks")
