"""The registry's SQL. One text for every database: SQLite ignores SKIP LOCKED, for its writers are alone."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Delete, Select, Update
from sqlalchemy import and_, case, delete, func, literal, null, or_, select, update

from llmapi.db.columns import Instant
from llmapi.db.tables.jobs import jobs
from llmapi.jobs.job import BIG, Claim

SUMMARY = tuple(column for column in jobs.c if column.name not in BIG)
NO_LEASE: dict[Any, Any] = {jobs.c.lease_owner: None, jobs.c.lease_until: None}
ENDED_AT_ONCE = 500  # rows one clean-up deletes, so that it never holds up others for long


def queued(most: int, tenant: str | None = None) -> Select[int]:
    """Count the jobs that wait, up to `most`."""
    waiting = select(jobs.c.id).where(jobs.c.status == "queued").limit(most)
    if tenant is not None:
        waiting = waiting.where(jobs.c.tenant == tenant)
    return select(func.count()).select_from(waiting.subquery())


def listing(tenant: str, status: str | None, after: str | None, most: int) -> Select[Any]:
    """List a tenant's jobs, newest first; ids sort by time."""
    found = select(*SUMMARY).where(jobs.c.tenant == tenant).order_by(jobs.c.id.desc()).limit(most)
    if status is not None:
        found = found.where(jobs.c.status == status)
    if after is not None:
        found = found.where(jobs.c.id < after)
    return found


def cancel_now(id: str, tenant: str, now: datetime) -> Update:
    """Cancel a job nobody runs: it waits, or its worker died."""
    abandoned = and_(jobs.c.status == "running", jobs.c.lease_until <= now)
    return (
        update(jobs)
        .where(jobs.c.id == id, jobs.c.tenant == tenant, or_(jobs.c.status == "queued", abandoned))
        .values({jobs.c.status: "cancelled", jobs.c.finished: now, **NO_LEASE})
    )


def ask_to_cancel(id: str, tenant: str) -> Update:
    """Leave word for the worker that runs the job."""
    mine = (jobs.c.id == id, jobs.c.tenant == tenant, jobs.c.status == "running")
    return update(jobs).where(*mine).values({jobs.c.cancel_asked: True})


def take_back(now: datetime, reason: str) -> Update:
    """End the leases that ran out: their jobs wait again, unless cancelled or tried too often."""
    spent = jobs.c.attempts >= jobs.c.max_attempts
    return (
        update(jobs)
        .where(jobs.c.status == "running", jobs.c.lease_until <= now)
        .values({
            jobs.c.status: case((jobs.c.cancel_asked, "cancelled"), (spent, "dead"), else_="queued"),
            jobs.c.finished: case((or_(jobs.c.cancel_asked, spent), _at(now)), else_=null()),
            jobs.c.error: case((jobs.c.cancel_asked, null()), (spent, reason), else_=null()),
            **NO_LEASE,
        })
    )


def claim(owner: str, now: datetime, until: datetime) -> Update:
    """Give the job whose turn it is to `owner`."""
    waiting = jobs.alias()
    turn = (
        select(waiting.c.id)
        .where(waiting.c.status == "queued", waiting.c.run_at <= now)
        .order_by(waiting.c.priority.desc(), waiting.c.run_at, waiting.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    return (
        update(jobs)
        .where(jobs.c.id == turn.scalar_subquery())
        .values({
            jobs.c.status: "running",
            jobs.c.lease_owner: owner,
            jobs.c.lease_until: until,
            jobs.c.attempts: jobs.c.attempts + 1,
            jobs.c.claims: jobs.c.claims + 1,
            jobs.c.started: now,
            jobs.c.progress: None,
        })
    )


def held(claim: Claim) -> Update:
    """Change the row of a claim, if it is still the one that holds."""
    return update(jobs).where(
        jobs.c.id == claim.job.id,
        jobs.c.status == "running",
        jobs.c.lease_owner == claim.owner,
        jobs.c.claims == claim.number,
    )


def success(claim: Claim, now: datetime, result: str) -> Update:
    return held(claim).values({
        jobs.c.status: "succeeded", jobs.c.finished: now, jobs.c.result: result, jobs.c.error: None, **NO_LEASE
    })


def failure(claim: Claim, now: datetime, error: str, again_at: datetime | None) -> Update:
    """Fail; or wait until `again_at`, while attempts are left. A job that was to be cancelled is cancelled now."""
    again: ColumnElement[bool] = literal(again_at is not None) & (jobs.c.attempts < jobs.c.max_attempts)
    return held(claim).values({
        jobs.c.status: case((jobs.c.cancel_asked, "cancelled"), (again, "queued"), else_="failed"),
        jobs.c.finished: case((~jobs.c.cancel_asked & again, null()), else_=_at(now)),
        jobs.c.run_at: case((again, _at(again_at or now)), else_=jobs.c.run_at),
        jobs.c.error: case((jobs.c.cancel_asked, null()), else_=error),
        **NO_LEASE,
    })


def return_unharmed(claim: Claim, now: datetime) -> Update:
    """Wait again as if this attempt had not been."""
    return held(claim).values({
        jobs.c.status: case((jobs.c.cancel_asked, "cancelled"), else_="queued"),
        jobs.c.finished: case((jobs.c.cancel_asked, _at(now)), else_=null()),
        jobs.c.attempts: jobs.c.attempts - 1,
        **NO_LEASE,
    })


def forget(before: datetime) -> Delete:
    """Delete the jobs that ended longest ago, some at a time."""
    old = select(jobs.c.id).where(jobs.c.finished < before).order_by(jobs.c.finished).limit(ENDED_AT_ONCE)
    return delete(jobs).where(jobs.c.id.in_(old))


def _at(instant: datetime) -> ColumnElement[datetime]:
    return literal(instant, Instant())
