"""How many requests each key has under way, over all workers: a row for each key and worker, with a heartbeat.

What a worker holds is one number, so a heartbeat is one statement however many requests there are; the rows of a worker
that died count for nobody once their lease has ended. Only keys with a limit are counted.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any
from zlib import crc32

from sqlalchemy import Connection, Engine, and_, bindparam, delete, func, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from llmapi.core.clock import Wall, utc_now
from llmapi.core.errors import LlmApiError, RateLimited
from llmapi.core.ids import new_id
from llmapi.core.periodic import Periodic
from llmapi.db.engine import writing
from llmapi.db.tables.limits import under_way as rows

INSERTS: Mapping[str, Any] = MappingProxyType({"sqlite": sqlite.insert, "postgresql": postgresql.insert})
LEASE = 20.0  # seconds after which a dead worker's requests count no more
BEATS = 3  # in the time of one lease
LOCKS = 7_310_574  # PostgreSQL: the first of two numbers, any that only we use
LATER = 1.0  # seconds after which to ask again

ITS = and_(rows.c.tenant == bindparam("of_tenant"), rows.c.key == bindparam("of_key"))
MINE = and_(ITS, rows.c.worker == bindparam("of_worker"))
ALIVE = select(func.coalesce(func.sum(rows.c.held), 0)).where(ITS, rows.c.lease_until > bindparam("now"))
LESS = update(rows).where(MINE, rows.c.held > 1).values(held=rows.c.held - 1)
LAST = delete(rows).where(MINE, rows.c.held <= 1)

log = logging.getLogger(__name__)


class UnderWay:
    """Lets so many requests of a key be under way at once."""

    def __init__(self, engine: Engine, *, lease: float = LEASE, now: Wall = utc_now) -> None:
        self._engine, self._now = engine, now
        self._lease = timedelta(seconds=lease)
        self._worker = ""
        self._held = 0  # requests of this process, of any key
        self._owed: list[Mapping[str, str]] = []  # ends that are not counted yet
        self._lock = threading.Lock()
        said = "the leases of requests under way were not extended"
        self._heart = Periodic("under-way", self._beat, lease / BEATS, trouble=said)

    def start(self) -> None:
        """Begin to extend the leases of this process; once, and after the fork."""
        self._worker = new_id("worker")
        self._heart.start()

    def stop(self) -> None:
        """End that."""
        self._heart.stop()

    def enter(self, tenant: str, key: str, most: int) -> Callable[[], None]:
        """Count one more request; returns what is to be called at its end, any number of times.

        raises: RateLimited, StorageFull, Overloaded
        """
        self._worker = self._worker or new_id("worker")
        whose = {"of_tenant": tenant, "of_key": key}
        with writing(self._engine) as connection:
            _alone(connection, f"{tenant} {key}")
            now = self._now()
            full = connection.execute(ALIVE, {**whose, "now": now}).scalar_one() >= most
            if not full:
                row = {"tenant": tenant, "key": key, "worker": self._worker, "lease_until": now + self._lease}
                put = INSERTS[connection.dialect.name](rows).values(**row, held=1)
                more = {"held": rows.c.held + 1, "lease_until": row["lease_until"]}
                connection.execute(put.on_conflict_do_update(index_elements=list(rows.primary_key), set_=more))
        if full:
            said = f"This key has {most} requests under way, the most it may have at once."
            raise RateLimited(said, retry_after=LATER, limit=most, unit="requests", level="key", window="under_way")
        with self._lock:
            self._held += 1
        return _Slot(self, {**whose, "of_worker": self._worker}).leave

    def left(self, mine: Mapping[str, str]) -> None:
        """Count one less; what a storage that fails does not take is counted with the next heartbeat."""
        with self._lock:
            self._held -= 1
        try:
            with writing(self._engine) as connection:
                _less(connection, mine)
        except LlmApiError as error:
            log.error("the end of a request was not counted: %s", error.message)
            with self._lock:
                self._owed.append(mine)

    def beat(self) -> None:
        """Extend the leases of this process, count the ends it owes, and delete what dead ones have left."""
        with self._lock:
            owed, self._owed = self._owed, []
        try:
            self._beat_once(owed)
        except LlmApiError:
            with self._lock:
                self._owed += owed
            raise

    def _beat_once(self, owed: Sequence[Mapping[str, str]]) -> None:
        now = self._now()
        with writing(self._engine) as connection:
            for whose in owed:
                _less(connection, whose)
            mine = update(rows).where(rows.c.worker == self._worker)
            connection.execute(mine.values(lease_until=now + self._lease))
            connection.execute(delete(rows).where(rows.c.lease_until <= now - self._lease))

    def _beat(self) -> None:
        if self._held or self._owed:
            self.beat()


class _Slot:
    """One request; its end may be told more than once."""

    def __init__(self, book: UnderWay, mine: Mapping[str, str]) -> None:
        self._book, self._mine = book, mine
        self._lock = threading.Lock()
        self._over = False

    def leave(self) -> None:
        with self._lock:
            over, self._over = self._over, True
        if not over:
            self._book.left(self._mine)


def _less(connection: Connection, mine: Mapping[str, str]) -> None:
    """Count one request less of a key and worker."""
    if connection.execute(LESS, mine).rowcount == 0:
        connection.execute(LAST, mine)


def _alone(connection: Connection, whose: str) -> None:
    """Let the requests of one key pass one after the other; SQLite's writers are alone anyway."""
    if connection.dialect.name == "postgresql":
        number = crc32(whose.encode()) - 2**31
        connection.execute(text("SELECT pg_advisory_xact_lock(:ours, :key)"), {"ours": LOCKS, "key": number})
