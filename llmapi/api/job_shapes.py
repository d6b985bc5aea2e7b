"""A job as callers see it."""

from datetime import datetime
from typing import Any

from llmapi.core.clock import rfc3339, utc_now
from llmapi.jobs.job import Job


def shown(job: Job) -> dict[str, Any]:
    """Return all of a job."""
    return {
        "id": job.id,
        "kind": job.kind,
        "task": (job.arguments or {}).get("task"),
        "status": job.status,
        "priority": job.priority,
        "attempts": job.attempts,
        "max_attempts": job.max_attempts,
        "cancel_asked": job.cancel_asked,
        "timeout": job.timeout,
        "run_at": rfc3339(job.run_at),
        "created": rfc3339(job.created),
        "started": instant(job.started),
        "finished": instant(job.finished),
        "request_id": job.request_id or None,
        "progress": progress_of(job, utc_now()),
        "result": job.result,
        "error": job.error,
        "reason": job.reason,
    }


def instant(at: datetime | None) -> str | None:
    """Return RFC 3339 text, None for what was not yet."""
    return rfc3339(at) if at else None


def progress_of(job: Job, now: datetime) -> dict[str, Any] | None:
    """Return how far a job is, with the seconds it still needs at the pace of this attempt; None before its first word.

    What an earlier attempt had done (`from`) says nothing about the pace, and without a step there is none.
    """
    told = job.progress
    if told is None:
        return None
    done, total, began = told.get("done"), told.get("total"), told.get("from", 0)
    eta = None
    if job.status == "running" and job.started and total is not None and done is not None and done > began:
        eta = round((now - job.started).total_seconds() / (done - began) * max(0, total - done), 1)
    return {"done": done, "total": total, "unit": told.get("unit"), "eta_s": eta}
