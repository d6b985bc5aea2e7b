"""A copy of a SQLite database in use: consistent, compact, checked, and never half there."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import Engine

from llmapi.core.errors import BadSetting
from llmapi.db.errors import storage_errors
from llmapi.db.files import private_file


def backup(engine: Engine, file: Path) -> int:
    """Write all that is committed into a new file, beside readers and writers; returns its bytes.

    raises: BadSetting when the file is there or cannot be written, StorageFull, Overloaded
    """
    if engine.dialect.name != "sqlite":
        raise BadSetting("only SQLite is copied here; use pg_dump for PostgreSQL")
    if file.exists():
        raise BadSetting(f"{file} is there already")
    part = private_file(file.with_name(f"{file.name}.part"))
    try:
        _copy(engine, part)
        _keep(part)
        os.rename(part, file)
    finally:
        part.unlink(missing_ok=True)
    return file.stat().st_size


def problems(engine: Engine) -> list[str]:
    """Return what is wrong with a SQLite file; [] when it is whole, and for other databases."""
    if engine.dialect.name != "sqlite":
        return []
    with storage_errors(), engine.connect() as connection:
        found = connection.exec_driver_sql("PRAGMA quick_check(10)").scalars().all()
        lost = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    return [row for row in found if row != "ok"] + [f"{row[0]}: a row whose parent is gone" for row in lost]


def _copy(engine: Engine, part: Path) -> None:
    with storage_errors(), closing(engine.raw_connection()) as connection:
        source = connection.driver_connection
        assert source is not None
        try:
            source.execute("VACUUM INTO ?", (str(part),))
        except sqlite3.OperationalError as error:
            raise BadSetting(f"the copy cannot be written: {error}") from error


def _keep(part: Path) -> None:
    with closing(sqlite3.connect(part)) as copy:
        if copy.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise BadSetting("the copy is damaged, and so may be the database: see `db check`")
    with part.open("rb") as written:
        os.fsync(written.fileno())
