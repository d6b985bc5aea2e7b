"""Counts of a single process: exact, forgotten when their window is over, bounded."""

import threading

import pytest
from limits import parse
from limits.strategies import FixedWindowRateLimiter

from llmapi.db.process_counters import HITS_BETWEEN_CARE, ProcessCounters


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counters(clock: Clock) -> ProcessCounters:
    return ProcessCounters(clock=clock)


def test_a_window_begins_with_its_first_hit_and_ends_after_its_length(counters, clock):
    assert counters.hit("k", 60) == (1, 1060.0)
    clock.now = 1059.9
    assert counters.hit("k", 60) == (2, 1060.0)
    clock.now = 1060.0
    assert counters.hit("k", 60) == (1, 1120.0)


def test_a_clock_that_was_set_back_does_not_lock_anybody_out(counters, clock):
    counters.hit("k", 60)
    clock.now = 10.0
    assert counters.hit("k", 60) == (1, 70.0)


def test_the_library_s_strategy_works_on_it(counters):
    limiter, rule = FixedWindowRateLimiter(counters), parse("2/minute")
    assert [limiter.hit(rule, "k") for _ in range(3)] == [True, True, False]
    assert limiter.get_window_stats(rule, "k").remaining == 0


def test_sixteen_threads_against_a_limit_get_exactly_that_many(counters):
    together, counts = threading.Barrier(16), []

    def hit() -> None:
        together.wait()
        counts.extend(counters.hit("k", 60)[0] for _ in range(100))

    threads = [threading.Thread(target=hit) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts) == list(range(1, 1601))


def test_windows_that_are_over_are_thrown_away(counters, clock):
    for number in range(HITS_BETWEEN_CARE - 1):
        counters.hit(f"k{number}", 60)
    clock.now += 61
    counters.hit("last", 60)
    assert counters.reset() == 1


def test_a_key_can_be_cleared(counters):
    counters.hit("k", 60)
    counters.clear("k")
    assert (counters.get("k"), counters.check()) == (0, True)
