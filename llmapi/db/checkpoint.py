"""Moving SQLite's write-ahead log into the database, safe from the WAL-reset bug (versions 3.7.0 to 3.51.2).

There a checkpoint that starts on a log already copied whole, while a commit begins the log anew, marks new pages as
copied and loses them. So nobody checkpoints by himself (`wal_autocheckpoint=0`): who finds the log long holds the write
lock on one connection while another copies. No commit can come between, and no second checkpoint. Writers wait some
milliseconds, once every few thousand pages; all processes and threads may call it.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

LONG = 8 * 1_048_576  # bytes of log that are worth a checkpoint


def checkpoint(file: Path, *, synced: bool = True) -> bool:
    """Copy the log into `file`; False when a writer was busy, or a reader kept a part of it in use.

    Without `synced` a power cut may damage the file.
    """
    try:
        with closing(_connect(file)) as guard, closing(_connect(file)) as copier:
            copier.execute(f"PRAGMA synchronous={'NORMAL' if synced else 'OFF'}")
            copier.execute("PRAGMA wal_autocheckpoint=0")
            guard.execute("BEGIN IMMEDIATE")  # until it is closed
            busy, pages, copied = copier.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    except sqlite3.Error:  # locked, or the disk is full: the log grows until a later try
        return False
    return bool(not busy and pages == copied)


def _connect(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, isolation_level=None, timeout=0, check_same_thread=False)


class LongLog:
    """Checkpoint a database when its log has become long. Connections must set `journal_size_limit=0`.

    With that limit the log's file shrinks in the commit that begins it anew, so its size says how much is in it.
    """

    def __init__(self, file: Path, long: int = LONG) -> None:
        self._file = file
        self._log = f"{file}-wal"
        self._long = long
        self._next = long

    def look(self) -> None:
        """Checkpoint if it is time: 2 us when it is not. Call it when no transaction of this thread is open."""
        try:
            size = os.stat(self._log).st_size
        except FileNotFoundError:
            return
        if size < self._next:
            self._next = self._long
        elif checkpoint(self._file):
            self._next = self._long
        else:  # a long reader: try again when the log has grown by as much again
            self._next = size + self._long
