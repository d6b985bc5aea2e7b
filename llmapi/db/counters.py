"""Rate-limit counts that every process of this machine shares, exact, in a small SQLite file of their own.

Counts are worth little after a crash of the machine, so nothing is synced to disk: 25-30 us a hit. For flask-limiter:
`Limiter(…, storage_uri=counters_uri(folder), strategy="moving-window")`. All limits of a request are one transaction,
and so are those of all threads that wait. What goes wrong is CountersAway within `patience`.
"""

import itertools
import os
import random
import sqlite3
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from llmapi.core.errors import BadSetting
from llmapi.db.checkpoint import checkpoint
from llmapi.db.combining import Combining
from llmapi.db.files import private_file, private_folder
from llmapi.db.forks import close_before_fork
from llmapi.db.sliding import Charge, CountersAway, Log, Sliding, Taken, take_from

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
    "CREATE TABLE IF NOT EXISTS windows(id INTEGER PRIMARY KEY, key TEXT UNIQUE, log BLOB, ends REAL)",
    "CREATE INDEX IF NOT EXISTS windows_ends ON windows(ends)",
    "PRAGMA busy_timeout=0",  # from here on `_run` waits by itself
)
FIND = "SELECT id, log, ends FROM windows WHERE key = ?"
ADD = "INSERT INTO windows(key, log, ends) VALUES (?, ?, ?)"
KEEP = "UPDATE windows SET log = ? WHERE id = ?"
KEEP_LONGER = "UPDATE windows SET log = ?, ends = ? WHERE id = ?"
PURGE = "DELETE FROM windows WHERE id IN (SELECT id FROM windows WHERE ends <= ? ORDER BY ends LIMIT ?)"


class Asked(NamedTuple):
    """What a thread wants counted."""

    charges: Sequence[Charge]
    amount: int


def counters_uri(folder: Path) -> str:
    """Return the `storage_uri` for flask-limiter of the counters in the data folder."""
    return f"{SCHEME}://{quote(str(folder.absolute() / FILE))}"


class Counters(Sliding):
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
        self._taking = Combining(self._take_all)
        self._connection: sqlite3.Connection | None = None
        self._inode = 0  # of the file this process has open
        self._hits = itertools.count(1)
        close_before_fork(self, Counters.close)

    def take(self, charges: Sequence[Charge], amount: int = 1) -> Taken:
        try:
            taken = self._taking.do(Asked(charges, amount), self._patience)
        except (sqlite3.Error, TimeoutError) as error:
            raise CountersAway(str(error)) from error
        if next(self._hits) % HITS_BETWEEN_CARE == 0:
            self._care()
        return taken

    def now(self) -> float:
        return self._clock()

    def clear(self, key: str) -> None:
        self._run("DELETE FROM windows WHERE key = ?", (key,))

    def reset(self) -> int:
        return len(self._run("DELETE FROM windows RETURNING id", ()))

    def check(self) -> bool:
        """Say whether the file can be used; a damaged one is put away, for counts are not worth mending."""
        try:
            self._run("INSERT INTO windows(key, log, ends) VALUES ('', '', 0) ON CONFLICT DO UPDATE SET ends = 0", ())
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in BROKEN:
                self._put_away()
            return False
        return True

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._turn:
            self._forget()

    def _care(self) -> None:
        """Keep the file small; the hit that happens to do this is counted already, so nothing here may fail it."""
        with suppress(sqlite3.Error):
            self._run(PURGE, (self._clock(), PURGED_AT_ONCE))
        checkpoint(self._file, synced=False)

    def _take_all(self, asked: Sequence[Asked]) -> list[Taken]:
        """Count what several threads ask for in one transaction, at one moment."""
        with self._my_turn() as connection:
            self._patiently(connection, "BEGIN IMMEDIATE", ())
            try:
                now = self._clock()  # not before: in the order of the hits, over all processes
                taken = [self._take_one(connection, each, now) for each in asked]
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            return taken

    def _take_one(self, connection: sqlite3.Connection, asked: Asked, now: float) -> Taken:
        rows = [connection.execute(FIND, (charge.key,)).fetchone() for charge in asked.charges]
        logs = [array("d", row[1] if row else b"") for row in rows]
        taken, changed = take_from(logs, asked.charges, asked.amount, now)
        if changed:
            for row, log, charge in zip(rows, logs, asked.charges, strict=True):
                keep(connection, row, log, charge)
        return taken

    def _run(self, statement: str, values: Sequence[Any]) -> list[Any]:
        """Run one statement in its own transaction."""
        with self._my_turn() as connection:
            return self._patiently(connection, statement, values)

    def _patiently(self, connection: sqlite3.Connection, statement: str, values: Sequence[Any]) -> list[Any]:
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


def keep(connection: sqlite3.Connection, row: tuple[int, bytes, float] | None, log: Log, charge: Charge) -> None:
    """Write a window's hits down. When it may be purged is rounded up to whole spans: the index seldom changes."""
    ends = (log[-2] // charge.span + 2) * charge.span if log else 0.0
    if row is None:
        connection.execute(ADD, (charge.key, log, ends))
    elif row[2] == ends:
        connection.execute(KEEP, (log, row[0]))
    else:
        connection.execute(KEEP_LONGER, (log, ends, row[0]))
