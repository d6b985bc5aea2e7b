"""The counters' file: how it is found, kept small, given up and replaced."""

import multiprocessing
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from limits.storage import storage_from_string

from llmapi.db.counters import FILE, HITS_BETWEEN_CARE, Counters, counters_uri
from llmapi.db.sliding import CountersAway
from tests.db.counting import Clock, charge

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counters(tmp_path: Path, clock: Clock) -> Iterator[Counters]:
    counters = Counters(counters_uri(tmp_path), clock=clock, patience=0.3)
    yield counters
    counters.close()


def left(counters: Counters, key: str = "k") -> int:
    return counters.take([charge(10_000, key=key)]).rooms[0].left


def test_the_library_finds_it_by_its_uri(tmp_path):
    folder = tmp_path / "with space & #"
    storage = storage_from_string(counters_uri(folder))
    assert isinstance(storage, Counters)
    assert storage.check()
    assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600
    storage.close()


def test_counts_survive_a_restart(counters, tmp_path, clock):
    left(counters)
    counters.close()
    again = Counters(counters_uri(tmp_path), clock=clock)
    assert left(again) == 9998
    again.close()


def test_the_log_stays_short(counters, clock, tmp_path):
    for number in range(4 * HITS_BETWEEN_CARE):
        clock.now += 1
        counters.take([charge(2, 10.0, f"key {number}")])
    assert (tmp_path / f"{FILE}-wal").stat().st_size < HITS_BETWEEN_CARE * 8 * 4200


def test_a_purge_that_fails_does_not_fail_the_hit(counters, clock, tmp_path):
    counters.take([charge(5, 1.0, "old")])
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.execute("CREATE TRIGGER keep BEFORE DELETE ON windows BEGIN SELECT RAISE(FAIL, 'no'); END")
    clock.now += 20
    assert [left(counters) for _ in range(HITS_BETWEEN_CARE)][-1] == 10_000 - HITS_BETWEEN_CARE


def test_a_file_locked_by_another_is_an_error_soon_and_no_hang(counters, tmp_path):
    left(counters)
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(CountersAway):
            left(counters)
        assert not counters.check()
    assert counters.check()
    assert left(counters) == 9998


def test_threads_that_never_get_their_turn_give_up_too(counters, tmp_path):
    left(counters)
    failed: list[str] = []

    def work() -> None:
        try:
            left(counters)
        except CountersAway as error:
            failed.append(str(error))

    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert len(failed) == 8


def test_a_damaged_file_is_replaced(tmp_path):
    (tmp_path / FILE).write_bytes(b"no database" * 1000)
    counters = Counters(counters_uri(tmp_path))
    with pytest.raises(CountersAway):
        left(counters)
    assert [counters.check(), counters.check()] == [False, True]
    assert left(counters) == 9999
    counters.close()


def test_a_folder_that_cannot_be_made_is_an_error_the_limiter_knows(tmp_path):
    (tmp_path / "file").write_text("")
    counters = Counters(counters_uri(tmp_path / "file"))
    assert not counters.check()
    with pytest.raises(counters.base_exceptions):
        left(counters)


def test_a_child_process_counts_on(counters):
    left(counters)
    counts = FORK.Queue()
    child = FORK.Process(target=lambda: counts.put(left(counters)))
    child.start()
    child.join(10)
    assert [counts.get(timeout=5), left(counters)] == [9998, 9997]
