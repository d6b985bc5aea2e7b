"""What callers see while providers fail in every way they do: a good answer, or a clear failure in time."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from typing import Any

import pytest
from pydantic import SecretStr

from llmapi.setting_tables import Limits, RouteRow
from tests.api.reading import events_of
from tests.fakes.behaviours import Answer, Close, Drip, Hang, Reset, Status
from tests.fakes.gemini import retry_info

TEXT = "/v1/text/generate"
MANY = Limits(text="1000000/minute")
PATIENCE = 10.0


@pytest.fixture
def house(make, openai_upstream) -> Callable[..., Any]:
    """A maker of services whose route `both` asks Gemini first and OpenAI then; rules of the route can be given."""

    def open_house(**rules: Any) -> Any:
        row = RouteRow(candidates=("gemini/gemini-flash-latest", "openai/gpt-4o-mini"), **rules)
        return make(
            routes={"both": row},
            openai_api_key=SecretStr("sk-fake"),
            openai_base_url=openai_upstream.base,
            breaker_rest=0.2,
            limits=MANY,
        )

    return open_house


def ask(client, number: int = 0, model: str = "both", **more: Any) -> Any:
    headers = more.pop("headers", {})
    asked = {"prompt": f"Question {number}", "model": model, **more}
    return client.application.test_client().post(TEXT, json=asked, headers=headers)


def storm(client, count: int, **more: Any) -> list[Any]:
    """Ask different questions from sixteen threads."""
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(lambda number: ask(client, number, **more), range(count)))


def statuses(answers) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


@pytest.mark.parametrize("failure", [503, 500, 401, Reset(), Close(), Status(429, details=retry_info("45s"))])
def test_with_a_first_provider_that_always_fails_every_call_is_answered_by_the_second(house, gemini, failure):
    gemini.default = failure
    client = house()
    assert statuses(storm(client, 200)) == {200: 200}
    assert len(gemini.asked) < 150  # its breaker opened


def test_a_thousand_of_a_thousand_calls_are_answered_and_the_first_provider_is_left_alone(house, gemini):
    gemini.default = 503
    client = house()
    begun = time.monotonic()
    assert statuses(storm(client, 1000)) == {200: 1000}
    probes = (time.monotonic() - begun) / 0.2 + 1
    assert len(gemini.asked) <= 20 + 3 * 16 + probes


def test_a_healed_provider_is_asked_again(house, gemini, openai_upstream):
    gemini.default = 503
    client = house()
    storm(client, 60)
    gemini.default = "Well again."
    end = time.monotonic() + PATIENCE
    number = 100
    while ask(client, number).json["provider"] != "gemini":
        number += 1
        assert time.monotonic() < end, "nobody went back"
    assert [ask(client, number + n).json["provider"] for n in range(1, 4)] == ["gemini"] * 3


def test_with_all_providers_down_calls_fail_at_once_and_say_when_to_come_back(house, gemini, openai_upstream):
    gemini.default = openai_upstream.default = 503
    client = house()
    answers = storm(client, 100)
    assert statuses(answers) == {503: 100}
    assert len(gemini.asked) + len(openai_upstream.asked) < 150
    last = ask(client, 1000)
    assert (last.json["code"], "Retry-After" in last.headers) == ("provider_unavailable", True)


def test_half_of_the_calls_failing_costs_at_most_a_fifth_more(make, gemini):
    rng, lock = random.Random(3), threading.Lock()

    def flip(_: Any) -> Any:
        with lock:
            return 503 if rng.random() < 0.5 else "Fine."

    gemini.behaviour = flip
    client = make(limits=MANY, breaker_ratio=1.0)
    answers = storm(client, 300, model="default")
    assert len(gemini.asked) <= 1.2 * 300
    assert statuses(answers)[200] > 130


@pytest.mark.parametrize("hint", [3, 45])
def test_no_retry_comes_earlier_than_asked_for(make, gemini, naps, hint):
    client = make(limits=MANY)
    gemini.script = [Status(429, details=retry_info(f"{hint}s")), "Fine."]
    assert ask(client, model="default").status_code == 200
    assert naps[0] >= hint


def test_a_hint_longer_than_the_callers_time_is_told_at_once(make, gemini, naps):
    client = make(limits=MANY)
    gemini.default = Status(429, details=retry_info("45s"))
    answer = ask(client, model="default", headers={"X-Request-Timeout": "5"})
    assert (answer.status_code, answer.headers["Retry-After"], naps) == (429, "45", [])


@pytest.mark.parametrize("slow", [Hang(), Drip(0.05), Drip(0.05, "headers")])
def test_a_provider_that_does_not_come_to_an_end_is_answered_for_in_time(house, gemini, slow):
    gemini.default = slow
    client = house()
    begun = time.monotonic()
    answer = ask(client, headers={"X-Request-Timeout": "0.5"})
    assert (answer.status_code, answer.json["code"]) == (504, "provider_timeout")
    assert time.monotonic() - begun < 3.0


@pytest.mark.parametrize("slow", [Hang(), Drip(0.05)])
def test_where_the_route_allows_it_the_next_provider_answers_for_one_that_hangs(house, gemini, slow):
    gemini.default = slow
    answer = ask(house(ask_in_doubt=True, attempt_timeout=0.3))
    assert (answer.status_code, answer.json["provider"]) == (200, "openai")
    assert answer.json["attempts"][0]["status"] == "provider_timeout"


def test_two_of_three_dead_providers_are_not_noticed(make, gemini, openai_upstream, anthropic_upstream):
    gemini.default, openai_upstream.default = Reset(), 503
    client = make(
        routes={"three": RouteRow(candidates=("gemini-flash-latest", "gpt-4o-mini", "claude-haiku-4-5"))},
        openai_api_key=SecretStr("sk-fake"),
        openai_base_url=openai_upstream.base,
        anthropic_api_key=SecretStr("sk-ant-fake"),
        anthropic_base_url=anthropic_upstream.url,
        limits=MANY,
    )
    answers = storm(client, 100, model="three")
    assert statuses(answers) == {200: 100}
    assert {answer.json["provider"] for answer in answers} == {"anthropic"}


def test_a_stream_that_fails_before_its_first_word_is_answered_by_the_next(house, gemini, openai_upstream):
    gemini.default = Answer("Never seen.", cut_after=0)
    openai_upstream.default = "All of it."
    events = events_of(ask(house(), stream=True).data)
    assert "".join(each.data["text"] for each in events if each.kind == "chunk") == "All of it."
    assert events[-1].kind == "done"


def test_a_stream_cut_anywhere_ends_without_a_word_twice(house, gemini, openai_upstream):
    words = tuple(f"w{number} " for number in range(12))
    other = tuple(f"v{number} " for number in range(12))
    rng, lock, client = random.Random(7), threading.Lock(), house()

    def cut(_: Any) -> Any:
        with lock:
            return Answer("", pieces=words, cut_after=rng.randrange(0, 14))

    gemini.behaviour, openai_upstream.default = cut, Answer("", pieces=other)
    for answer in storm(client, 150, stream=True):
        events = events_of(answer.data)
        said = "".join(each.data["text"] for each in events if each.kind == "chunk")
        assert "".join(words).startswith(said) or said == "".join(other)
        assert [each.kind for each in events if each.kind != "chunk"] in (["done"], ["error"])


def test_health_and_metrics_tell_of_an_open_breaker(house, gemini):
    gemini.default = 503
    client = house()
    storm(client, 60)
    gate = client.get("/health").json["dependencies"]["provider:gemini"]
    assert gate["status"] in ("down", "degraded")
    assert gate["breakers"][0]["state"] in ("open", "half_open")
    assert 'llmapi_breaker_open{model="gemini-flash-latest",provider="gemini"} 1.0' in client.get("/metrics").text


def test_more_calls_than_there_are_places_are_refused_at_once(make, gemini):
    gate = threading.Semaphore(0)
    gemini.default = Answer("Late.", pieces=("La", "te."), gate=gate)
    client = make(in_flight=4, queue_wait=0.02, limits=MANY)
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(ask, client, number, "default", stream=True) for number in range(12)]
        refused = [each.result() for each in islice(as_completed(asked, PATIENCE), 8)]
        for _ in range(100):
            gate.release()
        answers = [each.result(PATIENCE) for each in asked]
    assert {(answer.status_code, answer.json["code"]) for answer in refused} == {(503, "overloaded")}
    assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
    assert (statuses(answers), gemini.most_in_flight) == ({200: 4, 503: 8}, 4)
