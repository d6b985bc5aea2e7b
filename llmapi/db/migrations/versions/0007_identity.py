"""Tenants, projects, keys; who pays for a batch."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("batches", sa.Column("payer", sa.Text, nullable=False, server_default="{}"))
    op.add_column("socket_tickets", sa.Column("key", sa.String(64)))
    op.add_column("socket_tickets", sa.Column("user", sa.String(128)))
    tenants()
    keys()
    changes()


def downgrade() -> None:
    for table in ("identity_changes", "api_keys", "projects", "tenants"):
        op.drop_table(table)
    op.drop_column("socket_tickets", "user")
    op.drop_column("socket_tickets", "key")
    op.drop_column("batches", "payer")


def tenants() -> None:
    made = op.create_table(
        "tenants",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("plan", sa.String(64), nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tenants"),
    )
    now = round(datetime.now(UTC).timestamp() * 1_000_000)
    op.bulk_insert(made, [{"id": "default", "name": "Default", "state": "active", "plan": "", "created": now}])
    op.create_table(
        "projects",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_projects"),
    )


def keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("scopes", sa.Text),
        sa.Column("addresses", sa.Text, nullable=False, server_default="[]"),
        sa.Column("requires_signature", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("may_name_user", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("plan", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("previous_digest", sa.String(64)),
        sa.Column("previous_until", sa.BigInteger),
        sa.Column("expires", sa.BigInteger),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("last_used", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
    )
    op.create_index("ix_api_keys_tenant", "api_keys", ["tenant", "id"])


def changes() -> None:
    made = op.create_table(
        "identity_changes",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("first_key", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_identity_changes"),
    )
    op.bulk_insert(made, [{"id": 1, "version": 0, "first_key": None}])
