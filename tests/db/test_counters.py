import multiprocessing
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from limits import parse
from limits.storage import storage_from_string
from limits.strategies import FixedWindowRateLimiter, SlidingWindowCounterRateLimiter

from llmapi.db.counters import FILE, HITS_BETWEEN_CARE, Counters, counters_uri

FORK = multiprocessing.get_context("fork")
FIFTY = parse("50/minute")
Strategy = type[FixedWindowRateLimiter] | type[SlidingWindowCounterRateLimiter]
STRATEGIES = pytest.mark.parametrize("strategy", [FixedWindowRateLimiter, SlidingWindowCounterRateLimiter])


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counters(tmp_path: Path, clock: Clock) -> Iterator[Counters]:
    counters = Counters(counters_uri(tmp_path), clock=clock)
    yield counters
    counters.close()


def at_once(number: int, make: Callable[..., Any], work: Callable[[], None]) -> None:
    workers = [make(target=work) for _ in range(number)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)


@STRATEGIES
def test_processes_and_threads_together_get_exactly_the_limit(tmp_path: Path, clock: Clock, strategy: Strategy) -> None:
    allowed = FORK.Queue()

    def process() -> None:
        limiter = strategy(Counters(counters_uri(tmp_path), patience=10, clock=clock))

        def thread() -> None:
            allowed.put(sum(limiter.hit(FIFTY, "tenant") for _ in range(25)))

        at_once(4, threading.Thread, thread)

    at_once(3, FORK.Process, process)
    assert sum(allowed.get(timeout=5) for _ in range(12)) == 50


def test_the_library_finds_it_by_its_uri(tmp_path: Path) -> None:
    folder = tmp_path / "with space & #"
    storage = storage_from_string(counters_uri(folder))
    assert isinstance(storage, Counters)
    assert storage.check()
    assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600
    storage.close()


def test_a_fixed_window_ends_and_begins_anew(counters: Counters, clock: Clock) -> None:
    assert [counters.incr("k", 60), counters.incr("k", 60, 3)] == [1, 4]
    assert (counters.get("k"), counters.get_expiry("k")) == (4, clock.now + 60)
    clock.now += 60
    assert counters.get("k") == 0
    assert counters.incr("k", 60) == 1


def test_a_clock_set_back_ends_the_window(counters: Counters, clock: Clock) -> None:
    counters.incr("k", 60)
    clock.now -= 3600
    assert counters.incr("k", 60) == 1


@STRATEGIES
def test_the_headers_figures_follow_the_hits(counters: Counters, strategy: Strategy) -> None:
    limiter = strategy(counters)
    assert limiter.hit(FIFTY, "tenant", cost=20)
    assert limiter.get_window_stats(FIFTY, "tenant").remaining == 30
    assert limiter.test(FIFTY, "tenant", cost=30)
    assert not limiter.test(FIFTY, "tenant", cost=31)
    limiter.clear(FIFTY, "tenant")
    assert limiter.get_window_stats(FIFTY, "tenant").remaining == 50


def test_a_sliding_window_lets_go_of_the_last_one_by_and_by(counters: Counters, clock: Clock) -> None:
    limiter = SlidingWindowCounterRateLimiter(counters)
    clock.now = 60.0 * 30_000_000
    assert limiter.hit(FIFTY, "tenant", cost=50)
    clock.now += 60 + 30  # half of the last window still counts
    assert not limiter.hit(FIFTY, "tenant", cost=26)
    assert limiter.hit(FIFTY, "tenant", cost=25)
    assert counters.get_sliding_window(FIFTY.key_for("tenant"), 60) == (50, 30.0, 25, 90.0)


def test_a_refused_sliding_hit_costs_nothing(counters: Counters) -> None:
    assert not counters.acquire_sliding_window_entry("k", 5, 60, 6)
    assert counters.acquire_sliding_window_entry("k", 5, 60, 5)


def test_keys_do_not_meet_and_a_reset_forgets_all(counters: Counters) -> None:
    counters.incr("a", 60)
    counters.incr("b", 60, 2)
    counters.clear("a")
    assert (counters.get("a"), counters.get("b")) == (0, 2)
    assert counters.reset() == 1
    assert counters.get("b") == 0


def test_counts_survive_a_restart(counters: Counters, tmp_path: Path, clock: Clock) -> None:
    counters.incr("k", 60)
    counters.close()
    assert Counters(counters_uri(tmp_path), clock=clock).incr("k", 60) == 2


def test_ended_windows_are_purged_and_the_log_stays_short(counters: Counters, clock: Clock, tmp_path: Path) -> None:
    for number in range(4 * HITS_BETWEEN_CARE):
        clock.now += 1
        counters.incr(f"key {number}", 10)
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        assert connection.execute("SELECT count(*) FROM hits").fetchone()[0] <= 10
    assert (tmp_path / f"{FILE}-wal").stat().st_size < HITS_BETWEEN_CARE * 5 * 4200


def test_a_purge_that_fails_does_not_fail_the_hit(counters: Counters, clock: Clock, tmp_path: Path) -> None:
    counters.incr("old", 1)
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.execute("CREATE TRIGGER keep BEFORE DELETE ON hits BEGIN SELECT RAISE(FAIL, 'no'); END")
    clock.now += 2
    assert [counters.incr("k", 60) for _ in range(HITS_BETWEEN_CARE)][-1] == HITS_BETWEEN_CARE


def test_a_file_locked_by_another_is_an_error_soon_and_no_hang(counters: Counters, tmp_path: Path) -> None:
    counters.incr("k", 60)
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError):
            counters.incr("k", 60)
        assert not counters.check()
    assert counters.check()
    assert counters.incr("k", 60) == 2


def test_a_thread_that_never_gets_its_turn_gives_up_too(counters: Counters, tmp_path: Path) -> None:
    counters.incr("k", 60)
    failed: list[str] = []

    def work() -> None:
        try:
            counters.incr("k", 60)
        except sqlite3.OperationalError as error:
            failed.append(str(error))

    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        at_once(8, threading.Thread, work)
    assert len(failed) == 8


def test_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database" * 1000)
    counters = Counters(counters_uri(tmp_path))
    with pytest.raises(sqlite3.DatabaseError):
        counters.incr("k", 60)
    assert [counters.check(), counters.check()] == [False, True]
    assert counters.incr("k", 60) == 1
    counters.close()


def test_a_folder_that_cannot_be_made_is_an_error_the_limiter_knows(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    counters = Counters(counters_uri(tmp_path / "file"))
    assert not counters.check()
    with pytest.raises(counters.base_exceptions):
        counters.incr("k", 60)


def test_a_child_process_counts_on(counters: Counters) -> None:
    counters.incr("k", 60)
    counts = FORK.Queue()
    at_once(1, FORK.Process, lambda: counts.put(counters.incr("k", 60)))
    assert [counts.get(timeout=5), counters.incr("k", 60)] == [2, 3]
