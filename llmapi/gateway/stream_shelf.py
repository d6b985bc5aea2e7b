"""Streams in the database: what each said in pieces of some events, and how it ended. Read by every process."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Engine, Select, bindparam, delete, func, insert, or_, select, update

from llmapi.core.clock import Wall
from llmapi.db.engine import reading, writing
from llmapi.db.tables.streams import pieces, streams
from llmapi.gateway.recording import Recording, Unstored

END = b"\n\n"  # of an event
LOST = timedelta(seconds=20)  # without a sign of life: its process is gone
AT_ONCE = 200  # streams deleted in one transaction, pieces read in one
ENDED = (
    update(streams)
    .where(streams.c.id == bindparam("stream"))
    .values(outcome=bindparam("how"), ended=bindparam("at"), size=bindparam("bytes"))
)


@dataclass(frozen=True, slots=True)
class Kept:
    """A stream as the database knows it; `outcome` is None while it goes on."""

    outcome: str | None


class Shelf:
    """The tables of streams.

    keep: seconds a stream can be read after its end
    most, most_per_tenant: bytes of ended streams that are kept, the newest first
    """

    def __init__(self, engine: Engine, *, keep: float, most: int, most_per_tenant: int, now: Wall) -> None:
        self._engine, self._now = engine, now
        self._keep, self._most, self._most_per_tenant = timedelta(seconds=keep), most, most_per_tenant

    def find(self, id: str, tenant: str) -> Kept | None:
        """Return a tenant's stream, or None; one whose process is gone was cut."""
        now = self._now()
        with reading(self._engine) as connection:
            known = select(streams).where(streams.c.id == id, streams.c.tenant == tenant)
            row = connection.execute(known).one_or_none()
        if row is None or (row.ended is not None and row.ended <= now - self._keep):
            return None
        lost = row.outcome is None and row.touched < now - LOST
        return Kept("cut" if lost else row.outcome)

    def events(self, id: str, number: int) -> list[bytes]:
        """Return a stream's events from a number on; perhaps not all of them at once, [] when there are no more."""
        wanted = select(pieces).where(pieces.c.stream == id, pieces.c.number + pieces.c.events > number)
        with reading(self._engine) as connection:
            rows = connection.execute(wanted.order_by(pieces.c.number).limit(AT_ONCE)).all()
        found: list[bytes] = []
        for row in rows:
            frames = [each + END for each in row.data.split(END)[:-1]]
            found += frames[max(0, number - row.number) :]
        return found

    def store(self, new: Sequence[Recording], said: Sequence[tuple[Recording, Unstored]]) -> None:
        """Keep streams that began, what streams said, and how some ended, in one transaction."""
        now = self._now()
        begun = [{"id": each.id, "tenant": each.tenant, "touched": now, "size": 0} for each in new]
        rows = [
            {"stream": one.id, "number": more.first, "events": len(more.frames), "data": b"".join(more.frames)}
            for one, more in said
            if more.frames
        ]
        over = [
            {"stream": one.id, "how": more.outcome, "at": now, "bytes": more.size}
            for one, more in said
            if more.outcome
        ]
        with writing(self._engine) as connection:
            for statement, values in ((insert(streams), begun), (insert(pieces), rows), (ENDED, over)):
                if values:
                    connection.execute(statement, values)

    def touch(self, running: Sequence[str]) -> None:
        """Say that these streams go on."""
        with writing(self._engine) as connection:
            for begin in range(0, len(running), AT_ONCE):
                some = streams.c.id.in_(running[begin : begin + AT_ONCE])
                connection.execute(update(streams).where(some).values(touched=self._now()))

    def tidy(self) -> int:
        """Delete some of the streams that are too old or too many; returns how many."""
        now = self._now()
        lost = (streams.c.outcome.is_(None), streams.c.touched < now - LOST * 3)
        with writing(self._engine) as connection:
            connection.execute(update(streams).where(*lost).values(outcome="cut", ended=now))
        with reading(self._engine) as connection:
            old = select(streams.c.id).where(streams.c.ended <= now - self._keep).limit(AT_ONCE)
            doomed = connection.execute(old).scalars().all() or connection.execute(self._too_many()).scalars().all()
        if doomed:
            with writing(self._engine) as connection:
                connection.execute(delete(pieces).where(pieces.c.stream.in_(doomed)))
                connection.execute(delete(streams).where(streams.c.id.in_(doomed)))
        return len(doomed)

    def _too_many(self) -> Select[tuple[str]]:
        newest_first = (streams.c.ended.desc(), streams.c.id.desc())
        own = func.sum(streams.c.size).over(partition_by=streams.c.tenant, order_by=newest_first).label("own")
        everybodys = func.sum(streams.c.size).over(order_by=newest_first).label("everybodys")
        ended = select(streams.c.id, own, everybodys).where(streams.c.ended.is_not(None)).subquery()
        beyond = or_(ended.c.own > self._most_per_tenant, ended.c.everybodys > self._most)
        return select(ended.c.id).where(beyond).limit(AT_ONCE)
