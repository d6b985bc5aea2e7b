"""The database, chosen by its URL: a SQLite file in the data folder, or PostgreSQL."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, make_url
from sqlalchemy.pool import QueuePool

from llmapi.core.errors import BadSetting
from llmapi.db.checkpoint import LongLog
from llmapi.db.errors import storage_errors
from llmapi.db.files import private_file, private_folder
from llmapi.db.forks import close_before_fork

FILE = "llmapi.sqlite3"
OLDEST_SQLITE = (3, 35)  # the first with RETURNING
READ_ONLY = "llmapi_read_only"
PRAGMAS = ("synchronous=NORMAL", "foreign_keys=ON", "wal_autocheckpoint=0", "journal_size_limit=0")


def open_engine(url: str, *, folder: Path, connections: int = 16, patience: float = 5.0) -> Engine:
    """Return an engine for hundreds of threads that each seldom need it; nothing is connected yet.

    url: of SQLAlchemy; empty: a SQLite file in `folder`
    connections: the most this process opens; who finds none free waits
    patience: seconds to wait for a free connection, and for another writer
    raises: BadSetting
    """
    try:
        where = make_url(url or f"sqlite:///{private_folder(folder) / FILE}")
        opener = KINDS[where.get_backend_name()]
    except (exc.ArgumentError, KeyError):
        raise BadSetting(f"DATABASE_URL must begin with one of {sorted(KINDS)}") from None
    pool = {"poolclass": QueuePool, "pool_size": connections, "max_overflow": 0, "pool_use_lifo": True}
    engine = opener(where, patience, {**pool, "pool_timeout": patience})
    close_before_fork(engine, Engine.dispose)
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that may write: alone from its first statement on SQLite. Raises StorageFull, Overloaded."""
    with storage_errors(), engine.begin() as connection:
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that only reads, beside any writer. Raises StorageFull, Overloaded."""
    with storage_errors(), engine.execution_options(**{READ_ONLY: True}).begin() as connection:
        yield connection


def _open_sqlite(url: URL, patience: float, pool: Mapping[str, Any]) -> Engine:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise BadSetting(f"SQLite 3.35 or newer is needed, this is {sqlite3.sqlite_version}")
    if url.database in (None, "", ":memory:") or url.query:
        raise BadSetting("DATABASE_URL must name a plain SQLite file, such as sqlite:////srv/llmapi/llmapi.sqlite3")
    file = Path(str(url.database)).absolute()
    private_folder(file.parent)
    private_file(file)
    engine = create_engine(
        url.set(database=str(file)), connect_args={"timeout": patience, "check_same_thread": False}, **pool
    )
    log = LongLog(file)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "checkin", lambda *_: log.look())
    return engine


def _prepare(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # else the driver begins transactions by itself, and late
    if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        connection.execute("PRAGMA journal_mode=WAL")
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    """Writers wait for their turn here, where waiting works: a reader that turns writer later is refused at once."""
    read_only = connection.get_execution_options().get(READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _open_postgres(url: URL, patience: float, pool: Mapping[str, Any]) -> Engine:
    milliseconds = int(patience * 1000)
    wait = f"-c lock_timeout={milliseconds} -c idle_in_transaction_session_timeout=60000"
    arguments = {"connect_timeout": max(2, round(patience)), "options": wait, "tcp_user_timeout": milliseconds}
    try:
        return create_engine(
            url.set(drivername="postgresql+psycopg"), connect_args=arguments, pool_pre_ping=True, **pool
        )
    except ModuleNotFoundError:
        raise BadSetting("PostgreSQL needs the package psycopg: pip install 'psycopg[binary]'") from None


KINDS: Mapping[str, Callable[[URL, float, Mapping[str, Any]], Engine]] = {
    "sqlite": _open_sqlite,
    "postgresql": _open_postgres,
}
