"""Jobs, and whose turn it is."""

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, String, Table, Text, false

from llmapi.db.columns import Instant
from llmapi.db.tables.metadata import metadata

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("priority", Integer, nullable=False),  # 9 goes first
    Column("run_at", Instant, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("max_attempts", Integer, nullable=False),
    Column("lease_owner", String(64)),
    Column("lease_until", Instant),
    Column("claims", Integer, nullable=False, server_default="0"),  # never goes back, so it tells claims apart
    Column("cancel_asked", Boolean, nullable=False, server_default=false()),
    Column("arguments", Text, nullable=False),  # JSON, as are the three below
    Column("progress", Text),
    Column("result", Text),
    Column("error", Text),
    Column("request_id", String(128), nullable=False),
    Column("created", Instant, nullable=False),
    Column("started", Instant),
    Column("finished", Instant),
    Column("timeout", Float),  # seconds an attempt may take; NULL: what the workers are set to
    Column("reason", String(32)),  # why it is dead
    Column("version", Integer, nullable=False, server_default="0"),  # grows with each change a caller can see
)
Index("ix_jobs_line", jobs.c.status, jobs.c.priority, jobs.c.tenant, jobs.c.run_at, jobs.c.id)
Index("ix_jobs_lease", jobs.c.status, jobs.c.lease_until)
Index("ix_jobs_tenant", jobs.c.tenant, jobs.c.id)
Index("ix_jobs_tenant_status", jobs.c.tenant, jobs.c.status, jobs.c.id)
Index("ix_jobs_finished", jobs.c.finished)

turns = Table(
    "job_turns",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("turn", BigInteger, nullable=False),  # the number of the tenant's latest claim among all claims
)
