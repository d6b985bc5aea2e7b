"""Batches and their lines in the database, for those who work on them.

Who works on a batch owns it: each run writes its own name into the row, and every write of a run that names another
changes nothing, but for answers to lines it had sent itself: what was paid for is taken also when it comes late.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Engine, RowMapping, and_, delete, exists, func, insert, or_, select
from sqlalchemy import Update, update

from llmapi.core.clock import Wall, utc_now
from llmapi.core.identity import Payer
from llmapi.core.ids import new_id
from llmapi.db.engine import reading, writing
from llmapi.db.tables.batches import batches, lines

OPEN = ("validating", "in_progress", "finalizing", "cancelling")
AT_ONCE = 500  # rows one clean-up deletes, so that it never holds up others for long
PAGE = 100  # lines read at once


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch."""

    id: str
    tenant: str
    endpoint: str
    status: str
    input_file: str
    output_file: str | None
    error_file: str | None
    labels: Mapping[str, str]
    errors: Sequence[Mapping[str, Any]]
    payer: Payer
    keep_for: float | None
    total: int
    completed: int
    failed: int
    job: str | None
    created: datetime
    expires: datetime
    in_progress_at: datetime | None
    finalizing_at: datetime | None
    completed_at: datetime | None
    failed_at: datetime | None
    expired_at: datetime | None
    cancelling_at: datetime | None
    cancelled_at: datetime | None

    @property
    def open(self) -> bool:
        """Say whether it has not ended."""
        return self.status in OPEN

    @classmethod
    def of(cls, row: RowMapping) -> "Batch":
        """Return the batch of a row."""
        values = {name: row[name] for name in cls.__slots__}
        errors = orjson.loads(row["errors"]) if row["errors"] else ()
        payer = Payer(**orjson.loads(row["payer"]))
        return cls(**values | {"labels": orjson.loads(row["labels"]), "errors": errors, "payer": payer})


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it is asked, or as it ended."""

    number: int
    custom_id: str | None
    state: str
    body: str | None
    result: str | None


class Rows:
    """The two tables."""

    def __init__(self, engine: Engine, now: Wall = utc_now) -> None:
        self._engine, self._now = engine, now

    def take(self, id: str, job: str | None = None) -> tuple[Batch, str] | None:
        """Return an open batch with the name of a run that owns it from now on; None if there is nothing to do.

        job: the job that asks; None: whatever job works on it, it is taken from it
        """
        owner = new_id("run")
        mine = update(batches).where(batches.c.id == id, batches.c.status.in_(OPEN))
        if job is not None:
            mine = mine.where(or_(batches.c.job.is_(None), batches.c.job == job))
        values = {"owner": owner, "touched": self._now()} | ({} if job is None else {"job": job})
        lost = update(lines).where(lines.c.batch == id, lines.c.state == "sent").values(state="doubt")
        with writing(self._engine) as connection:
            row = connection.execute(mine.values(values).returning(*batches.c)).mappings().one_or_none()
            if row is not None:
                connection.execute(lost)
        return None if row is None else (Batch.of(row), owner)

    def get(self, id: str) -> Batch | None:
        """Return a batch."""
        with reading(self._engine) as connection:
            row = connection.execute(select(batches).where(batches.c.id == id)).mappings().one_or_none()
        return None if row is None else Batch.of(row)

    def change(self, id: str, owner: str, *, of: Sequence[str] = OPEN, **values: Any) -> bool:
        """Change a batch if the run owns it and its status is one `of` these."""
        with writing(self._engine) as connection:
            return self.change_in(connection, id, owner, of=of, **values)

    def change_in(
        self, connection: Connection, id: str, owner: str, *, of: Sequence[str] = OPEN, **values: Any
    ) -> bool:
        """Change it in a transaction of the caller's."""
        mine = update(batches).where(batches.c.id == id, batches.c.owner == owner, batches.c.status.in_(of))
        return connection.execute(mine.values(values)).rowcount == 1

    def release(self, id: str, owner: str) -> bool:
        """Let the next job have it."""
        return self.change(id, owner, job=None, touched=self._now())

    def given(self, id: str, job: str) -> None:
        """Note the job that was put for a batch, unless one was quicker."""
        free = update(batches).where(batches.c.id == id, batches.c.job.is_(None))
        with writing(self._engine) as connection:
            connection.execute(free.values(job=job))

    def stale(self, before: datetime) -> Iterator[Batch]:
        """Yield open batches that nobody looked after since then, each to one asker only."""
        old = select(batches.c.id).where(batches.c.status.in_(OPEN), batches.c.touched < before)
        with reading(self._engine) as connection:
            ids = connection.execute(old.order_by(batches.c.touched).limit(PAGE)).scalars().all()
        for id in ids:
            mine = update(batches).where(batches.c.id == id, batches.c.touched < before, batches.c.status.in_(OPEN))
            with writing(self._engine) as connection:
                taken = connection.execute(mine.values(touched=self._now()).returning(*batches.c))
                row = taken.mappings().one_or_none()
            if row is not None:
                yield Batch.of(row)

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add lines."""
        if rows:
            with writing(self._engine) as connection:
                connection.execute(insert(lines), rows)

    def forget(self, id: str, owner: str) -> None:
        """Delete a batch's lines, as long as the run owns it: another's may have been paid for."""
        self._forget(id, owned(id, owner))

    def forget_ended(self, id: str) -> None:
        """Delete a batch's lines if it has ended."""
        self._forget(id, exists().where(batches.c.id == id, batches.c.status.not_in(OPEN)))

    def _forget(self, id: str, may: ColumnElement[bool]) -> None:
        few = select(lines.c.number).where(lines.c.batch == id).limit(AT_ONCE)
        some = delete(lines).where(lines.c.batch == id, lines.c.number.in_(few), may)
        gone = 1
        while gone:
            with writing(self._engine) as connection:
                gone = connection.execute(some).rowcount

    def page(self, id: str, after: int, state: str | None = None, limit: int = PAGE) -> list[Line]:
        """Return the next lines, of any state or of one."""
        columns = (lines.c.number, lines.c.custom_id, lines.c.state, lines.c.body, lines.c.result)
        found = select(*columns).where(lines.c.batch == id, lines.c.number > after)
        found = found.order_by(lines.c.number).limit(limit)
        if state is not None:
            found = found.where(lines.c.state == state)
        with reading(self._engine) as connection:
            return [Line(*row) for row in connection.execute(found)]

    def counts(self, id: str) -> dict[str, int]:
        """Return how many lines are in each state."""
        found = select(lines.c.state, func.count()).where(lines.c.batch == id).group_by(lines.c.state)
        with reading(self._engine) as connection:
            return {state: count for state, count in connection.execute(found)}

    def send(self, id: str, number: int, owner: str) -> bool:
        """Note that a line is about to be sent; False: it is not this run's to send."""
        here = (lines.c.batch == id, lines.c.number == number, lines.c.state == "waiting", owned(id, owner))
        return self._changed(update(lines).where(*here).values(state="sent", owner=owner))

    def unsend(self, id: str, number: int, owner: str) -> None:
        """Note that a line was sent and surely not worked on."""
        here = (lines.c.batch == id, lines.c.number == number, lines.c.owner == owner)
        unharmed = update(lines).where(*here, lines.c.state.in_(("sent", "doubt")))
        self._changed(unharmed.values(state="waiting", owner=None))

    def answer(self, id: str, number: int, owner: str, state: str, result: str) -> bool:
        """Keep how a line ended, done or failed; False: it is not this run's to say."""
        unsent = and_(lines.c.state.in_(("waiting", "doubt")), owned(id, owner))
        sent = and_(lines.c.state.in_(("sent", "doubt")), lines.c.owner == owner)
        mine = update(lines).where(lines.c.batch == id, lines.c.number == number, or_(unsent, sent))
        return self._changed(mine.values(state=state, result=result, body=None))

    def _changed(self, change: Update) -> bool:
        with writing(self._engine) as connection:
            return connection.execute(change).rowcount == 1


def owned(id: str, owner: str) -> ColumnElement[bool]:
    """Say whether a run owns a batch."""
    return exists().where(batches.c.id == id, batches.c.owner == owner)
