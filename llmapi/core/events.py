"""What happened, told once on the bus: ledger, logs, metrics and whoever comes later listen."""

from dataclasses import dataclass, field
from datetime import datetime

from llmapi.core.calls import NOTHING, Attempt, CacheStatus, Usage
from llmapi.core.identity import NOBODY, Payer
from llmapi.core.money import Cost

KEPT: frozenset[CacheStatus] = frozenset({"hit", "semantic", "coalesced"})  # answers nobody was asked for


@dataclass(frozen=True, slots=True)
class CallFinished:
    """A call left the gateway, well or not. `status` is "ok", an error's code, or "abandoned" (the reader left).

    `usage` is what the answer or the error reports, of a kept answer too; `billed` is what providers are paid for.
    """

    call_id: str
    tenant: str
    task: str
    asked_model: str
    provider: str
    model: str
    status: str
    cache: CacheStatus
    usage: Usage
    cost: Cost
    attempts: tuple[Attempt, ...]
    duration: float  # seconds, from entering the gateway to the last chunk
    provider_time: float  # seconds of it spent waiting for a provider
    streamed: bool
    at: datetime
    payer: Payer = NOBODY
    entry: str = ""  # as in Call
    batch: bool = False
    own_key: bool = False  # paid for with the caller's own key or its tenant's: the operator pays nothing
    question: str = ""  # the key its answer is cached under: equal for equal questions, tells nothing about them
    max_tokens: int = 0

    @property
    def billed(self) -> Usage:
        """Tokens this call made providers count: none for a kept or shared answer, failed attempts' included."""
        if self.cache in KEPT:
            return NOTHING
        if self.status not in ("ok", "abandoned"):
            return self.usage  # an error carries the sum of all its attempts
        return sum((attempt.usage for attempt in self.attempts), self.usage)


@dataclass(frozen=True, slots=True)
class BreakerChanged:
    """The breaker of one model at one provider went to another state: closed, open or half_open."""

    provider: str
    model: str
    state: str
    at: datetime


@dataclass(frozen=True, slots=True)
class BudgetCrossed:
    """So much of a budget is spent; told once for each threshold and window."""

    tenant: str
    budget: str
    level: str  # tenant, project, key, user or model
    name: str  # of the project, key, user or model
    threshold: float  # share of the amount
    spent: int  # nano-dollars, as `amount`
    amount: int
    window: datetime  # where it begins
    at: datetime


@dataclass(frozen=True, slots=True)
class JobChanged:
    """A job entered a status."""

    job_id: str
    tenant: str
    kind: str
    status: str
    attempt: int
    duration: float | None = None  # seconds it ran, when it ended
    request_id: str = field(default="")
