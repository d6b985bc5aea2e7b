"""The shared index on PostgreSQL with pgvector: one table, searched exactly within a namespace."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from llmapi.cache.index import Found, Vector
from llmapi.core.errors import Overloaded
from llmapi.db.engine import open_engine, reading, writing

LOCK: Final = 7_310_573_214  # any number that only we use
CARE: Final = 64  # entries a worker puts between two times that it clears away
MAKE: Final = (
    "CREATE EXTENSION IF NOT EXISTS vector",
    """CREATE TABLE IF NOT EXISTS semantic_entries (
        space TEXT NOT NULL, entry TEXT NOT NULL, vector vector NOT NULL, payload BYTEA NOT NULL,
        until DOUBLE PRECISION NOT NULL, PRIMARY KEY (space, entry))""",
    "CREATE INDEX IF NOT EXISTS ix_semantic_entries_until ON semantic_entries (until)",
)
PUT: Final = text(
    """INSERT INTO semantic_entries (space, entry, vector, payload, until)
    VALUES (:space, :entry, CAST(:vector AS vector), :payload, :until)
    ON CONFLICT (space, entry) DO UPDATE
    SET vector = excluded.vector, payload = excluded.payload, until = excluded.until"""
)
NEAREST: Final = text(
    """SELECT near.entry, 1 - near.distance AS cosine, own.payload FROM (
        SELECT entry, vector <=> CAST(:vector AS vector) AS distance FROM semantic_entries
        WHERE space = :space AND until > :now ORDER BY distance LIMIT :count) AS near
    JOIN semantic_entries AS own ON own.space = :space AND own.entry = near.entry ORDER BY near.distance"""
)
REMOVE: Final = text("DELETE FROM semantic_entries WHERE space = :space AND entry = :entry")
OVER: Final = text("DELETE FROM semantic_entries WHERE until <= :now")
THIN: Final = text(
    """DELETE FROM semantic_entries WHERE space = :space AND entry IN (
        SELECT entry FROM semantic_entries WHERE space = :space ORDER BY until DESC OFFSET :entries)"""
)


class PgVectorIndex:
    """Entries of all workers in one table, which is made when first needed.

    entries: most of one namespace; beyond, those that end first leave
    clock: seconds since 1970
    """

    def __init__(
        self, url: str, *, entries: int, folder: Path, clock: Callable[[], float] = time.time
    ) -> None:
        self._entries, self._clock = entries, clock
        self._engine = open_engine(url, folder=folder, connections=8, patience=0.5)
        self._making = threading.Lock()
        self._made = False
        self._put = 0

    def add(self, space: str, entry: str, vector: Vector, payload: bytes, ttl: float) -> None:
        """Put an entry for `ttl` seconds."""
        self._make()
        now = self._clock()
        row = {"space": space, "entry": entry, "vector": _words(vector), "payload": payload, "until": now + ttl}
        self._put += 1
        with writing(self._engine) as connection:
            connection.execute(PUT, row)
            if self._put % CARE == 0:
                connection.execute(OVER, {"now": now})
                connection.execute(THIN, {"space": space, "entries": self._entries})

    def remove(self, space: str, entry: str) -> bool:
        """Forget an entry; returns whether it was there."""
        self._make()
        with writing(self._engine) as connection:
            return bool(connection.execute(REMOVE, {"space": space, "entry": entry}).rowcount)

    def nearest(self, space: str, vector: Vector, count: int) -> list[Found]:
        """Return up to `count` entries that are not over, nearest first."""
        self._make()
        asked: dict[str, Any] = {"space": space, "vector": _words(vector), "now": self._clock(), "count": count}
        with reading(self._engine) as connection:
            rows = connection.execute(NEAREST, asked).all()
        return [Found(row.entry, float(row.cosine), bytes(row.payload)) for row in rows]

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def _make(self) -> None:
        with self._making:
            if self._made:
                return
            try:
                with writing(self._engine) as connection:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": LOCK})
                    for statement in MAKE:
                        connection.execute(text(statement))
            except DBAPIError as error:
                raise Overloaded("The shared index cannot be made: is pgvector installed?") from error
            self._made = True


def _words(vector: Vector) -> str:
    """Return a vector as pgvector reads it."""
    return "[" + ",".join(map(repr, np.asarray(vector, np.float32).astype(float).tolist())) + "]"
