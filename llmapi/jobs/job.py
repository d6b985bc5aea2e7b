"""A job as callers and workers see it, and the JSON it is kept as."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import orjson
from sqlalchemy import RowMapping

from llmapi.core.clock import rfc3339
from llmapi.core.errors import LlmApiError, PayloadTooLarge, ValidationFailed

Status = Literal["queued", "running", "succeeded", "failed", "cancelled", "dead"]
Json = Mapping[str, Any]
STRICT = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
BIG = ("arguments", "progress", "result")  # columns of JSON text that a listing leaves out
ENDED: frozenset[str] = frozenset({"succeeded", "failed", "cancelled", "dead"})


@dataclass(frozen=True, slots=True)
class Job:
    """One job. A listing leaves out `arguments`, `progress` and `result`: they are None there."""

    id: str
    tenant: str
    kind: str
    status: Status
    priority: int
    run_at: datetime
    attempts: int
    max_attempts: int
    cancel_asked: bool
    request_id: str
    created: datetime
    started: datetime | None  # of the latest attempt
    finished: datetime | None
    timeout: float | None = None  # seconds an attempt may take; None: what the workers are set to
    reason: str | None = None  # why it is dead: "attempts_spent" or "worker_lost"
    claims: int = 0  # how often it was given to a worker
    version: int = 0  # grows with each change a caller can see
    arguments: Json | None = None
    progress: Json | None = None
    result: Json | None = None
    error: Json | None = None  # {"code", "title", "status", "message", …}

    @property
    def duration(self) -> float | None:
        """Return the seconds the last attempt ran, None while it has not ended."""
        if self.started is None or self.finished is None:
            return None
        return (self.finished - self.started).total_seconds()

    def notice(self) -> dict[str, Any]:
        """Return what a webhook says of a job that ended; its result is read at the job's own address."""
        instants = {"created": self.created, "started": self.started, "finished": self.finished}
        told = {name: rfc3339(instant) if instant else None for name, instant in instants.items()}
        return {
            "id": self.id,
            "kind": self.kind,
            "status": self.status,
            "attempts": self.attempts,
            **told,
            "request_id": self.request_id or None,
            "reason": self.reason,
            "error": self.error,
        }

    @classmethod
    def of(cls, row: RowMapping) -> "Job":
        """Return the job of a row."""
        values = {name: row[name] for name in cls.__slots__ if name in row}
        return cls(**values | {name: orjson.loads(row[name]) for name in (*BIG, "error") if row.get(name) is not None})


@dataclass(frozen=True, slots=True)
class Page:
    """Jobs, newest first, and where the next page begins (None: this is the last)."""

    jobs: tuple[Job, ...]
    after: str | None


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's right to run a job, until its lease ends. `number` tells it from earlier claims of the same job."""

    job: Job
    owner: str
    number: int
    lease: float  # seconds a heartbeat adds


def as_json(value: Any, what: str, most: int) -> str:
    """Return JSON that reads back as exactly `value`; raises ValidationFailed, PayloadTooLarge.

    Tuples, NaN, dataclasses and dates come back as something else, so they are refused here and not when a job that
    waited for hours begins.
    """
    text = _dumped(value, what)
    if len(text) > most:
        raise PayloadTooLarge(f"The {what} of the job are larger than {most} bytes.")
    if orjson.loads(text) != value:
        raise ValidationFailed(f"The {what} of the job must be plain JSON values.")
    return text.decode()


def _dumped(value: Any, what: str) -> bytes:
    try:
        return orjson.dumps(value, option=STRICT)
    except TypeError as error:
        raise ValidationFailed(f"The {what} of the job must be plain JSON values.") from error


def described(error: LlmApiError) -> dict[str, Any]:
    """Return an error as a failed job keeps it; plain JSON."""
    known = {"code": error.code, "title": error.title, "status": error.status, "message": error.message}
    more = {"errors": {name: list(said) for name, said in error.fields.items()}, "details": error.details}
    kept: dict[str, Any] = orjson.loads(orjson.dumps(known | {k: v for k, v in more.items() if v}, default=str))
    return kept
