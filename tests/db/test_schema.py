import multiprocessing

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

from llmapi.core.errors import BadSetting
from llmapi.db.engine import reading, writing
from llmapi.db.schema import MIGRATIONS, upgrade
from llmapi.db.tables import HEAD, metadata
from tests.servers.databases import Database


def test_the_migrations_make_exactly_the_tables_of_the_metadata(either: Engine) -> None:
    upgrade(either)
    with reading(either) as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_the_newest_migration_is_the_one_the_tables_name() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_a_second_start_changes_nothing(either: Engine) -> None:
    upgrade(either)
    with writing(either) as connection:
        connection.execute(text("CREATE TABLE kept(x INTEGER)"))
    upgrade(either)
    assert set(inspect(either).get_table_names()) == {"alembic_version", "kept", *metadata.tables}


def test_processes_that_start_at_once_upgrade_once(empty_database: Database) -> None:
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=start, args=(empty_database,)) for _ in range(6)]
    for child in children:
        child.start()
    for child in children:
        child.join(30)
    assert [child.exitcode for child in children] == [0] * 6


def start(database: Database) -> None:
    engine = database.open()
    upgrade(engine)
    assert inspect(engine).has_table("jobs")


def test_a_database_of_a_newer_program_stops_the_start(either: Engine) -> None:
    upgrade(either)
    with writing(either) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(BadSetting, match="up to date"):
        upgrade(either)


def test_a_migration_that_fails_leaves_nothing_behind(either: Engine) -> None:
    with writing(either) as connection:
        connection.execute(text("CREATE TABLE ix_jobs_finished(x INTEGER)"))  # the last index of the first migration
    with pytest.raises(Exception, match="already"):
        upgrade(either)
    assert not inspect(either).has_table("jobs")
