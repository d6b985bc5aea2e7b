"""What counters of every kind promise: in memory, in a file, at Valkey and at PostgreSQL."""

import multiprocessing
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from limits import parse
from limits.strategies import MovingWindowRateLimiter

from llmapi.core.errors import BadSetting
from tests.db.counting import NOON, Clock, Place, charge

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_window_slides(place, clock):
    counters, two = place.open(clock), [charge(2)]
    assert counters.take(two).rooms == [(1, 60.0)]
    clock.now += 30
    assert counters.take(two).rooms == [(0, 30.0)]
    clock.now += 29
    assert counters.take(two) == (False, [(0, 1.0)])
    clock.now += 1
    assert counters.take(two) == (True, [(0, 30.0)])
    assert not counters.take(two).counted


def test_a_great_window_slides_in_64_parts(place, clock):
    counters, many = place.open(clock), [charge(128, 64.0)]
    clock.now = NOON - NOON % 64
    taken = []
    for _ in range(256):
        taken.append(counters.take(many))
        clock.now += 0.25
    assert [each.counted for each in taken].count(True) == 128
    assert taken[-1] == (False, [(0, 1.0)])  # the last hit of the first second came 0.75 s after its beginning


def test_all_limits_count_a_request_or_none_does(place, clock):
    counters = place.open(clock)
    wide, narrow = charge(5, key="wide"), charge(2, 10.0, key="narrow")
    answers = [counters.take([wide, narrow]) for _ in range(4)]
    assert [answer.counted for answer in answers] == [True, True, False, False]
    assert answers[3].rooms == [(3, 60.0), (0, 10.0)]
    clock.now += 10
    assert counters.take([narrow, wide]).rooms == [(1, 10.0), (2, 50.0)]


def test_a_clock_set_back_locks_nobody_out_for_longer_than_a_window(place, clock):
    counters, one = place.open(clock), [charge(1)]
    assert counters.take(one).counted
    clock.now -= 86_400
    assert counters.take(one) == (False, [(0, 60.0)])
    clock.now += 59
    assert counters.take(one) == (False, [(0, 1.0)])
    clock.now += 1
    assert counters.take(one).counted


def test_a_hit_of_several_is_counted_whole_or_not(place, clock):
    counters, five = place.open(clock), [charge(5)]
    assert counters.take(five, 3).rooms == [(2, 60.0)]
    assert counters.take(five, 3) == (False, [(2, 60.0)])
    assert counters.take(five, 2).counted


def test_the_library_s_moving_window_works_on_it(place, clock):
    counters, rule = place.open(clock), parse("3/minute")
    limiter = MovingWindowRateLimiter(counters)
    assert [limiter.hit(rule, "k", cost=2), limiter.hit(rule, "k", cost=2), limiter.hit(rule, "k")] == [1, 0, 1]
    clock.now += 20
    assert limiter.get_window_stats(rule, "k") == (NOON + 60, 0)
    assert (limiter.test(rule, "k"), limiter.test(rule, "else")) == (False, True)
    assert limiter.get_window_stats(rule, "else") == (clock.now + 60, 3)


def test_another_strategy_is_refused_in_words(place):
    for ask in (place.open().incr, lambda key, _: place.open().get(key), lambda key, _: place.open().get_expiry(key)):
        with pytest.raises(BadSetting, match="moving-window"):
            ask("k", 60)


def test_a_key_can_be_cleared_and_so_can_all(place, clock):
    counters = place.open(clock)
    for key in "abc":
        counters.take([charge(1, key=key)])
    counters.clear("a")
    assert [counters.take([charge(1, key=key)]).counted for key in "ab"] == [True, False]
    assert (counters.reset(), counters.reset()) == (3, 0)
    assert counters.check()


def test_by_its_own_clock_it_knows_the_time(place):
    counters = place.open()
    counters.take([charge(1)])
    assert abs(counters.now() - time.time()) < 1
    assert abs(counters.get_moving_window("k", 1, 60)[0] - time.time()) < 1


@pytest.mark.parametrize("place", ["memory", "file", "postgresql"], indirect=True)
def test_windows_that_are_over_are_thrown_away(place, clock):
    counters = place.open(clock)
    for number in range(1200):
        clock.now += 1
        counters.take([charge(1, 10.0, key=f"k{number}")])
    assert counters.reset() <= 700


def hammer(place: Place, seconds: float, levels: int) -> list[tuple[float, float]]:
    """Ask without a pause; returns between which moments each hit that was let pass was counted."""
    counters, passed = place.open(), []
    charges = [charge(40 + level, 0.25, key=f"level {level}") for level in range(levels)]
    random.shuffle(charges)
    end = time.monotonic() + seconds
    while (begin := time.monotonic()) < end:
        if counters.take(charges).counted:
            passed.append((begin, time.monotonic()))
        else:
            time.sleep(random.uniform(0, 0.002))
    place.close()
    return passed


def at_once(number: int, make: Callable[..., Any], work: Callable[[], None]) -> None:
    workers = [make(target=work) for _ in range(number)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)


def test_eight_at_once_never_get_more_in_any_window_and_nearly_all_there_is(place):
    if place.kind == "memory":
        shared = place.open()
        place.open = lambda: shared  # type: ignore[method-assign]
    make, told = (threading.Thread, FORK.SimpleQueue())
    if place.kind != "memory":
        make = FORK.Process
    found: list[list[tuple[float, float]]] = []
    reader = threading.Thread(target=lambda: found.extend(told.get() for _ in range(8)))
    reader.start()
    at_once(8, make, lambda: told.put(hammer(place, 1.0, levels=3)))
    reader.join(10)
    passed = sorted(hit for each in found for hit in each)
    assert_never_more(passed, 40, 0.25)
    assert len(passed) >= 0.95 * 40 * 4


def assert_never_more(passed: list[tuple[float, float]], limit: int, span: float) -> None:
    """No `limit` + 1 hits were for certain counted within less than a span."""
    for first in range(len(passed) - limit):
        within = passed[first : first + limit + 1]
        assert max(end for _, end in within) - min(begin for begin, _ in within) >= span
