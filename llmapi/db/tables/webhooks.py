"""Webhook endpoints, what is to be delivered to them, and how it went."""

from sqlalchemy import Column, Index, Integer, PrimaryKeyConstraint, String, Table, Text

from llmapi.db.columns import Instant
from llmapi.db.tables.metadata import metadata

endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("url", Text, nullable=False),
    Column("events", Text, nullable=False),  # JSON list of filters
    Column("description", Text, nullable=False),
    Column("disabled", String(64)),  # why; NULL: it is not
    Column("secret", Text, nullable=False),  # sealed, if the service has a key for that
    Column("previous_secret", Text),
    Column("previous_until", Instant),
    Column("created", Instant, nullable=False),
)
Index("ix_webhook_endpoints_tenant", endpoints.c.tenant, endpoints.c.id)

messages = Table(
    "webhook_messages",
    metadata,
    Column("id", String(40), primary_key=True),  # the webhook-id its receiver sees
    Column("tenant", String(64), nullable=False),
    Column("endpoint", String(40), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("payload", Text, nullable=False),  # JSON, sent and signed as it stands here
    Column("status", String(16), nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("step", Integer, nullable=False, server_default="0"),  # failures since it was last (re)delivered
    Column("next_at", Instant, nullable=False),
    Column("lease_owner", String(64)),
    Column("lease_until", Instant),
    Column("claims", Integer, nullable=False, server_default="0"),  # never goes back, so it tells claims apart
    Column("created", Instant, nullable=False),
    Column("done", Instant),
)
Index(  # all that the search for the next one reads
    "ix_webhook_messages_turn",
    messages.c.status,
    messages.c.next_at,
    messages.c.id,
    messages.c.endpoint,
    messages.c.tenant,
    messages.c.lease_until,
)
Index("ix_webhook_messages_lease", messages.c.lease_until, messages.c.endpoint, messages.c.tenant)
Index("ix_webhook_messages_endpoint", messages.c.endpoint, messages.c.status, messages.c.id)
Index("ix_webhook_messages_done", messages.c.done)

deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("message", String(40), nullable=False),
    Column("number", Integer, nullable=False),  # of the attempt
    Column("at", Instant, nullable=False),
    Column("status", Integer),  # what the receiver answered; NULL: nothing
    Column("error", String(32)),  # one word for why not
    Column("milliseconds", Integer, nullable=False),
    PrimaryKeyConstraint("message", "number"),
)
