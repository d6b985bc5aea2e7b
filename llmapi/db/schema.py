"""Bringing the database's tables up to date at start."""

from pathlib import Path

from sqlalchemy import Connection, Engine, String, column, inspect, select, table, text

from llmapi.core.errors import BadSetting
from llmapi.db.engine import reading, writing
from llmapi.db.tables import HEAD

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION = table("alembic_version", column("version_num", String))
SCHEMA_LOCK = 7_310_573_202  # PostgreSQL: any number that only we use


def upgrade(engine: Engine) -> None:
    """Run the migrations that are missing. Any number of processes may do so at once: one works, the others wait.

    raises: BadSetting when the database is newer than this program; StorageFull, Overloaded
    """
    if version(engine) == HEAD:
        return  # without importing Alembic: 0.12 s and 12 MB
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with writing(engine) as connection:
        _lock(connection)
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise BadSetting(f"the database cannot be brought up to date: {error}") from error


def version(engine: Engine) -> str | None:
    """Return the newest migration a database has; None before the first."""
    with reading(engine) as connection:
        if not inspect(connection).has_table(VERSION.name):
            return None
        return connection.scalar(select(VERSION.c.version_num))


def _lock(connection: Connection) -> None:
    """Keep other migrations out until this transaction ends; SQLite's writers are alone anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": SCHEMA_LOCK})
