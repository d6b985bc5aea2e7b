"""Uploaded files and batches."""

from sqlalchemy import BigInteger, Column, Float, Index, Integer, LargeBinary, PrimaryKeyConstraint, String, Table, Text

from llmapi.db.columns import Instant
from llmapi.db.tables.metadata import metadata

files = Table(
    "files",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("purpose", String(32), nullable=False),
    Column("filename", String(255), nullable=False),
    Column("status", String(16), nullable=False),  # writing, processed
    Column("bytes", BigInteger, nullable=False, server_default="0"),
    Column("created", Instant, nullable=False),
    Column("expires", Instant, nullable=False),
)
Index("ix_files_tenant", files.c.tenant, files.c.id)
Index("ix_files_expires", files.c.expires)

chunks = Table(
    "file_chunks",
    metadata,
    Column("file", String(64), nullable=False),
    Column("number", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
    PrimaryKeyConstraint("file", "number"),
)

batches = Table(
    "batches",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("endpoint", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("input_file", String(64), nullable=False),
    Column("output_file", String(64)),
    Column("error_file", String(64)),
    Column("labels", Text, nullable=False),  # JSON: the caller's metadata
    Column("errors", Text),  # JSON: why it failed as a whole
    Column("payer", Text, nullable=False, server_default="{}"),  # JSON of a Payer
    Column("keep_for", Float),  # seconds its output files are kept; NULL: the setting
    Column("total", Integer, nullable=False, server_default="0"),
    Column("completed", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("job", String(40)),  # the job that works on it; NULL: none yet
    Column("owner", String(40)),  # one for each run of a job, so that it tells them apart
    Column("touched", Instant, nullable=False),  # when its job was looked after last
    Column("created", Instant, nullable=False),
    Column("expires", Instant, nullable=False),  # what is not asked by then is not asked
    Column("in_progress_at", Instant),
    Column("finalizing_at", Instant),
    Column("completed_at", Instant),
    Column("failed_at", Instant),
    Column("expired_at", Instant),
    Column("cancelling_at", Instant),
    Column("cancelled_at", Instant),
)
Index("ix_batches_tenant", batches.c.tenant, batches.c.id)
Index("ix_batches_touched", batches.c.status, batches.c.touched)

lines = Table(
    "batch_lines",
    metadata,
    Column("batch", String(64), nullable=False),
    Column("number", Integer, nullable=False),  # in the input file, from 1
    Column("custom_id", Text),
    Column("state", String(8), nullable=False),  # waiting, sent, doubt (sent by a run that was lost), done, failed
    Column("owner", String(40)),  # the run that sent it
    Column("body", Text),  # JSON of the request, until it is answered
    Column("result", Text),  # JSON of the line as it goes to the output or error file
    PrimaryKeyConstraint("batch", "number"),
)
Index("ix_batch_lines_state", lines.c.batch, lines.c.state, lines.c.number)
