"""What kept answers saved."""

import pytest

from llmapi.cache.savings import Calls, savings_of


def calls(cache: str, requests: int, duration: float = 0.0, **more) -> Calls:
    return Calls(**{"cache": cache, "task": "text", "provider": "p", "model": "m", **more},
                 requests=requests, duration=duration)  # fmt: skip


def test_calls_are_counted_by_what_the_cache_did():
    found = savings_of([calls("hit", 3), calls("semantic", 2), calls("coalesced", 1), calls("miss", 4),
                        calls("bypass", 5)])  # fmt: skip
    assert found.by_kind == {"exact": 3, "semantic": 2, "coalesced": 1, "miss": 4, "bypass": 5}
    assert found.share == 0.6


def test_time_saved_is_what_misses_took_less_what_kept_answers_took():
    found = savings_of([calls("miss", 2, 3.0), calls("bypass", 2, 5.0), calls("hit", 10, 0.5)])
    assert found.seconds == pytest.approx(10 * 2.0 - 0.5)


def test_time_is_told_by_misses_of_the_same_task_and_model_alone():
    every = [calls("miss", 1, 3.0), calls("hit", 10, 0.5, model="other"), calls("hit", 10, 0.5, task="code")]
    assert savings_of(every).seconds == 0.0


def test_waiting_for_another_call_never_costs_time():
    assert savings_of([calls("miss", 1, 1.0), calls("coalesced", 1, 1.5)]).seconds == 0.0


def test_failures_alone_tell_no_time():
    assert savings_of([calls("miss", 2, 9.0, failures=2), calls("hit", 1)]).seconds == 0.0


def test_money_is_what_the_ledger_says_was_saved():
    assert savings_of([calls("hit", 1, saved=1200), calls("coalesced", 1, saved=34), calls("miss", 1)]).money == 1234


def test_nothing_asked_has_no_share():
    assert (savings_of([]).share, savings_of([calls("bypass", 3)]).share) == (None, None)
