import multiprocessing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

from llmapi.core.errors import BadSetting
from llmapi.db.engine import open_engine, reading, writing
from llmapi.db.schema import MIGRATIONS, upgrade
from llmapi.db.tables import HEAD, metadata


def test_the_migrations_make_exactly_the_tables_of_the_metadata(engine: Engine) -> None:
    upgrade(engine)
    with reading(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_the_newest_migration_is_the_one_the_tables_name() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_a_second_start_changes_nothing(engine: Engine) -> None:
    upgrade(engine)
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE kept(x)"))
    upgrade(engine)
    assert set(inspect(engine).get_table_names()) == {"alembic_version", "kept", *metadata.tables}


def test_processes_that_start_at_once_upgrade_once(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=start, args=(tmp_path,)) for _ in range(6)]
    for child in children:
        child.start()
    for child in children:
        child.join(30)
    assert [child.exitcode for child in children] == [0] * 6


def start(folder: Path) -> None:
    engine = open_engine("", folder=folder)
    upgrade(engine)
    assert inspect(engine).has_table("jobs")


def test_a_database_of_a_newer_program_stops_the_start(engine: Engine) -> None:
    upgrade(engine)
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(BadSetting, match="up to date"):
        upgrade(engine)


def test_a_migration_that_fails_leaves_nothing_behind(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE ix_jobs_finished(x)"))  # the last index of the first migration
    with pytest.raises(Exception, match="already"):
        upgrade(engine)
    assert not inspect(engine).has_table("jobs")
