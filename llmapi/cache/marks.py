"""What is declared good no longer, told to the caches of all workers through the database.

Who declares it has it in effect at once; every other worker looks for new marks once a second. A mark is kept as long
as there may be answers it means, so that a worker that starts later, or finds a shared server back, knows of it too.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, delete, func, insert, select, text

from llmapi.cache.invalid import MOST
from llmapi.cache.memory import STALEST
from llmapi.core.clock import Wall, utc_now
from llmapi.core.kept import Mark
from llmapi.core.periodic import Periodic
from llmapi.db.columns import EPOCH
from llmapi.db.engine import reading, writing
from llmapi.db.tables.cache import marks

EVERY: Final = 1.0  # seconds between two looks
PAGE: Final = 1000  # marks read at once
ROUNDS: Final = 600  # looks between two purges
ORDER_LOCK: Final = 7_310_573_213  # PostgreSQL: any number that only we use

Taker = Callable[[Iterable[Mark]], None]


class Marks:
    """The marks of all workers. `start` after the fork; takers are told of each mark, of some more than once.

    takers: the caches of this process
    ttl: most seconds an answer is good
    """

    def __init__(
        self,
        engine: Engine,
        takers: Sequence[Taker],
        *,
        ttl: float,
        every: float = EVERY,
        most: int = MOST,
        now: Wall = utc_now,
    ) -> None:
        self._engine, self._takers, self._most, self._now = engine, tuple(takers), most, now
        self._keep = timedelta(seconds=ttl + STALEST)
        self._seen = 0  # the highest number that takers were told of
        self._looking = threading.Lock()
        said = "what was declared good no longer cannot be read"
        self._looks = Periodic("cache-marks", self.look, every, trouble=said)
        self._purges = Periodic("cache-marks-purge", self.purge, every * ROUNDS, trouble=said)

    def start(self) -> None:
        """Learn what was marked so far, then go on looking."""
        self._looks.once()
        self._looks.start()
        self._purges.start()

    def stop(self) -> None:
        """End."""
        self._looks.stop()
        self._purges.stop()

    def add(self, wanted: Sequence[Mark]) -> None:
        """Let marks take effect: here at once, elsewhere within two looks. Raises StorageFull, Overloaded."""
        if not wanted:
            return
        with writing(self._engine) as connection:
            in_order(connection)
            for mark in wanted:
                self._put(connection, mark)
        self._tell(wanted)

    def look(self) -> int:
        """Tell the takers of what is new; returns how many marks. Raises StorageFull, Overloaded."""
        told = 0
        with self._looking:
            while found := self._page():
                self._tell([mark for _, mark in found])
                self._seen = found[-1][0]
                told += len(found)
        return told

    def purge(self) -> int:
        """Delete marks that mean nothing any more; returns how many. Raises StorageFull, Overloaded."""
        old = marks.c.before < self._now() - self._keep
        with reading(self._engine) as connection:
            if connection.execute(select(marks.c.id).where(old).limit(1)).first() is None:
                return 0
        with writing(self._engine) as connection:
            return connection.execute(delete(marks).where(old)).rowcount

    def _page(self) -> list[tuple[int, Mark]]:
        newer = select(marks).where(marks.c.id > self._seen).order_by(marks.c.id).limit(PAGE)
        with reading(self._engine) as connection:
            rows = connection.execute(newer).all()
        return [(row.id, Mark(row.tenant, row.field, row.value, seconds(row.before))) for row in rows]

    def _put(self, connection: Connection, mark: Mark) -> None:
        """Write a mark down, in the place of those it takes in; too many of a tenant become one that means all."""
        mine = marks.c.tenant == mark.tenant
        same = (mine, marks.c.field == mark.field, marks.c.value == mark.value)
        before = max(filter(None, [instant(mark.before), connection.scalar(select(marks.c.before).where(*same))]))
        connection.execute(delete(marks).where(*((mine, marks.c.before <= before) if mark.field == "all" else same)))
        count, latest = connection.execute(select(func.count(), func.max(marks.c.before)).where(mine)).one()
        row: dict[str, Any] = {"tenant": mark.tenant, "field": mark.field, "value": mark.value, "before": before}
        if count >= self._most:
            connection.execute(delete(marks).where(mine))
            row |= {"field": "all", "value": "", "before": max(before, latest)}
        connection.execute(insert(marks).values(row))

    def _tell(self, wanted: Sequence[Mark]) -> None:
        for take in self._takers:
            take(wanted)


def in_order(connection: Connection) -> None:
    """Let marks become seen in the order of their numbers; SQLite's writers are alone anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": ORDER_LOCK})


def instant(at: float) -> datetime:
    """Return seconds since 1970 as an instant, rounded up: no mark begins earlier than it was meant to."""
    return EPOCH + timedelta(microseconds=-int(-at * 1_000_000 // 1))


def seconds(at: datetime) -> float:
    """Return an instant as seconds since 1970."""
    return (at - EPOCH).total_seconds()
