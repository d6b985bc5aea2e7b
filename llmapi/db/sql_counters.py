"""Rate-limit counts that many machines share, exact, in PostgreSQL: one function, one statement a request.

The table is not logged and commits wait for no disk: counts are worth little after a crash. Time is the server's.
The function does what db/sliding.py does; both it and the table are made when they are first needed.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

import psycopg
from sqlalchemy import exc, make_url

from llmapi.core.errors import BadSetting
from llmapi.db.combining import Combining
from llmapi.db.forks import close_before_fork
from llmapi.db.sliding import EXACT, SLOTS, Charge, CountersAway, Room, Sliding, Taken
from llmapi.db.sql_function import SETUP

PREFIX = "counters+"
QUIET = 0.1  # seconds after a failure in which those who waited are told so, and do not try it one after the other
HITS_BETWEEN_CARE = 512  # hits of one process between two purges
TAKE = "SELECT * FROM limit_take_1(%s::text[], %s::float8[], %s::float8[], %s::float8[], %s, %s)"
PURGE = """
    DELETE FROM limit_windows WHERE key IN (
        SELECT key FROM limit_windows WHERE ends <= coalesce(%s, extract(epoch FROM clock_timestamp()))
        LIMIT 2048 FOR UPDATE SKIP LOCKED)"""
Asked = tuple[Sequence[Charge], int]


class PostgresCounters(Sliding):
    """A storage of the library `limits`; importing this module registers it for `counters+postgresql:` URIs.

    Threads of a process take turns at one connection (combining.py).
    """

    STORAGE_SCHEME = [f"{PREFIX}postgresql"]

    def __init__(
        self,
        uri: str,
        wrap_exceptions: bool = False,
        *,
        patience: float = 1.0,  # seconds a hit may wait for its turn, and then for the server
        clock: Callable[[], float] | None = None,  # seconds since 1970; None: the server's
        **_: Any,
    ) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        self._url = plain(uri.removeprefix(PREFIX))
        self._patience = patience
        self._clock = clock
        self._taking = Combining(self._take_all)
        self._turn = threading.Lock()
        self._connection: psycopg.Connection[Any] | None = None
        self._quiet_until = 0.0
        self._hits = count(1)
        close_before_fork(self, PostgresCounters.close)

    def take(self, charges: Sequence[Charge], amount: int = 1) -> Taken:
        try:
            taken = self._taking.do((charges, amount), self._patience)
        except TimeoutError as error:
            raise CountersAway("the connection to PostgreSQL is busy") from error
        if next(self._hits) % HITS_BETWEEN_CARE == 0:
            with suppress(CountersAway):  # this hit is counted already
                self._run(PURGE, (self._given(),))
        return taken

    def now(self) -> float:
        at = self._given()
        return at if at is not None else float(self._run("SELECT extract(epoch FROM clock_timestamp())", ())[0][0])

    def check(self) -> bool:
        try:
            self._run("SELECT 1", ())
        except CountersAway:
            return False
        return True

    def clear(self, key: str) -> None:
        self._run("DELETE FROM limit_windows WHERE key = %s RETURNING 1", (key,))

    def reset(self) -> int:
        return len(self._run("DELETE FROM limit_windows RETURNING 1", ()))

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        with self._turn:
            self._forget()

    def _given(self) -> float | None:
        return self._clock() if self._clock else None

    def _take_all(self, asked: Sequence[Asked]) -> list[Taken]:
        """One after the other, each its own transaction: together they would hold windows others wait for."""
        return [self._take_one(*each) for each in asked]

    def _take_one(self, charges: Sequence[Charge], amount: int) -> Taken:
        order = sorted(range(len(charges)), key=lambda at: charges[at].key)  # all lock in the same order
        sorted_out = [charges[at] for at in order]
        keys, limits, spans = (list(column) for column in zip(*sorted_out, strict=True))
        grains = [span / SLOTS if limit > EXACT else 0.0 for _, limit, span in sorted_out]
        counted, used, waits = self._run(TAKE, (keys, limits, spans, grains, amount, self._given()))[0]
        rooms = {at: Room(max(0, charges[at].limit - int(n)), w) for at, n, w in zip(order, used, waits, strict=True)}
        return Taken(counted, [rooms[at] for at in range(len(charges))])

    def _run(self, statement: str, values: Sequence[Any]) -> list[Any]:
        with self._turn:
            if time.monotonic() < self._quiet_until:
                raise CountersAway("PostgreSQL was away just now")
            try:
                return self._try(statement, values)
            except psycopg.Error as error:
                self._forget()
                self._quiet_until = time.monotonic() + QUIET
                raise CountersAway(f"{type(error).__name__} at PostgreSQL") from error

    def _try(self, statement: str, values: Sequence[Any]) -> list[Any]:
        idle = self._connection
        try:
            return self._execute(statement, values)
        except (psycopg.OperationalError, psycopg.InterfaceError):
            if idle is None or not idle.closed:
                raise
            self._forget()
        return self._execute(statement, values)  # the server was restarted since

    def _execute(self, statement: str, values: Sequence[Any]) -> list[Any]:
        cursor = (self._connection or self._open()).execute(statement, values, prepare=True)
        return cursor.fetchall() if cursor.description else []

    def _open(self) -> psycopg.Connection[Any]:
        milliseconds = int(self._patience * 1000)
        options = f"-c statement_timeout={milliseconds} -c synchronous_commit=off"
        self._connection = psycopg.connect(
            self._url, autocommit=True, connect_timeout=2, options=options, tcp_user_timeout=milliseconds
        )
        self._connection.execute(SETUP)
        return self._connection

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def plain(url: str) -> str:
    """Return a URL of SQLAlchemy as libpq reads it; raises BadSetting."""
    try:
        return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    except (exc.ArgumentError, ValueError):
        raise BadSetting("the URL of PostgreSQL for limits cannot be read") from None
