"""Job turns."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("timeout", sa.Float))
    op.add_column("jobs", sa.Column("reason", sa.String(32)))
    op.add_column("jobs", sa.Column("version", sa.Integer, nullable=False, server_default="0"))
    op.drop_index("ix_jobs_turn", "jobs")
    op.create_index("ix_jobs_line", "jobs", ["status", "priority", "tenant", "run_at", "id"])
    op.create_table(
        "job_turns",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("turn", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", name="pk_job_turns"),
    )


def downgrade() -> None:
    op.drop_table("job_turns")
    op.drop_index("ix_jobs_line", "jobs")
    op.create_index("ix_jobs_turn", "jobs", ["status", sa.text("priority DESC"), "run_at", "id"])
    for column in ("version", "reason", "timeout"):
        op.drop_column("jobs", column)
