"""The promise of the windows, tried against a plain list of times."""

from array import array
from itertools import accumulate

from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmapi.db.process_counters import ProcessCounters
from llmapi.db.sliding import SLOTS, Charge, take_from
from tests.db.counting import NOON, Clock, charge

SPAN = 64.0  # seconds: the parts of a window begin at whole seconds
PAUSES = st.lists(st.one_of(st.integers(0, 8 * 64).map(lambda n: n / 64), st.just(63.0), st.just(0.0)), max_size=200)


def accepted(limit: int, times: list[float], amount: int = 1) -> list[float]:
    """Return the times of the hits that were let pass."""
    log = array("d")
    return [now for now in times if take_from([log], [Charge("k", limit, SPAN)], amount, now)[0].counted]


def most_at_once(hits: list[float]) -> int:
    """Return the most hits of any window [t, t + SPAN)."""
    return max((sum(0 <= later - first < SPAN for later in hits) for first in hits), default=0)


@given(PAUSES, st.integers(1, 130))
@example([0.0] * 200, 65)
@settings(max_examples=150, deadline=None)
def test_no_window_ever_holds_more_than_the_limit(pauses, limit):
    assert most_at_once(accepted(limit, list(accumulate(pauses, initial=NOON)))) <= limit


@given(PAUSES, st.integers(1, 64))
@settings(max_examples=100, deadline=None)
def test_small_limits_are_exact(pauses, limit):
    hits: list[float] = []
    times = list(accumulate(pauses, initial=NOON))
    for now in times:
        if sum(now - hit < SPAN for hit in hits) < limit:
            hits.append(now)
    assert accepted(limit, times) == hits


@given(st.integers(65, 400), st.integers(1, 4), st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_under_demand_nearly_all_of_a_great_limit_is_had(limit, hunger, shift):
    pause = SPAN / limit / (1 + hunger / 4)  # demand of 1.25 to 2 times the limit
    times = [NOON + shift / 1000 + number * pause for number in range(int(4 * SPAN / pause))]
    hits = accepted(limit, times)
    assert len(hits) >= 0.95 * limit * 4
    assert most_at_once(hits) <= limit


@given(PAUSES, st.integers(1, 130), st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_who_waits_as_long_as_told_is_let_in_and_nobody_earlier(pauses, limit, amount):
    log, asked = array("d"), [charge(limit + amount, SPAN)]
    for now in accumulate(pauses, initial=NOON):
        taken, _ = take_from([log], asked, amount, now)
        if not taken.counted:
            wait = taken.rooms[0].wait
            assert not take_from([array("d", log)], asked, amount, now + wait - 1 / 1024)[0].counted
            assert take_from([array("d", log)], asked, amount, now + wait)[0].counted


@given(PAUSES, st.integers(1, 1000))
@settings(max_examples=50, deadline=None)
def test_a_window_stays_small(pauses, limit):
    log = array("d")
    for now in accumulate(pauses * 4, initial=NOON):
        take_from([log], [charge(limit, SPAN)], 1, now)
    assert len(log) <= 2 * (SLOTS + 2)


def test_a_memory_full_of_windows_forgets_those_that_are_over():
    clock = Clock()
    counters = ProcessCounters(clock=clock)
    for number in range(5000):
        clock.now += 0.1
        counters.take([charge(5, 60.0, f"k{number}")])
    assert counters.reset() < 2500
