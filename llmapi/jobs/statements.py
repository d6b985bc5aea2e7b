"""The registry's SQL; whose turn it is stands in priorities.py. One text for every database.

What every job needs is put together once, for that takes longer than to run it; what changes is in its parameters.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Delete, FromClause, Integer, Select, String, Text, Update
from sqlalchemy import and_, bindparam, case, delete, exists, func, insert, literal, null, or_, select, update
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate

from llmapi.db.columns import Instant
from llmapi.db.tables.identity import tenants
from llmapi.db.tables.jobs import jobs
from llmapi.jobs.job import BIG, Claim

SUMMARY: tuple[ColumnElement[Any], ...] = tuple(column for column in jobs.c if column.name not in BIG)
NO_LEASE: dict[Any, Any] = {jobs.c.lease_owner: None, jobs.c.lease_until: None}
SEEN: dict[Any, Any] = {jobs.c.version: jobs.c.version + 1}
AT_ONCE = 500  # rows one clean-up deletes, so that it never holds up others for long
SPENT, LOST = "attempts_spent", "worker_lost"  # reasons
Returning = ReturningUpdate[Any] | ReturningInsert[Any]
NOW = bindparam("at", type_=Instant())
PUT = insert(jobs).returning(*SUMMARY)


def not_suspended(rows: FromClause) -> ColumnElement[bool]:
    """Say whether the tenant of rows may have its jobs run; a suspended one's wait until it is resumed."""
    return ~exists().where(tenants.c.id == rows.c.tenant, tenants.c.state == "suspended")


def queued(most: int, tenant: str | None = None) -> Select[int]:
    """Count the jobs that wait, up to `most`."""
    waiting = select(jobs.c.id).where(jobs.c.status == "queued").limit(most)
    if tenant is not None:
        waiting = waiting.where(jobs.c.tenant == tenant)
    return select(func.count()).select_from(waiting.subquery())


def depths() -> Select[Any]:
    """Count the jobs that have not ended well or badly, and say since when the oldest waits that may run."""
    may_run = and_(jobs.c.status == "queued", not_suspended(jobs))
    return (
        select(jobs.c.status, func.count(), func.min(jobs.c.run_at).filter(may_run))
        .where(jobs.c.status.in_(("queued", "running", "dead")))
        .group_by(jobs.c.status)
    )


def listing(tenant: str, status: str | None, after: str | None, most: int) -> Select[Any]:
    """List a tenant's jobs, newest first; ids sort by time."""
    found = select(*SUMMARY).where(jobs.c.tenant == tenant).order_by(jobs.c.id.desc()).limit(most)
    if status is not None:
        found = found.where(jobs.c.status == status)
    if after is not None:
        found = found.where(jobs.c.id < after)
    return found


def cancel_now(id: str, tenant: str, now: datetime) -> ReturningUpdate[Any]:
    """Cancel a job nobody runs: it waits, or its worker died."""
    abandoned = and_(jobs.c.status == "running", jobs.c.lease_until <= now)
    return (
        update(jobs)
        .where(jobs.c.id == id, jobs.c.tenant == tenant, or_(jobs.c.status == "queued", abandoned))
        .values({jobs.c.status: "cancelled", jobs.c.finished: now, jobs.c.error: None, **NO_LEASE, **SEEN})
        .returning(*SUMMARY)
    )


def ask_to_cancel(id: str, tenant: str) -> ReturningUpdate[Any]:
    """Leave word for the worker that runs the job."""
    mine = (jobs.c.id == id, jobs.c.tenant == tenant, jobs.c.status == "running")
    return update(jobs).where(*mine).values({jobs.c.cancel_asked: True, **SEEN}).returning(*SUMMARY)


def take_back() -> ReturningUpdate[Any]:
    """End the leases that ran out: their jobs wait again, unless cancelled or tried too often."""
    spent = jobs.c.attempts >= jobs.c.max_attempts
    why = bindparam("why", type_=Text())
    return (
        update(jobs)
        .where(jobs.c.status == "running", jobs.c.lease_until <= NOW)
        .values({
            jobs.c.status: case((jobs.c.cancel_asked, "cancelled"), (spent, "dead"), else_="queued"),
            jobs.c.finished: case((or_(jobs.c.cancel_asked, spent), NOW), else_=null()),
            jobs.c.error: case((jobs.c.cancel_asked, null()), (spent, why), else_=null()),
            jobs.c.reason: case((jobs.c.cancel_asked, null()), (spent, LOST), else_=null()),
            **NO_LEASE,
            **SEEN,
        })
        .returning(*SUMMARY)
    )


def held() -> Update:
    """Change the row of a claim (the parameters of `holder`), if it is still the one that holds."""
    return update(jobs).where(
        jobs.c.id == bindparam("held_id", type_=String()),
        jobs.c.status == "running",
        jobs.c.lease_owner == bindparam("held_by", type_=String()),
        jobs.c.claims == bindparam("held_as", type_=Integer()),
    )


def holder(claim: Claim) -> dict[str, Any]:
    """Return the parameters of `held`."""
    return {"held_id": claim.job.id, "held_by": claim.owner, "held_as": claim.number}


def success() -> ReturningUpdate[Any]:
    """Keep the result."""
    values = {
        jobs.c.status: "succeeded",
        jobs.c.finished: NOW,
        jobs.c.result: bindparam("answer", type_=Text()),
        jobs.c.error: None,
    }
    return held().values({**values, **NO_LEASE, **SEEN}).returning(*SUMMARY)


def failure(now: datetime, error: str, again_at: datetime | None) -> ReturningUpdate[Any]:
    """Fail; or wait until `again_at` while attempts are left, and be dead when none is.

    A job that was to be cancelled is cancelled now.
    """
    if again_at is None:
        status: ColumnElement[str] = literal("failed")
        waits: ColumnElement[bool] = literal(False)
    else:
        waits = jobs.c.attempts < jobs.c.max_attempts
        status = case((waits, "queued"), else_="dead")
    values = {
        jobs.c.status: case((jobs.c.cancel_asked, "cancelled"), else_=status),
        jobs.c.finished: case((~jobs.c.cancel_asked & waits, null()), else_=_at(now)),
        jobs.c.run_at: case((waits, _at(again_at or now)), else_=jobs.c.run_at),
        jobs.c.error: case((jobs.c.cancel_asked, null()), else_=error),
        jobs.c.reason: case((jobs.c.cancel_asked, null()), (status == "dead", SPENT), else_=null()),
        **NO_LEASE,
        **SEEN,
    }
    return held().values(values).returning(*SUMMARY)


def return_unharmed(now: datetime) -> ReturningUpdate[Any]:
    """Wait again as if this attempt had not been."""
    values = {
        jobs.c.status: case((jobs.c.cancel_asked, "cancelled"), else_="queued"),
        jobs.c.finished: case((jobs.c.cancel_asked, _at(now)), else_=null()),
        jobs.c.attempts: jobs.c.attempts - 1,
        **NO_LEASE,
        **SEEN,
    }
    return held().values(values).returning(*SUMMARY)


def forget(before: datetime) -> Delete:
    """Delete the jobs that ended longest ago, some at a time."""
    old = select(jobs.c.id).where(jobs.c.finished < before).order_by(jobs.c.finished).limit(AT_ONCE)
    return delete(jobs).where(jobs.c.id.in_(old))


def redrive(id: str, tenant: str, now: datetime) -> ReturningUpdate[Any]:
    """Let a dead job wait again with all its attempts."""
    return (
        update(jobs)
        .where(jobs.c.id == id, jobs.c.tenant == tenant, jobs.c.status == "dead")
        .values({
            jobs.c.status: "queued",
            jobs.c.attempts: 0,
            jobs.c.run_at: now,
            jobs.c.error: None,
            jobs.c.reason: None,
            jobs.c.started: None,
            jobs.c.finished: None,
            jobs.c.progress: None,
            jobs.c.cancel_asked: False,
            **SEEN,
        })
        .returning(*SUMMARY)
    )


def purge(tenant: str, id: str | None = None) -> Delete:
    """Delete a dead job, or some of a tenant's."""
    dead = select(jobs.c.id).where(jobs.c.tenant == tenant, jobs.c.status == "dead").limit(AT_ONCE)
    if id is not None:
        dead = dead.where(jobs.c.id == id)
    return delete(jobs).where(jobs.c.id.in_(dead))


def _at(instant: datetime) -> ColumnElement[datetime]:
    return literal(instant, Instant())


TAKE_BACK = take_back()
SUCCESS = success()
TOLD = held().values({jobs.c.progress: bindparam("told", type_=Text()), **SEEN}).returning(*SUMMARY)
BEAT = held().values({jobs.c.lease_until: bindparam("until", type_=Instant())}).returning(jobs.c.cancel_asked)
