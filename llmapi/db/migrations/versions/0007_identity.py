"""Tenants, projects, keys; who pays for a batch."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("batches", sa.Column("payer", sa.Text, nullable=False, server_default="{}"))


def downgrade() -> None:
    op.drop_column("batches", "payer")
