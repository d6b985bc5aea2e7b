"""What the cache by meaning has learned."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "semantic_learned",
        sa.Column("space", sa.String(128), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("policy", sa.String(32), nullable=False),
        sa.Column("labels", sa.Integer, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("space", name="pk_semantic_learned"),
    )
    op.create_index("ix_semantic_learned_updated", "semantic_learned", ["updated"])
    op.create_index("ix_semantic_learned_tenant", "semantic_learned", ["tenant"])


def downgrade() -> None:
    op.drop_table("semantic_learned")
