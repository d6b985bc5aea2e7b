"""What was asked, where the operator wants that kept."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "asked_requests",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("task", sa.String(32), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("times", sa.BigInteger, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "task", "digest", name="pk_asked_requests"),
    )
    op.create_index("ix_asked_requests_times", "asked_requests", ["tenant", "task", "times"])
    op.create_index("ix_asked_requests_last", "asked_requests", ["last"])


def downgrade() -> None:
    op.drop_table("asked_requests")
