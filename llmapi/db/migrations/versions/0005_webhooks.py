"""Webhooks."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    endpoints()
    messages()
    deliveries()


def downgrade() -> None:
    for table in ("webhook_deliveries", "webhook_messages", "webhook_endpoints"):
        op.drop_table(table)


def endpoints() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("events", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("disabled", sa.String(64)),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("previous_secret", sa.Text),
        sa.Column("previous_until", sa.BigInteger),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_endpoints"),
    )
    op.create_index("ix_webhook_endpoints_tenant", "webhook_endpoints", ["tenant", "id"])


def messages() -> None:
    op.create_table(
        "webhook_messages",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("endpoint", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("step", sa.Integer, nullable=False, server_default="0"),
        sa.Column("next_at", sa.BigInteger, nullable=False),
        sa.Column("lease_owner", sa.String(64)),
        sa.Column("lease_until", sa.BigInteger),
        sa.Column("claims", sa.Integer, nullable=False, server_default="0"),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("done", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_messages"),
    )
    turn = ["status", "next_at", "id", "endpoint", "tenant", "lease_until"]
    op.create_index("ix_webhook_messages_turn", "webhook_messages", turn)
    op.create_index("ix_webhook_messages_lease", "webhook_messages", ["lease_until", "endpoint", "tenant"])
    op.create_index("ix_webhook_messages_endpoint", "webhook_messages", ["endpoint", "status", "id"])
    op.create_index("ix_webhook_messages_done", "webhook_messages", ["done"])


def deliveries() -> None:
    op.create_table(
        "webhook_deliveries",
        sa.Column("message", sa.String(40), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("error", sa.String(32)),
        sa.Column("milliseconds", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("message", "number", name="pk_webhook_deliveries"),
    )
