"""Every table, a file for each subject. A change needs a migration; a test compares the two.

metadata (what all share), HEAD (the newest migration), then jobs, idempotency, batches, webhooks, streams,
limits, plans, usage.
"""

from llmapi.db.tables import batches, idempotency, jobs, limits, plans, streams, usage, webhooks
from llmapi.db.tables.metadata import HEAD, metadata

__all__ = ["HEAD", "batches", "idempotency", "jobs", "limits", "metadata", "plans", "streams", "usage", "webhooks"]
