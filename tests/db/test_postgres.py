"""What is PostgreSQL's own: its locks, its server that goes away, the text it cannot hold."""

import multiprocessing
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from llmapi.core.errors import Overloaded, StorageFull, ValidationFailed
from llmapi.db.engine import open_engine, reading, writing
from tests.servers.databases import Database, Postgres

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def database(postgres: Postgres, tmp_path: Path) -> Iterator[Database]:
    made = Database("postgresql", postgres.new(), tmp_path)
    yield made
    made.close()
    postgres.drop(made.url)


@pytest.fixture
def notes(database: Database) -> Engine:
    engine = database.open(connections=4, patience=0.2)
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE notes(note TEXT)"))
    return engine


def count(engine: Engine) -> int:
    with reading(engine) as connection:
        return int(connection.execute(text("SELECT count(*) FROM notes")).scalar_one())


def add(engine: Engine, note: str = "x") -> None:
    with writing(engine) as connection:
        connection.execute(text("INSERT INTO notes VALUES (:note)"), {"note": note})


def test_what_is_not_committed_is_not_seen(notes: Engine) -> None:
    with writing(notes) as connection:
        connection.execute(text("INSERT INTO notes VALUES ('unseen')"))
        assert count(notes) == 0
    assert count(notes) == 1


def test_an_error_takes_the_whole_transaction_back(notes: Engine) -> None:
    with pytest.raises(ZeroDivisionError), writing(notes) as connection:
        connection.execute(text("INSERT INTO notes VALUES ('unseen')"))
        raise ZeroDivisionError
    assert count(notes) == 0


def test_who_waits_too_long_for_a_lock_gives_up_as_overloaded(notes: Engine, database: Database) -> None:
    with database.held_up("notes"), pytest.raises(Overloaded):
        add(notes)
    add(notes)


def test_more_users_than_connections_are_overloaded(notes: Engine) -> None:
    connections = [notes.connect() for _ in range(4)]
    with pytest.raises(Overloaded), reading(notes):
        pass
    for connection in connections:
        connection.close()


def test_a_server_that_is_not_there_is_overloaded(tmp_path: Path) -> None:
    with pytest.raises(Overloaded), reading(open_engine("postgresql://u:p@127.0.0.1:9/llmapi", folder=tmp_path)):
        pass


def test_connections_the_server_closed_are_replaced_unnoticed(notes: Engine, postgres: Postgres) -> None:
    add(notes)
    postgres.disconnect_all()
    add(notes)
    assert count(notes) == 2


def test_a_connection_lost_within_a_transaction_is_overloaded_and_nothing_was_done(
    notes: Engine, postgres: Postgres
) -> None:
    with pytest.raises(Overloaded), writing(notes) as connection:
        connection.execute(text("INSERT INTO notes VALUES ('lost')"))
        postgres.disconnect_all()
        connection.execute(text("INSERT INTO notes VALUES ('lost')"))
    assert count(notes) == 0


def test_a_server_that_may_not_write_is_storage_full(notes: Engine) -> None:
    with pytest.raises(StorageFull), writing(notes) as connection:
        connection.execute(text("SET TRANSACTION READ ONLY"))
        connection.execute(text("INSERT INTO notes VALUES ('x')"))


def test_two_that_wait_for_each_other_end_as_overloaded(notes: Engine, database: Database) -> None:
    add(notes, "one")
    add(notes, "two")
    patient = database.open(patience=10)
    both, failed = threading.Barrier(2), []

    def work(first: str, second: str) -> None:
        try:
            with writing(patient) as connection:
                for note in (first, second):
                    connection.execute(text("UPDATE notes SET note = note WHERE note = :note"), {"note": note})
                    if note == first:
                        both.wait(10)
        except Overloaded as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=pair) for pair in (("one", "two"), ("two", "one"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(failed) == 1


def test_text_it_cannot_hold_is_the_callers_mistake(notes: Engine) -> None:
    with pytest.raises(ValidationFailed):
        add(notes, "a\0b")
    assert count(notes) == 0


def test_a_mistake_in_our_own_sql_stays_visible(notes: Engine) -> None:
    with pytest.raises(Exception, match="does not exist"), reading(notes) as connection:
        connection.execute(text("SELECT * FROM nowhere"))


def test_a_child_process_has_connections_of_its_own(notes: Engine) -> None:
    add(notes)  # so that the parent has a connection open
    seen = FORK.Queue()
    children = [FORK.Process(target=lambda: seen.put([count(notes) for _ in range(50)])) for _ in range(2)]
    for child in children:
        child.start()
    mine = [count(notes) for _ in range(50)]
    assert [seen.get(timeout=10), seen.get(timeout=10), mine] == [[1] * 50] * 3
    for child in children:
        child.join(10)
