"""What every engine of answers promises."""

import threading
from typing import Any

import pytest

from llmapi.cache import open_cache
from llmapi.cache.memory import steady
from llmapi.core.calls import Completion, TokenLogprobs, Usage
from llmapi.core.contracts import AnswerCache
from llmapi.core.errors import BadSetting
from tests.cache.conftest import Clock

ANSWER = Completion("Spam.", Usage(9, 2), "stop", (TokenLogprobs("Spam", -0.1, (("Ham", -2.3),)),))


@pytest.fixture(params=["memory://"])
def cache(request: pytest.FixtureRequest, clock: Clock) -> AnswerCache:
    return open_cache(request.param, entries=3, ttl=60.0, clock=clock, spread=steady)


def put(cache: AnswerCache, key: str, text: str = "x", ttl: float | None = None) -> None:
    cache.put(key, Completion(text), provider="p", model="m", ttl=ttl)


def text_of(cache: AnswerCache, key: str) -> str | None:
    kept = cache.get(key)
    return None if kept is None else kept.completion.text


def test_a_kept_answer_comes_back_whole_with_who_gave_it_and_its_age(cache: AnswerCache, clock: Clock) -> None:
    cache.put("k", ANSWER, provider="gemini", model="flash")
    clock.now += 12.5
    kept = cache.get("k")
    assert kept is not None
    assert (kept.completion, kept.provider, kept.model, kept.age, kept.ttl) == (ANSWER, "gemini", "flash", 12.5, 60.0)


def test_an_answer_lives_for_its_ttl_and_no_longer(cache: AnswerCache, clock: Clock) -> None:
    put(cache, "k")
    clock.now += 59.9
    assert text_of(cache, "k") == "x"
    clock.now += 0.1
    assert text_of(cache, "k") is None


@pytest.mark.parametrize(("wish", "kept_for"), [(5.0, 5.0), (600.0, 60.0)])
def test_an_answer_may_be_kept_for_less_than_the_setting_but_not_for_more(
    cache: AnswerCache, clock: Clock, wish: float, kept_for: float
) -> None:
    put(cache, "k", ttl=wish)
    clock.now += kept_for - 0.1
    assert text_of(cache, "k") == "x"
    clock.now += 0.1
    assert text_of(cache, "k") is None


def test_an_answer_of_no_ttl_is_not_kept_and_takes_the_old_one_away(cache: AnswerCache) -> None:
    put(cache, "k", "old")
    put(cache, "k", "new", ttl=0.0)
    assert text_of(cache, "k") is None


def test_a_full_cache_drops_what_was_used_longest_ago(cache: AnswerCache) -> None:
    for key in "abc":
        put(cache, key)
    cache.get("a")
    put(cache, "d")
    assert [key for key in "abcd" if cache.get(key)] == ["a", "c", "d"]


def test_stats_count_the_living_and_the_thrown_out(cache: AnswerCache, clock: Clock) -> None:
    for key in "abcd":
        put(cache, key)
    assert {**cache.stats(), "bytes": 0} == {"entries": 3, "capacity": 3, "evictions": 1, "bytes": 0}
    clock.now += 60.0
    assert dict(cache.stats()) == {"entries": 0, "capacity": 3, "evictions": 1, "bytes": 0}


def test_a_kept_answer_cannot_be_changed_by_who_gave_it(cache: AnswerCache) -> None:
    vector: Any = [1.0, 0.0]
    cache.put("k", Completion(vectors=(vector,)), provider="p", model="m")
    vector[0] = 9.0
    kept = cache.get("k")
    assert kept is not None and kept.completion.vectors == ((1.0, 0.0),)


def test_threads_may_use_it_at_once(cache: AnswerCache) -> None:
    start, failures = threading.Barrier(8), []

    def work(number: int) -> None:
        start.wait(5)
        for turn in range(200):
            put(cache, f"{(number + turn) % 5}", str(number))
            if (text_of(cache, f"{turn % 5}") or "0") not in "01234567" or cache.stats()["entries"] > 3:
                failures.append(turn)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert failures == []


@pytest.mark.parametrize("url", ["shelf://here", "memory", ""])
def test_an_unknown_engine_stops_the_start(url: str) -> None:
    with pytest.raises(BadSetting, match="cache_url"):
        open_cache(url, entries=3, ttl=60.0)


@pytest.mark.parametrize(("entries", "ttl"), [(0, 60.0), (3, 0.0)])
def test_a_cache_without_room_or_time_stops_the_start(entries: int, ttl: float) -> None:
    with pytest.raises(BadSetting, match="cache_entries"):
        open_cache("memory://", entries=entries, ttl=ttl)
