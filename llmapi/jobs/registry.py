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
from sqlalchemy import ColumnElement, Connection, Engine, select

from llmapi.core.clock import Wall, utc_now
from llmapi.core.contracts import Bus, Outbox
from llmapi.core.errors import JobNotCancellable, NotFound, Overloaded, ValidationFailed
from llmapi.core.ids import new_id
from llmapi.db.deleting import in_steps
from llmapi.db.engine import reading, writing
from llmapi.db.tables.jobs import jobs
from llmapi.jobs import priorities, statements
from llmapi.jobs.changes import Changes, Listener
from llmapi.jobs.dead_letters import DeadLetters
from llmapi.jobs.job import Claim, Job, Json, Page, Status, as_json
from llmapi.jobs.overview import due, is_suspended
from llmapi.jobs.priorities import HIGHEST, Rules
from llmapi.jobs.statements import Returning

ABANDONED = orjson.dumps({
    "code": "internal_error",
    "title": "The job was given up",
    "status": 500,
    "message": "Its worker was lost each time it was tried.",
}).decode()


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much the registry takes in."""

    queued: int = 10_000
    queued_per_tenant: int = 1_000
    arguments: int = 2 * 1_048_576  # bytes of JSON
    result: int = 8 * 1_048_576


@dataclass(frozen=True, slots=True)
class Depths:
    """How many jobs are where, and the seconds the oldest waiting one has waited since it might have run."""

    queued: int
    running: int
    dead: int
    oldest: float


class Registry:
    """Durable jobs: put, get, list and cancel for callers; `dead` has those given up; the rest is for workers."""

    def __init__(
        self,
        engine: Engine,
        bus: Bus,
        *,
        outbox: Outbox | None = None,
        now: Wall = utc_now,
        max_attempts: int = 3,
        bounds: Bounds = Bounds(),
        rules: Rules = Rules(),
    ) -> None:
        self._engine = engine
        self._now = now
        self._max_attempts = max_attempts
        self._bounds = bounds
        self._rules = rules
        self._changes = Changes(engine, bus, outbox)
        self.dead = DeadLetters(engine, self._changes, self._need_room, now)

    def put(
        self,
        kind: str,
        arguments: Mapping[str, Any],
        *,
        tenant: str,
        request_id: str = "",
        priority: int = 5,
        run_at: datetime | None = None,
        timeout: float | None = None,
        max_attempts: int | None = None,
    ) -> str:
        """Return the new job's id; 9 is the highest priority, `timeout` the seconds an attempt may take.

        raises: Overloaded when too many wait, PayloadTooLarge, ValidationFailed, StorageFull
        """
        if not 0 <= priority <= HIGHEST:
            raise ValidationFailed("The priority is out of range.", fields={"priority": ["must be 0 to 9"]})
        now = self._now()
        values = {
            "id": new_id("job"),
            "tenant": tenant,
            "kind": kind,
            "status": "queued",
            "priority": priority,
            "run_at": run_at or now,
            "timeout": timeout,
            "max_attempts": max_attempts or self._max_attempts,
            "arguments": as_json(arguments, "arguments", self._bounds.arguments),
            "request_id": request_id,
            "created": now,
        }
        with self._changes.begin() as change:
            self._need_room(change.connection, tenant)
            (job,) = change.enter(statements.PUT, values)
        return job.id

    def get(self, id: str, tenant: str) -> Job:
        """Return a job with all of it; raises NotFound, also for somebody else's."""
        return self._found(id, tenant, *jobs.c)

    def look(self, id: str, tenant: str) -> Job:
        """Return a job with its progress, but without its arguments and its result; raises NotFound."""
        return self._found(id, tenant, *statements.SUMMARY, jobs.c.progress)

    def _found(self, id: str, tenant: str, *columns: ColumnElement[Any]) -> Job:
        with reading(self._engine) as connection:
            found = select(*columns).where(jobs.c.id == id, jobs.c.tenant == tenant)
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
        with self._changes.begin() as change:
            ended = change.enter(statements.cancel_now(id, tenant, self._now()))
            asked = () if ended else change.touch(statements.ask_to_cancel(id, tenant))
        for job in (*ended, *asked):
            return job
        raise JobNotCancellable(f"The job has already ended: it is {self.get(id, tenant).status}.")

    def claim(self, owner: str, lease: float) -> Claim | None:
        """Return the job whose turn it is, for `lease` seconds, or None; jobs of dead workers get their turn again."""
        return self._claim(owner, lease, "")

    def claim_this(self, id: str, owner: str, lease: float) -> Claim | None:
        """Return this very job, or None if it does not wait, not yet, or its tenant has enough jobs running."""
        return self._claim(owner, lease, id)

    def _claim(self, owner: str, lease: float, id: str) -> Claim | None:
        with self._changes.begin() as change:
            priorities.one_by_one(change.connection)
            now = self._now()
            change.enter(statements.TAKE_BACK, {"at": now, "why": ABANDONED})
            values = priorities.claim_values(self._rules, owner, now, now + timedelta(seconds=lease), id)
            found = change.enter(priorities.CLAIM_THIS if id else priorities.CLAIM_NEXT, values)
            for job in found:
                priorities.remember(change.connection, job.tenant)
        return Claim(found[0], owner, found[0].claims, lease) if found else None

    def heartbeat(self, claim: Claim) -> Literal["held", "cancel", "lost"]:
        """Extend a claim's lease; says whether it still holds, and whether the job should end."""
        until = self._now() + timedelta(seconds=claim.lease)
        with writing(self._engine) as connection:
            values = {**statements.holder(claim), "until": until}
            asked = connection.execute(statements.BEAT, values).scalar_one_or_none()
        if asked is None:
            return "lost"
        return "cancel" if asked else "held"

    def asked_to_cancel(self, owner: str) -> frozenset[str]:
        """Return the ids of the owner's running jobs that should end."""
        asked = (jobs.c.status == "running", jobs.c.lease_owner == owner, jobs.c.cancel_asked)
        with reading(self._engine) as connection:
            return frozenset(connection.execute(select(jobs.c.id).where(*asked)).scalars())

    def progress(self, claim: Claim, told: Json) -> bool:
        """Keep how far the job is; False when the claim no longer holds, as for the three below."""
        text = as_json(told, "progress", self._bounds.arguments)
        with self._changes.begin() as change:
            return bool(change.touch(statements.TOLD, {**statements.holder(claim), "told": text}))

    def succeed(self, claim: Claim, result: Json) -> bool:
        """Keep the result; raises PayloadTooLarge, ValidationFailed when it cannot be kept."""
        text = as_json(result, "result", self._bounds.result)
        return self._end(claim, statements.SUCCESS, {"at": self._now(), "answer": text})

    def fail(self, claim: Claim, error: Json, retry_in: float | None = None) -> bool:
        """Keep the error; with `retry_in` seconds the job waits for another attempt, and is dead when none is left."""
        now = self._now()
        again_at = None if retry_in is None else now + timedelta(seconds=retry_in)
        return self._end(claim, statements.failure(now, orjson.dumps(error).decode(), again_at))

    def hand_back(self, claim: Claim) -> bool:
        """Give up a claim without fault of the job, as at shutdown: the attempt does not count."""
        return self._end(claim, statements.return_unharmed(self._now()))

    def expire_old(self, keep_for: float) -> int:
        """Delete some of the jobs that ended more than `keep_for` seconds ago; returns how many."""
        old = statements.forget(self._now() - timedelta(seconds=keep_for))

        def some() -> int:
            with writing(self._engine) as connection:
                return connection.execute(old).rowcount

        return in_steps(some, statements.AT_ONCE)

    def on_change(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with each job this process changed, once that is kept; returns a function that ends it.

        It must be quick and must not raise. Other processes' changes are not told.
        """
        return self._changes.listen(listener)

    def on_work(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` whenever this process makes a job wait; returns a function that ends it."""
        return self.on_change(lambda job: wake() if job.status == "queued" else None)

    def depths(self) -> Depths:
        """Return how much waits, runs and is dead; all tenants' and all processes'."""
        with reading(self._engine) as connection:
            rows = {row[0]: row for row in connection.execute(statements.depths())}
        oldest = (rows["queued"][2] if "queued" in rows else None) or self._now()
        counts = {status: rows[status][1] if status in rows else 0 for status in ("queued", "running", "dead")}
        return Depths(**counts, oldest=max(0.0, (self._now() - oldest).total_seconds()))

    def should_make_way(self, tenant: str) -> bool:
        """Say whether a tenant's long job should go back into the line: another could run now, or its tenant may not.

        A job for later waits for its time and not for a place.
        """
        return is_suspended(self._engine, tenant) or bool(due(self._engine, self._now(), 1))

    def _need_room(self, connection: Connection, tenant: str) -> None:
        bounds = self._bounds
        for most, whose in ((bounds.queued_per_tenant, tenant), (bounds.queued, None)):
            if connection.execute(statements.queued(most, whose)).scalar_one() >= most:
                raise Overloaded("Too many jobs are waiting.", retry_after=5.0)

    def _end(self, claim: Claim, end: Returning, values: Json = {}) -> bool:
        with self._changes.begin() as change:
            return bool(change.enter(end, {**statements.holder(claim), **values}))
