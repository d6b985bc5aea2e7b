"""What happened, told once on the bus: ledger, logs, metrics and whoever comes later listen."""

from dataclasses import dataclass, field
from datetime import datetime

from llmapi.core.calls import Attempt, CacheStatus, Usage
from llmapi.core.money import Cost


@dataclass(frozen=True, slots=True)
class CallFinished:
    """A call left the gateway, well or not. `status` is "ok", an error's code, or "abandoned" (the reader left)."""

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
