"""What calls cost: the ledger, and the postings that prove it. All money is an integer of nano-dollars."""

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, String, Table, Text, false

from llmapi.db.columns import Instant
from llmapi.db.tables.metadata import metadata

BIG = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER numbers its rows by itself there

# One row a finished call; `price` is what it was computed from (JSON), frozen.
ledger = Table(
    "ledger",
    metadata,
    Column("id", BIG, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("entry", String(40), nullable=False),  # the passage through the gateway; a request may have several
    Column("call_id", String(128), nullable=False),
    Column("tenant", String(64), nullable=False),
    Column("project", String(64), nullable=False),
    Column("key", String(64), nullable=False),
    Column("user", String(128), nullable=False),
    Column("task", String(32), nullable=False),
    Column("provider", String(64), nullable=False),
    Column("model", String(128), nullable=False),
    Column("asked_model", String(128), nullable=False),
    Column("status", String(40), nullable=False),  # ok, abandoned, lost (its process died), or an error's code
    Column("cache", String(16), nullable=False),
    Column("experiment", String(64), nullable=False),
    Column("batch", Boolean, nullable=False, server_default=false()),
    Column("question", String(64), nullable=False),  # equal for equal questions, a digest
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("max_tokens", BigInteger, nullable=False, server_default="0"),
    Column("pricing", String(8), nullable=False),  # priced, free, unpriced, or bound: the most it can have cost
    Column("cost", BigInteger),  # NULL when unpriced
    Column("saved", BigInteger, nullable=False, server_default="0"),  # what a kept or shared answer would have cost
    Column("price", Text),
    Column("duration", Float, nullable=False),  # seconds
)
Index("ix_ledger_tenant_at", ledger.c.tenant, ledger.c.at)
Index("ix_ledger_at", ledger.c.at)
Index("ix_ledger_call", ledger.c.call_id)
Index("ix_ledger_entry", ledger.c.entry, unique=True)  # what is written twice is booked once

# Double entry: the amounts of one entry sum to 0.
postings = Table(
    "postings",
    metadata,
    Column("id", BIG, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("entry", String(40), nullable=False),
    Column("account", String(200), nullable=False),
    Column("amount", BigInteger, nullable=False),
)
Index("ix_postings_at", postings.c.at)
