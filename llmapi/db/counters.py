"""Rate-limit counts that every process of this machine shares, exact, in a small SQLite file of their own.

Counts are worth little after a crash of the machine, so nothing is synced to disk: 15-20 us a hit, 4 us a read. For
flask-limiter: `Limiter(…, storage_uri=counters_uri(folder), in_memory_fallback_enabled=True)`. Strategies: fixed-window
and sliding-window-counter, each hit one atomic statement. What goes wrong is a sqlite3.Error within `patience`,
on which flask-limiter counts in memory and asks `check` from time to time until the file is back.
"""

import itertools
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from limits.storage import SlidingWindowCounterSupport, Storage

from llmapi.core.errors import BadSetting
from llmapi.db.checkpoint import checkpoint
from llmapi.db.combining import Combining
from llmapi.db.files import private_file, private_folder
from llmapi.db.forks import close_before_fork

SCHEME = "counters"
FILE = "limits.sqlite3"
HITS_BETWEEN_CARE = 512  # hits of one process between two purges
PURGED_AT_ONCE = 4 * HITS_BETWEEN_CARE  # more than can have come meanwhile, so the file stays bounded
BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
BROKEN = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

SETUP = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=OFF",
    "PRAGMA wal_autocheckpoint=0",
    "CREATE TABLE IF NOT EXISTS hits(key TEXT PRIMARY KEY, count INTEGER NOT NULL, ends REAL NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS hits_ends ON hits(ends)",
    "PRAGMA busy_timeout=0",  # from here on `_run` waits by itself
)
# A window that ends later than one begun now was begun by a clock that has since been set back: it is over too.
HIT = """
    INSERT INTO hits(key, count, ends) VALUES (:key, :amount, :ends)
    ON CONFLICT(key) DO UPDATE SET
        count = CASE WHEN hits.ends > :now AND hits.ends <= :ends THEN hits.count + :amount ELSE :amount END,
        ends = CASE WHEN hits.ends > :now AND hits.ends <= :ends THEN hits.ends ELSE :ends END
    RETURNING count, ends"""
SLIDE = """
    INSERT INTO hits(key, count, ends)
    SELECT :key, :amount, :ends WHERE :amount <= :limit - CAST(
        coalesce((SELECT count FROM hits WHERE key = :previous), 0) * :weight
        + coalesce((SELECT count FROM hits WHERE key = :key), 0) AS INTEGER)
    ON CONFLICT(key) DO UPDATE SET count = hits.count + excluded.count
    RETURNING count"""
READ = "SELECT count, ends FROM hits WHERE key = ? AND ends > ?"
PURGE = "DELETE FROM hits WHERE key IN (SELECT key FROM hits WHERE ends <= ? ORDER BY ends LIMIT ?)"


def counters_uri(folder: Path) -> str:
    """Return the `storage_uri` for flask-limiter of the counters in the data folder."""
    return f"{SCHEME}://{quote(str(folder.absolute() / FILE))}"


class Counters(Storage, SlidingWindowCounterSupport):
    """A storage of the library `limits`; importing this module registers it for `counters:` URIs.

    Threads of a process share one connection (combining.py), processes take turns at the file's lock.
    """

    STORAGE_SCHEME = [SCHEME]

    def __init__(
        self,
        uri: str,
        wrap_exceptions: bool = False,
        *,
        patience: float = 1.0,  # seconds a hit may wait for its turn, and then for the file
        clock: Callable[[], float] = time.time,  # seconds since 1970, the same in all processes
        **_: Any,
    ) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        self._file = Path(unquote(urlsplit(uri).path))
        self._patience = patience
        self._clock = clock
        self._turn = threading.Lock()
        self._hitting = Combining(self._hit_all)
        self._connection: sqlite3.Connection | None = None
        self._inode = 0  # of the file this process has open
        self._hits = itertools.count(1)
        close_before_fork(self, Counters.close)

    @property
    def base_exceptions(self) -> type[Exception]:
        return sqlite3.Error

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count a hit in a window that began with its first one; returns the count, with this hit."""
        return self.hit(key, expiry, amount)[0]

    def hit(self, key: str, expiry: int, amount: int = 1) -> tuple[int, float]:
        """Do as `incr`, and say also when the window ends (seconds since 1970): what headers tell, in one statement."""
        now = self._clock()
        values = {"key": key, "amount": amount, "now": now, "ends": now + expiry}
        count, ends = self._count(HIT, values)[0]
        return int(count), float(ends)

    def get(self, key: str) -> int:
        rows = self._run(READ, (key, self._clock()))
        return int(rows[0][0]) if rows else 0

    def get_expiry(self, key: str) -> float:
        now = self._clock()
        rows = self._run(READ, (key, now))
        return float(rows[0][1]) if rows else now

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count a hit unless the last `expiry` seconds were full, as if the earlier window's hits came evenly."""
        now = self._clock()
        begun = now // expiry
        values = {
            "key": _slot(key, begun),
            "previous": _slot(key, begun - 1),
            "weight": begun + 1 - now / expiry,
            "limit": limit,
            "amount": amount,
            "ends": (begun + 2) * expiry,
        }
        return bool(self._count(SLIDE, values))

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        now = self._clock()
        begun = now // expiry
        left = (begun + 1) * expiry - now
        earlier, current = self.get(_slot(key, begun - 1)), self.get(_slot(key, begun))
        return earlier, left if earlier else 0.0, current, left + expiry

    def clear(self, key: str) -> None:
        self._run("DELETE FROM hits WHERE key = ?", (key,))

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        begun = self._clock() // expiry
        self.clear(_slot(key, begun - 1))
        self.clear(_slot(key, begun))

    def reset(self) -> int:
        return len(self._run("DELETE FROM hits RETURNING key", ()))

    def check(self) -> bool:
        """Say whether the file can be used; a damaged one is put away, for counts are not worth mending."""
        try:
            self._run("INSERT INTO hits VALUES ('', 0, 0) ON CONFLICT(key) DO UPDATE SET count = 0", ())
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in BROKEN:
                self._put_away()
            return False
        return True

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._turn:
            self._forget()

    def _count(self, statement: str, values: dict[str, Any]) -> list[Any]:
        try:
            rows = self._hitting.do((statement, values), self._patience)
        except TimeoutError as error:
            raise sqlite3.OperationalError("the counters are busy") from error
        if next(self._hits) % HITS_BETWEEN_CARE == 0:
            self._care()
        return rows

    def _care(self) -> None:
        """Keep the file small; the hit that happens to do this is counted already, so nothing here may fail it."""
        with suppress(sqlite3.Error):
            self._run(PURGE, (self._clock(), PURGED_AT_ONCE))
        checkpoint(self._file, synced=False)

    def _hit_all(self, hits: Sequence[tuple[str, dict[str, Any]]]) -> list[list[Any]]:
        """Run the statements of several threads in one transaction."""
        if len(hits) == 1:
            return [self._run(*hits[0])]
        with self._my_turn() as connection:
            self._patiently(connection, "BEGIN IMMEDIATE", ())
            try:
                rows = [connection.execute(statement, values).fetchall() for statement, values in hits]
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            return rows

    def _run(self, statement: str, values: dict[str, Any] | Sequence[Any]) -> list[Any]:
        """Run one statement in its own transaction."""
        with self._my_turn() as connection:
            return self._patiently(connection, statement, values)

    def _patiently(
        self, connection: sqlite3.Connection, statement: str, values: dict[str, Any] | Sequence[Any]
    ) -> list[Any]:
        """Run a statement as soon as other processes let go of the file."""
        give_up = time.monotonic() + self._patience
        while True:
            try:
                return connection.execute(statement, values).fetchall()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in BUSY or time.monotonic() > give_up:
                    raise
            # SQLite's own waiting grows to 100 ms a nap and starves a process when others are quick
            time.sleep(random.uniform(0.0002, 0.002))

    @contextmanager
    def _my_turn(self) -> Iterator[sqlite3.Connection]:
        if not self._turn.acquire(timeout=self._patience):
            raise sqlite3.OperationalError("the counters are busy")
        try:
            yield self._connection or self._open()
        finally:
            self._turn.release()

    def _open(self) -> sqlite3.Connection:
        try:
            private_folder(self._file.parent)
            self._inode = os.stat(private_file(self._file)).st_ino
        except (BadSetting, OSError) as error:
            raise sqlite3.OperationalError(str(error)) from error
        connection = sqlite3.connect(
            self._file, isolation_level=None, timeout=self._patience, check_same_thread=False
        )
        try:
            for statement in SETUP:
                connection.execute(statement)
        except sqlite3.Error:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _put_away(self) -> None:
        with self._turn:
            self._forget()
            if self._file.exists() and os.stat(self._file).st_ino == self._inode:  # else somebody did it already
                for file in (self._file, Path(f"{self._file}-wal"), Path(f"{self._file}-shm")):
                    file.unlink(missing_ok=True)


def _slot(key: str, begun: float) -> str:
    return f"{key}/{int(begun)}"
