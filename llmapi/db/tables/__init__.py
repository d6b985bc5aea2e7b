"""Every table, a file for each subject. A change needs a migration; a test compares the two.

metadata (what all share), HEAD (the newest migration), then jobs, idempotency, batches, webhooks, streams,
identity, limits, plans, usage, ledger, budgets, signing, audit, cache, semantic.
"""

from llmapi.db.tables import audit, batches, budgets, cache, idempotency, identity, jobs, ledger, limits, plans
from llmapi.db.tables import semantic, signing, streams, usage, webhooks
from llmapi.db.tables.metadata import HEAD, metadata

__all__ = [
    "HEAD",
    "audit",
    "batches",
    "budgets",
    "cache",
    "idempotency",
    "identity",
    "jobs",
    "ledger",
    "limits",
    "metadata",
    "plans",
    "semantic",
    "signing",
    "streams",
    "usage",
    "webhooks",
]
