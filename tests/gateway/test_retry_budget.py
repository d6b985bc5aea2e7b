"""Retries are a share of what is sent, over a rolling window, for the whole process."""

import pytest

from llmapi.gateway.retry_budget import RetryBudget
from llmapi.gateway.rolling import Rolling
from tests.gateway.conftest import run


@pytest.fixture
def budget(clock):
    return RetryBudget(0.2, 60.0, 10, clock)


def sent(budget, firsts, retries):
    """Return how many of the retries were allowed."""
    for _ in range(firsts):
        budget.first()
    return sum(budget.take() for _ in range(retries))


def test_a_small_service_may_still_retry(budget):
    assert sent(budget, 1, 15) == 10


def test_a_busy_one_retries_a_fifth_of_what_it_sends(budget):
    assert sent(budget, 1000, 500) == 200
    assert budget.state() == {"firsts": 1000, "retries": 200, "allowed": 200}


def test_what_is_older_than_the_window_is_forgotten(budget, clock):
    sent(budget, 1000, 500)
    clock.now += 30
    assert budget.state()["retries"] == 200
    clock.now += 31
    assert budget.state() == {"firsts": 0, "retries": 0, "allowed": 10}
    assert sent(budget, 1, 15) == 10


def test_a_steady_load_gets_its_share_in_every_minute(budget, clock):
    allowed = 0
    for _ in range(6000):
        clock.now += 0.05
        allowed += sent(budget, 1, 1)
    assert 1100 <= allowed <= 1250


def test_many_threads_together_get_no_more_than_one_alone(budget):
    sent(budget, 500, 0)
    allowed = run(*[lambda: sent(budget, 0, 50)] * 16)
    assert sum(allowed) == 100


def test_counts_need_the_same_room_however_many_they_are():
    counts = Rolling(10.0)
    for number in range(50_000):
        counts.add(number % 2, number * 0.01)
    assert [len(counts._ring), sum(map(sum, counts._ring))] == [10, sum(counts.sums(499.99))]
    assert 900 <= sum(counts.sums(499.99)) <= 1000


def test_a_count_is_taken_back_only_while_it_is_remembered():
    counts = Rolling(10.0)
    slot = counts.add(0, 100.0)
    counts.add(0, 105.0)
    counts.take_back(0, slot, 106.0)
    assert counts.sums(106.0) == (1, 0)
    counts.take_back(0, slot, 111.0)
    assert counts.sums(111.0) == (1, 0)


def test_a_clock_read_a_little_late_goes_to_the_newest_slot():
    counts = Rolling(10.0)
    counts.add(0, 105.0)
    counts.add(1, 103.0)
    assert counts.sums(103.0) == (1, 1)
