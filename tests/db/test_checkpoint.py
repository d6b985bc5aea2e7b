import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from llmapi.db.checkpoint import LongLog, checkpoint
from llmapi.db.engine import PRAGMAS


def connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, isolation_level=None, timeout=5)
    for pragma in ("journal_mode=WAL", *PRAGMAS):
        connection.execute(f"PRAGMA {pragma}")
    return connection


@pytest.fixture
def file(tmp_path: Path) -> Path:
    with closing(connect(tmp_path / "notes")) as connection:
        connection.execute("CREATE TABLE notes(note TEXT)")
    return tmp_path / "notes"


def log_size(file: Path) -> int:
    return os.stat(f"{file}-wal").st_size


def add(connection: sqlite3.Connection, size: int = 100_000) -> None:
    connection.execute("INSERT INTO notes VALUES (?)", ("x" * size,))


def test_a_long_log_is_copied_and_begun_anew_by_the_next_commit(file: Path) -> None:
    with closing(connect(file)) as connection:
        add(connection)
        LongLog(file, long=50_000).look()
        add(connection, 1)
        assert log_size(file) < 50_000


def test_a_short_log_is_left_alone(file: Path) -> None:
    with closing(connect(file)) as connection:
        add(connection)
        LongLog(file, long=500_000).look()
        add(connection, 1)
        assert log_size(file) > 100_000


def test_no_checkpoint_runs_beside_a_writer(file: Path) -> None:
    with closing(connect(file)) as connection:
        add(connection)
        connection.execute("BEGIN IMMEDIATE")
        assert not checkpoint(file)
        connection.execute("COMMIT")
        assert checkpoint(file)


def test_a_log_that_a_reader_keeps_is_tried_again_only_when_it_has_grown(file: Path) -> None:
    log = LongLog(file, long=50_000)
    with closing(connect(file)) as writer, closing(connect(file)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM notes").fetchone()
        add(writer)
        log.look()
        reader.execute("COMMIT")
        log.look()  # too soon
        add(writer, 1)
        assert log_size(file) > 100_000
        add(writer)
        log.look()
        add(writer, 1)
        assert log_size(file) < 50_000


def test_writers_and_checkpoints_at_once_lose_nothing(file: Path) -> None:
    def work() -> None:
        log = LongLog(file, long=20_000)
        with closing(connect(file)) as connection:
            for _ in range(100):
                add(connection, 3000)
                log.look()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with closing(connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM notes").fetchone() == (400,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
