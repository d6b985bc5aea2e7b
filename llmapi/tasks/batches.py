"""Batches: many requests to one endpoint, answered within a day. Here callers put them, see them and cancel them.

batch_files (what is uploaded and written), batch_lines (how lines are read and told), batch_doors (the endpoints),
batch_rows (the tables), batch_asking (one line), batch_job (a run), batch_ending (the files at the end), batch_keeper
(what nobody works on).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
from sqlalchemy import Engine, func, insert, select, update

from llmapi.core.clock import Wall, utc_now
from llmapi.core.contracts import Outbox
from llmapi.core.errors import JobNotCancellable, NotFound, Overloaded, StorageFull, ValidationFailed
from llmapi.core.identity import NOBODY, Payer
from llmapi.core.ids import new_id
from llmapi.db.engine import reading, writing
from llmapi.db.tables.batches import batches
from llmapi.gateway.retry import Nap, nap
from llmapi.jobs.registry import Registry
from llmapi.tasks.batch_asking import Asker
from llmapi.tasks.batch_ending import Ending
from llmapi.tasks.batch_files import LARGEST, MONTH, File, Files
from llmapi.tasks.batch_job import KIND, TURN, BatchJob, put_job
from llmapi.tasks.batch_keeper import Keeper
from llmapi.tasks.batch_rows import OPEN, Batch, Rows
from llmapi.tasks.runner import Tasks

__all__ = ["KIND", "Batch", "BatchPage", "Batches", "Desk", "open_batches"]

WINDOW = timedelta(hours=24)
MOST_OPEN = 100  # batches of one tenant that have not ended


@dataclass(frozen=True, slots=True)
class BatchPage:
    """Batches, newest first, and whether there are more after the last of them."""

    batches: tuple[Batch, ...]
    more: bool


class Desk:
    """Where callers put batches and ask for them."""

    def __init__(
        self, engine: Engine, rows: Rows, files: Files, jobs: Registry, keeper: Keeper, *, now: Wall = utc_now
    ) -> None:
        self._engine, self._rows, self._files, self._jobs, self._keeper = engine, rows, files, jobs, keeper
        self._now = now

    def create(
        self,
        tenant: str,
        endpoint: str,
        input_file: str,
        *,
        labels: Mapping[str, str] | None = None,
        payer: Payer = NOBODY,
        keep_for: float | None = None,
        request_id: str = "",
    ) -> Batch:
        """Put a batch; raises ValidationFailed naming `input_file_id`, Overloaded, StorageFull.

        keep_for: seconds the files it writes are kept; None: as long as all files
        """
        self._need_input(tenant, input_file)
        now = self._now()
        values = {
            "id": new_id("batch"),
            "tenant": tenant,
            "endpoint": endpoint,
            "status": "validating",
            "input_file": input_file,
            "labels": orjson.dumps(dict(labels or {})).decode(),
            "payer": orjson.dumps(payer).decode(),
            "keep_for": keep_for,
            "touched": now,
            "created": now,
            "expires": now + WINDOW,
        }
        batch = self._inserted(values)
        try:
            put_job(self._jobs, self._rows, batch, request_id)
        except (Overloaded, StorageFull):  # it is accepted, for its row is kept: the keeper tries again
            pass
        return self.get(batch.id, tenant)

    def written(self, tenant: str, endpoint: str, requests: Iterable[Mapping[str, Any]]) -> File:
        """Return the input file of requests that came as a list."""
        upload = self._files.begin(tenant, "batch", "requests.jsonl")
        for each in requests:
            upload.write(orjson.dumps({**each, "method": "POST", "url": endpoint}) + b"\n")
        return self._files.finish(upload)

    def get(self, id: str, tenant: str) -> Batch:
        """Return a batch; raises NotFound, also for somebody else's."""
        batch = self._rows.get(id)
        if batch is None or batch.tenant != tenant:
            raise NotFound("There is no such batch.")
        return batch

    def list(self, tenant: str, *, limit: int = 20, after: str | None = None) -> BatchPage:
        """Return a tenant's batches, newest first; `after` is the id of the last one seen."""
        found = select(batches).where(batches.c.tenant == tenant).order_by(batches.c.id.desc()).limit(limit + 1)
        if after is not None:
            found = found.where(batches.c.id < after)
        with reading(self._engine) as connection:
            rows = connection.execute(found).mappings().all()
        return BatchPage(tuple(Batch.of(row) for row in rows[:limit]), len(rows) > limit)

    def cancel(self, id: str, tenant: str) -> Batch:
        """Begin no more lines and end those under way; raises NotFound, JobNotCancellable when it has ended."""
        mine = (batches.c.id == id, batches.c.tenant == tenant, batches.c.status.in_(("validating", "in_progress")))
        change = update(batches).where(*mine).values(status="cancelling", cancelling_at=self._now())
        with writing(self._engine) as connection:
            connection.execute(change)
        batch = self.get(id, tenant)
        if batch.status != "cancelling":
            raise JobNotCancellable(f"The batch cannot be cancelled: it is {batch.status}.")
        self._keeper.cancel(batch)
        return self.get(id, tenant)

    def _inserted(self, values: Mapping[str, Any]) -> Batch:
        """Return the batch of a new row; raises Overloaded when its tenant has too many that have not ended."""
        mine = select(func.count()).where(batches.c.tenant == values["tenant"], batches.c.status.in_(OPEN))
        with writing(self._engine) as connection:
            if connection.execute(mine).scalar_one() >= MOST_OPEN:
                raise Overloaded(f"You have {MOST_OPEN} batches that have not ended.", retry_after=60.0)
            row = connection.execute(insert(batches).values(values).returning(*batches.c)).mappings().one()
        return Batch.of(row)

    def _need_input(self, tenant: str, id: str) -> None:
        try:
            purpose = self._files.get(id, tenant).purpose
        except NotFound:
            raise ValidationFailed("The input is not there.", fields={"input_file_id": ["No such file."]}) from None
        if purpose != "batch":
            wrong = {"input_file_id": ["The file's purpose must be batch."]}
            raise ValidationFailed("The input cannot be used.", fields=wrong)


@dataclass(frozen=True, slots=True)
class Batches:
    """All parts that batches are made of."""

    files: Files
    desk: Desk
    job: BatchJob
    keeper: Keeper


def open_batches(
    engine: Engine,
    jobs: Registry,
    tasks: Tasks,
    *,
    outbox: Outbox | None = None,
    concurrency: int = 8,
    largest: int = LARGEST,
    keep_for: float = MONTH,
    turn: float = TURN,
    sleep: Nap = nap,
    now: Wall = utc_now,
) -> Batches:
    """Return the parts; nothing runs yet.

    concurrency: lines of one batch that are asked at once
    turn: seconds a batch goes on although other jobs wait
    """
    rows, files = Rows(engine, now), Files(engine, keep_for=keep_for, largest=largest, now=now)
    ending = Ending(engine, rows, files, outbox=outbox, now=now)
    keeper = Keeper(rows, files, ending, jobs, now=now)
    desk = Desk(engine, rows, files, jobs, keeper, now=now)
    asker = Asker(tasks, rows, sleep=sleep)
    job = BatchJob(rows, files, asker, ending, jobs, concurrency=concurrency, turn=turn, now=now)
    return Batches(files, desk, job, keeper)
