"""What an operator and an engine may see: the jobs of all tenants."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Engine, func, select, union_all

from llmapi.core.errors import NotFound
from llmapi.db.engine import reading
from llmapi.db.tables.identity import tenants
from llmapi.db.tables.jobs import jobs
from llmapi.jobs.job import Job, Status
from llmapi.jobs.statements import SUMMARY, not_suspended


def due(engine: Engine, now: datetime, most: int) -> list[str]:
    """Return the ids of jobs that might run now: their time has come, or their worker died."""
    come = (jobs.c.status == "queued", jobs.c.run_at <= now, not_suspended(jobs))
    waiting = select(jobs.c.id).where(*come).limit(most).subquery()
    orphaned = select(jobs.c.id).where(jobs.c.status == "running", jobs.c.lease_until <= now).limit(most).subquery()
    with reading(engine) as connection:
        found = connection.execute(union_all(select(waiting.c.id), select(orphaned.c.id)))
        return sorted(found.scalars())[:most]


def is_suspended(engine: Engine, tenant: str) -> bool:
    """Say whether a tenant's jobs are to wait."""
    found = select(tenants.c.id).where(tenants.c.id == tenant, tenants.c.state == "suspended")
    with reading(engine) as connection:
        return connection.execute(found).first() is not None


def recent(
    engine: Engine, *, tenant: str | None = None, status: Status | None = None, most: int = 20
) -> Sequence[Job]:
    """Return jobs of one tenant or of all, the newest first, without what is big in them."""
    found = select(*SUMMARY).order_by(jobs.c.id.desc()).limit(most)
    if tenant is not None:
        found = found.where(jobs.c.tenant == tenant)
    if status is not None:
        found = found.where(jobs.c.status == status)
    with reading(engine) as connection:
        return [Job.of(row) for row in connection.execute(found).mappings()]


def tenant_of(engine: Engine, id: str) -> str:
    """Return whose job it is; raises NotFound."""
    with reading(engine) as connection:
        tenant = connection.scalar(select(jobs.c.tenant).where(jobs.c.id == id))
    if tenant is None:
        raise NotFound(f"There is no job {id}.")
    return str(tenant)


def dead_by_tenant(engine: Engine, tenant: str | None = None) -> dict[str, int]:
    """Return how many jobs were given up, by tenant."""
    found = select(jobs.c.tenant, func.count()).where(jobs.c.status == "dead").group_by(jobs.c.tenant)
    if tenant is not None:
        found = found.where(jobs.c.tenant == tenant)
    with reading(engine) as connection:
        return {row[0]: row[1] for row in connection.execute(found)}
