"""Signing secrets and nonces; stored provider keys."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "signing_secrets",
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="pk_signing_secrets"),
    )
    op.create_table(
        "signature_nonces",
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("nonce", sa.String(128), nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key_id", "nonce", name="pk_signature_nonces"),
    )
    op.create_index("ix_signature_nonces_expires", "signature_nonces", ["expires"])
    op.create_table(
        "provider_keys",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("provider", sa.String(64), nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("ending", sa.String(4), nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "provider", name="pk_provider_keys"),
    )


def downgrade() -> None:
    op.drop_table("provider_keys")
    op.drop_table("signature_nonces")
    op.drop_table("signing_secrets")
