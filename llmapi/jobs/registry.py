"""The jobs there are: a table that callers put work into and workers take it from.

Every change is one transaction and is told on the bus after it was committed. A worker's right to a job is a lease;
each write of a worker names its claim, so one that lost its lease (the process was stopped for a minute) changes
nothing. Bounds are exact on SQLite; on PostgreSQL writers at the same instant may exceed them by their number.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import orjson
from sqlalchemy import Connection, Engine, Update, insert, select

from llmapi.core.clock import Wall, utc_now
from llmapi.core.contracts import Bus
from llmapi.core.errors import JobNotCancellable, NotFound, Overloaded, ValidationFailed
from llmapi.core.events import JobChanged
from llmapi.core.ids import new_id
from llmapi.db.engine import reading, writing
from llmapi.db.tables.jobs import jobs
from llmapi.jobs import statements
from llmapi.jobs.job import Claim, Job, Json, Page, Status, as_json

ABANDONED = {
    "code": "internal_error",
    "title": "The job was given up",
    "status": 500,
    "message": "Its worker was lost each time it was tried.",
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much the registry takes in."""

    queued: int = 10_000
    queued_per_tenant: int = 1_000
    arguments: int = 2 * 1_048_576  # bytes of JSON
    result: int = 8 * 1_048_576


class Registry:
    """Durable jobs: put, get, list and cancel for callers; the rest is for workers."""

    def __init__(
        self, engine: Engine, bus: Bus, *, now: Wall = utc_now, max_attempts: int = 3, bounds: Bounds = Bounds()
    ) -> None:
        self._engine = engine
        self._bus = bus
        self._now = now
        self._max_attempts = max_attempts
        self._bounds = bounds
        self._wakers: tuple[Callable[[], None], ...] = ()

    def put(
        self,
        kind: str,
        arguments: Mapping[str, Any],
        *,
        tenant: str,
        request_id: str = "",
        priority: int = 5,
        run_at: datetime | None = None,
    ) -> str:
        """Return the new job's id; 9 is the highest priority.

        raises: Overloaded when too many wait, PayloadTooLarge, ValidationFailed, StorageFull
        """
        if not 0 <= priority <= 9:
            raise ValidationFailed("The priority is out of range.", fields={"priority": ["must be 0 to 9"]})
        now = self._now()
        values = {
            "id": new_id("job"),
            "tenant": tenant,
            "kind": kind,
            "status": "queued",
            "priority": priority,
            "run_at": run_at or now,
            "max_attempts": self._max_attempts,
            "arguments": as_json(arguments, "arguments", self._bounds.arguments),
            "request_id": request_id,
            "created": now,
        }
        with writing(self._engine) as connection:
            self._need_room(connection, tenant)
            row = connection.execute(insert(jobs).returning(*statements.SUMMARY), values).mappings().one()
        return self._told(Job.of(row)).id

    def get(self, id: str, tenant: str) -> Job:
        """Return a job with all of it; raises NotFound, also for somebody else's."""
        with reading(self._engine) as connection:
            found = select(jobs).where(jobs.c.id == id, jobs.c.tenant == tenant)
            row = connection.execute(found).mappings().one_or_none()
        if row is None:
            raise NotFound("There is no such job.")
        return Job.of(row)

    def list(self, tenant: str, *, status: Status | None = None, limit: int = 20, after: str | None = None) -> Page:
        """Return a tenant's jobs, newest first, without what is big in them; `after` is the last page's."""
        with reading(self._engine) as connection:
            rows = connection.execute(statements.listing(tenant, status, after, limit + 1)).mappings().all()
        found = tuple(Job.of(row) for row in rows[:limit])
        return Page(found, found[-1].id if len(rows) > limit else None)

    def cancel(self, id: str, tenant: str) -> Job:
        """Cancel a waiting job at once; a running one is `cancel_asked` and ends soon.

        raises: NotFound, JobNotCancellable when it has ended
        """
        now = self._now()
        with writing(self._engine) as connection:
            ended = self._changed(connection, statements.cancel_now(id, tenant, now))
            asked = () if ended else self._changed(connection, statements.ask_to_cancel(id, tenant))
        if ended:
            return self._told(ended[0])
        if asked:
            return asked[0]
        raise JobNotCancellable(f"The job has already ended: it is {self.get(id, tenant).status}.")

    def claim(self, owner: str, lease: float) -> Claim | None:
        """Return the job whose turn it is, for `lease` seconds, or None; jobs of dead workers get their turn again."""
        now = self._now()
        given = statements.claim(owner, now, now + timedelta(seconds=lease)).returning(*jobs.c)
        with writing(self._engine) as connection:
            lost = self._changed(connection, statements.take_back(now, orjson.dumps(ABANDONED).decode()))
            row = connection.execute(given).mappings().one_or_none()
        for job in lost:
            self._told(job)
        return None if row is None else Claim(self._told(Job.of(row)), owner, row["claims"], lease)

    def heartbeat(self, claim: Claim) -> Literal["held", "cancel", "lost"]:
        """Extend a claim's lease; says whether it still holds, and whether the job should end."""
        until = self._now() + timedelta(seconds=claim.lease)
        with writing(self._engine) as connection:
            found = self._changed(connection, statements.held(claim).values({jobs.c.lease_until: until}))
        if not found:
            return "lost"
        return "cancel" if found[0].cancel_asked else "held"

    def asked_to_cancel(self, owner: str) -> frozenset[str]:
        """Return the ids of the owner's running jobs that should end."""
        asked = (jobs.c.status == "running", jobs.c.lease_owner == owner, jobs.c.cancel_asked)
        with reading(self._engine) as connection:
            return frozenset(connection.execute(select(jobs.c.id).where(*asked)).scalars())

    def progress(self, claim: Claim, told: Json) -> bool:
        """Keep how far the job is; False when the claim no longer holds, as for the three below."""
        text = as_json(told, "progress", self._bounds.arguments)
        with writing(self._engine) as connection:
            return bool(self._changed(connection, statements.held(claim).values({jobs.c.progress: text})))

    def succeed(self, claim: Claim, result: Json) -> bool:
        """Keep the result; raises PayloadTooLarge, ValidationFailed when it cannot be kept."""
        text = as_json(result, "result", self._bounds.result)
        return self._end(statements.success(claim, self._now(), text))

    def fail(self, claim: Claim, error: Json, retry_in: float | None = None) -> bool:
        """Keep the error; with `retry_in` seconds the job waits for another attempt, if one is left."""
        now = self._now()
        again_at = None if retry_in is None else now + timedelta(seconds=retry_in)
        return self._end(statements.failure(claim, now, orjson.dumps(error).decode(), again_at))

    def hand_back(self, claim: Claim) -> bool:
        """Give up a claim without fault of the job, as at shutdown: the attempt does not count."""
        return self._end(statements.return_unharmed(claim, self._now()))

    def expire_old(self, keep_for: float) -> int:
        """Delete some of the jobs that ended more than `keep_for` seconds ago; returns how many."""
        with writing(self._engine) as connection:
            return connection.execute(statements.forget(self._now() - timedelta(seconds=keep_for))).rowcount

    def on_work(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever this process makes a job wait; it must be quick and must not raise."""
        self._wakers = (*self._wakers, wake)

    def _need_room(self, connection: Connection, tenant: str) -> None:
        bounds = self._bounds
        for most, whose in ((bounds.queued_per_tenant, tenant), (bounds.queued, None)):
            if connection.execute(statements.queued(most, whose)).scalar_one() >= most:
                raise Overloaded("Too many jobs are waiting.", retry_after=5.0)

    def _end(self, change: Update) -> bool:
        with writing(self._engine) as connection:
            ended = self._changed(connection, change)
        for job in ended:
            self._told(job)
        return bool(ended)

    def _changed(self, connection: Connection, change: Update) -> tuple[Job, ...]:
        rows = connection.execute(change.returning(*statements.SUMMARY)).mappings()
        return tuple(Job.of(row) for row in rows)

    def _told(self, job: Job) -> Job:
        self._bus.tell(
            JobChanged(job.id, job.tenant, job.kind, job.status, job.attempts, job.duration, job.request_id)
        )
        if job.status == "queued":
            for wake in self._wakers:
                wake()
        return job
