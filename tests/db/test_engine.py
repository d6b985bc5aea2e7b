import multiprocessing
import os
import stat
import threading
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from llmapi.core.errors import BadSetting, Overloaded, StorageFull
from llmapi.db.checkpoint import LONG
from llmapi.db.engine import FILE, open_engine, reading, writing

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def notes(engine: Engine) -> Engine:
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE notes(note TEXT)"))
    return engine


def count(engine: Engine) -> int:
    with reading(engine) as connection:
        return int(connection.execute(text("SELECT count(*) FROM notes")).scalar_one())


def add(engine: Engine, note: str = "x") -> None:
    with writing(engine) as connection:
        connection.execute(text("INSERT INTO notes VALUES (:note)"), {"note": note})


def test_without_a_url_it_is_a_file_that_only_we_can_read(notes: Engine, tmp_path: Path) -> None:
    add(notes)
    files = list((tmp_path / "data").iterdir())
    assert {file.name for file in files} == {FILE, f"{FILE}-wal", f"{FILE}-shm"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_nothing_is_connected_until_it_is_used(engine: Engine) -> None:
    assert engine.pool.checkedin() == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("name, value", [("journal_mode", "wal"), ("synchronous", 1), ("foreign_keys", 1)])
def test_each_connection_is_durable_and_checks_its_keys(engine: Engine, name: str, value: object) -> None:
    with reading(engine) as connection:
        assert connection.exec_driver_sql(f"PRAGMA {name}").scalar() == value


@pytest.mark.parametrize("url", ["mongodb://x", "nonsense", "sqlite://", "sqlite:///:memory:"])
def test_a_database_we_do_not_know_stops_the_start(url: str, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="DATABASE_URL"):
        open_engine(url, folder=tmp_path)


def test_a_folder_that_is_a_file_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(BadSetting, match="folder"):
        open_engine("", folder=tmp_path / "data")


def test_postgresql_is_opened_by_its_url_alone(tmp_path: Path) -> None:
    engine = open_engine("postgresql://user:secret@127.0.0.1:9/llmapi", folder=tmp_path)
    assert engine.dialect.driver == "psycopg"


def test_a_reader_does_not_wait_for_a_writer(notes: Engine) -> None:
    with writing(notes) as connection:
        connection.execute(text("INSERT INTO notes VALUES ('unseen')"))
        assert count(notes) == 0
    assert count(notes) == 1


def test_a_second_writer_gives_up_as_overloaded(notes: Engine) -> None:
    with writing(notes), pytest.raises(Overloaded):
        add(notes)


def test_a_writer_that_reads_first_is_never_refused_for_what_came_between(tmp_path: Path) -> None:
    engine = open_engine("", folder=tmp_path)
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE sums(total INTEGER)"))
        connection.execute(text("INSERT INTO sums VALUES (0)"))

    def work() -> None:
        for _ in range(25):
            with writing(engine) as connection:
                total = connection.execute(text("SELECT total FROM sums")).scalar_one()
                connection.execute(text("UPDATE sums SET total = :total"), {"total": total + 1})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(engine) as connection:
        assert connection.execute(text("SELECT total FROM sums")).scalar_one() == 100
    engine.dispose()


def test_more_readers_than_connections_are_overloaded(engine: Engine) -> None:
    connections = [engine.connect() for _ in range(4)]
    with pytest.raises(Overloaded), reading(engine):
        pass
    for connection in connections:
        connection.close()


def test_a_full_database_is_storage_full(notes: Engine) -> None:
    with pytest.raises(StorageFull), writing(notes) as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1")
        connection.execute(text("INSERT INTO notes VALUES (:note)"), {"note": "x" * 100_000})
    assert count(notes) == 0


def test_a_read_only_database_is_storage_full(notes: Engine) -> None:
    with pytest.raises(StorageFull), writing(notes) as connection:
        connection.exec_driver_sql("PRAGMA query_only=ON")
        connection.execute(text("INSERT INTO notes VALUES ('x')"))


def test_a_damaged_file_is_overloaded_and_no_500(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database" * 1000)
    with pytest.raises(Overloaded), reading(open_engine("", folder=tmp_path)) as connection:
        connection.execute(text("SELECT 1"))


def test_a_mistake_in_our_own_sql_stays_visible(engine: Engine) -> None:
    with pytest.raises(Exception, match="no such table"), reading(engine) as connection:
        connection.execute(text("SELECT * FROM nowhere"))


def test_the_log_of_many_writes_is_copied_into_the_file(notes: Engine, tmp_path: Path) -> None:
    add(notes, "x" * (LONG + 1))
    add(notes)
    assert (tmp_path / "data" / f"{FILE}-wal").stat().st_size < 100_000


def test_a_child_process_holds_its_own_locks(notes: Engine) -> None:
    add(notes)  # so that the parent has a connection open
    queue = FORK.Queue()
    child = FORK.Process(target=lambda: queue.put((count(notes), own_locks())))
    child.start()
    seen, locks = queue.get(timeout=10)
    child.join()
    assert seen == 1
    assert locks > 0


def own_locks() -> int:
    return sum(line.split()[4] == str(os.getpid()) for line in Path("/proc/locks").read_text().splitlines())
