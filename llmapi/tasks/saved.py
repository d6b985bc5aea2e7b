"""What kept answers saved in a time, asked of the ledger's sums."""

from datetime import datetime
from typing import Final

from llmapi.cache.savings import Calls, Savings, savings_of
from llmapi.costs.usage import Question, Usage

GROUPS: Final = 10_000  # more kinds of calls than any tenant has


def saved_between(usage: Usage, tenant: str | None, start: datetime, end: datetime) -> Savings:
    """Return what a tenant's cache did in [start, end); None: all tenants'. Raises ValidationFailed, Overloaded."""
    asked = Question(tenant, start, end, by=("cache", "task", "provider", "model"), limit=GROUPS)
    return savings_of(
        Calls(**line.group, requests=sums.requests, failures=sums.failures, saved=sums.saved, duration=sums.duration)
        for line in usage.ask(asked).lines
        for sums in (line.sums,)
    )
