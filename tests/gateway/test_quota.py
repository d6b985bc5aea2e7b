"""A call may use what its limits leave: held before a provider is asked, and only what was used stays counted."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from llmapi.core.calls import CacheWish, Chunk, Completion, Target, Usage
from llmapi.core.errors import (
    BeyondLimit,
    LlmApiError,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    UnpricedModel,
)
from llmapi.core.identity import Payer
from llmapi.core.ids import new_id
from llmapi.core.money import FREE, UNPRICED, Cost
from llmapi.core.reply import Handler
from llmapi.costs.tokens import bounded_input
from llmapi.db.engine import open_engine
from llmapi.db.tables import metadata
from llmapi.db.tables.limits import counts, holds
from llmapi.gateway.quota import Quota
from llmapi.gateway.recipe import build_gateway
from llmapi.tenants.quotas import Demand, Quotas
from llmapi.tenants.windows import MONTH, Limit
from tests.gateway.conftest import HELLO, ScriptedProvider, a_call, run
from tests.jobs.parts import Clock

DAY = Limit("tenant", "tokens", 86_400, 10_000)
REQUESTS = Limit("tenant", "requests", MONTH, 100)
MONEY = Limit("tenant", "nanos", MONTH, 10_000_000)
ALL = (DAY, REQUESTS, MONEY)
INPUT = bounded_input(a_call())


class Pennies:
    """A thousand nano-dollars a token; "free" is free, "unknown" is unknown."""

    def cost(self, target: Target, usage: Usage) -> Cost:
        if target.provider == "free":
            return FREE
        return UNPRICED if target.provider == "unknown" else Cost(1000 * usage.total_tokens, "priced")

    bound = cost


@dataclass
class Given:
    limits: tuple[Limit, ...] = ALL

    def of(self, tenant: str, payer: Payer, target: Target) -> tuple[Limit, ...]:
        return self.limits


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine("", folder=tmp_path / "data")
    metadata.create_all(engine, tables=[counts, holds])
    yield engine
    engine.dispose()


@pytest.fixture
def time() -> Clock:
    return Clock()


@pytest.fixture
def quotas(engine: Engine, time: Clock) -> Quotas:
    return Quotas(engine, now=time)


@pytest.fixture
def given() -> Given:
    return Given()


@pytest.fixture
def gateway(provider: ScriptedProvider, cache: Any, bus: Any, prices: Any, quotas: Quotas, given: Given) -> Handler:
    return build_gateway(
        providers={name: provider for name in ("p", "free", "unknown", "stored")},
        cache=cache,
        bus=bus,
        prices=prices,
        quota=Quota(quotas, given, Pennies(), own_key_at),
        keys=own_key_at,
        sleep=lambda *_: None,
        jitter=lambda: 1.0,
    )


def own_key_at(tenant: str, provider: str) -> str:
    return "key-of-acme" if (tenant, provider) == ("acme", "stored") else ""


def used(quotas: Quotas, *limits: Limit) -> list[int]:
    """Return what is counted, by holding nothing."""
    hold = quotas.hold(new_id("look"), "acme", [Demand(limit, 0) for limit in limits or ALL], 1.0)
    quotas.settle(hold, {"tokens": 0, "requests": 0, "nanos": 0})
    return [standing.used for standing in hold.standings]


def test_an_answer_counts_what_it_used(gateway: Handler, quotas: Quotas) -> None:
    gateway(a_call()).completion()
    assert used(quotas) == [7, 1, 7000]


def test_the_most_it_may_use_is_held_while_it_is_asked(
    gateway: Handler, provider: ScriptedProvider, quotas: Quotas
) -> None:
    provider.script = [[lambda _: seen.extend(used(quotas)), Chunk("Hi", Usage(3, 1), "stop")]]
    seen: list[int] = []
    gateway(a_call(max_tokens=50)).completion()
    assert seen == [INPUT + 50, 1, 1000 * (INPUT + 50)]
    assert used(quotas) == [4, 1, 4000]


def test_kept_and_shared_answers_use_nothing(gateway: Handler, provider: ScriptedProvider, quotas: Quotas) -> None:
    gateway(a_call()).completion()
    gateway(a_call()).completion()
    assert (len(provider.asked), used(quotas)) == (1, [7, 1, 7000])
    refresh = a_call(cache=CacheWish("refresh"))
    one, two = gateway(refresh), gateway(refresh)  # the second joins the first
    assert [one.completion(), two.completion()] == [HELLO, HELLO]
    assert (len(provider.asked), used(quotas)) == (2, [14, 2, 14000])


@pytest.mark.parametrize(
    ("limit", "error"),
    [(Limit("key:k", "tokens", 60, 10_000), RateLimited), (Limit("tenant", "tokens", MONTH, 10_000), QuotaExceeded)],
)
def test_beyond_it_nobody_is_asked(
    gateway: Handler, provider: ScriptedProvider, given: Given, limit: Limit, error: type[LlmApiError], bus: Any
) -> None:
    given.limits = (limit,)
    provider.script = [Completion("Long.", Usage(5000, 4900), "stop")]
    gateway(a_call()).completion()
    with pytest.raises(error):
        gateway(a_call(max_tokens=200, cache=CacheWish("bypass")))
    assert len(provider.asked) == 1
    assert [event.status for event in bus.events] == ["ok", error.code]
    gateway(a_call()).completion()  # a kept answer is given all the same


def test_a_question_larger_than_the_limit_is_told_so(gateway: Handler, provider: ScriptedProvider) -> None:
    with pytest.raises(BeyondLimit) as caught:
        gateway(a_call(max_tokens=10_000))
    assert caught.value.details["requested"] == INPUT + 10_000
    assert provider.asked == []


def test_a_stream_that_is_left_counts_its_input_and_what_was_heard(
    gateway: Handler, provider: ScriptedProvider, quotas: Quotas
) -> None:
    provider.script = [[Chunk("Hel"), Chunk("lo"), Chunk(" world", Usage(5, 3), "stop")]]
    reply = gateway(a_call(stream=True))
    chunks = iter(reply)
    assert [next(chunks).text, next(chunks).text] == ["Hel", "lo"]
    reply.close()
    assert used(quotas) == [INPUT + len("Hello"), 1, 1000 * (INPUT + 5)]


def test_a_stream_nobody_read_gives_back_what_it_held(
    gateway: Handler, provider: ScriptedProvider, quotas: Quotas
) -> None:
    provider.script = [[Chunk("Hel", Usage(5, 1)), Chunk("lo")]]
    gateway(a_call(stream=True)).close()
    assert used(quotas)[0] < INPUT + 256


def test_a_stream_that_breaks_counts_what_is_known_of_it(
    gateway: Handler, provider: ScriptedProvider, quotas: Quotas
) -> None:
    provider.script = [[Chunk("Hel", Usage(5, 1)), ProviderUnavailable("gone", usage=Usage(5, 2))]]
    with pytest.raises(ProviderUnavailable):
        gateway(a_call(stream=True)).completion()
    assert used(quotas) == [7, 1, 7000]


def test_failed_attempts_count_what_they_were_billed(
    gateway: Handler, provider: ScriptedProvider, quotas: Quotas
) -> None:
    provider.script = [ProviderUnavailable("x", usage=Usage(4, 0)), HELLO]
    gateway(a_call()).completion()
    assert used(quotas) == [11, 1, 11_000]


@pytest.mark.parametrize("unit", ["tokens", "nanos"])
def test_it_is_asked_again_only_if_there_is_room_beside_what_failed_attempts_were_billed(
    gateway: Handler, provider: ScriptedProvider, quotas: Quotas, given: Given, unit: Any
) -> None:
    price = 1000 if unit == "nanos" else 1
    enough = Limit("tenant", unit, MONTH, (INPUT + 256 + 4) * price)
    seen: list[int] = []
    billed = ProviderUnavailable("x", usage=Usage(4, 0))
    provider.script = [billed, [lambda _: seen.extend(used(quotas, enough)), Chunk("Hi", Usage(3, 1), "stop")]]
    given.limits = (REQUESTS, enough)
    gateway(a_call()).completion()
    assert (seen, used(quotas, *given.limits)) == ([enough.most], [1, 8 * price])
    provider.script = [billed, billed]
    provider.asked.clear()
    given.limits = (replace(enough, most=enough.most + 8 * price - 1),)
    with pytest.raises(QuotaExceeded) as caught:
        gateway(a_call(cache=CacheWish("bypass")))
    assert [attempt.status for attempt in caught.value.attempts] == ["provider_unavailable", "quota_exceeded"]
    assert (len(provider.asked), used(quotas, enough)) == (1, [12 * price])


def test_a_failure_gives_all_back_but_the_request(
    gateway: Handler, provider: ScriptedProvider, quotas: Quotas
) -> None:
    provider.script = [ProviderUnavailable("x")]
    with pytest.raises(ProviderUnavailable):
        gateway(a_call())
    assert used(quotas) == [0, 1, 0]


def test_an_asking_in_doubt_counts_its_input(gateway: Handler, provider: ScriptedProvider, quotas: Quotas) -> None:
    provider.script = [ProviderTimeout("slow")]
    with pytest.raises(ProviderTimeout):
        gateway(a_call())
    assert used(quotas)[:2] == [INPUT, 1]


def test_a_mistake_of_ours_holds_nothing_for_ever(gateway: Handler, provider: ScriptedProvider, quotas: Quotas) -> None:
    provider.script = [ZeroDivisionError()]
    with pytest.raises(ZeroDivisionError):
        gateway(a_call())
    assert used(quotas) == [0, 1, 0]


def test_money_is_not_used_by_free_models_and_own_keys(gateway: Handler, quotas: Quotas) -> None:
    gateway(a_call(targets=(Target("free", "m"),))).completion()
    gateway(a_call(provider_key="sk-mine", cache=CacheWish("bypass"))).completion()
    gateway(a_call(targets=(Target("stored", "m"),), cache=CacheWish("bypass"))).completion()
    assert used(quotas) == [21, 3, 0]


def test_a_model_without_a_price_is_refused_where_money_is_limited(
    gateway: Handler, provider: ScriptedProvider, given: Given
) -> None:
    unknown = a_call(targets=(Target("unknown", "m"),))
    with pytest.raises(UnpricedModel):
        gateway(unknown)
    given.limits = (DAY, REQUESTS)
    assert gateway(unknown).completion() == HELLO
    assert len(provider.asked) == 1


def test_a_killed_workers_call_is_given_back_after_twice_its_time(
    gateway: Handler, quotas: Quotas, time: Clock
) -> None:
    reply = gateway(a_call(max_tokens=5000))  # a minute to live; nobody will ever read it
    time.forward(124)
    assert used(quotas)[0] == INPUT + 5000
    time.forward(2)
    quotas.reclaim()
    assert used(quotas) == [0, 0, 0]
    assert not reply.completed


def test_calls_at_once_never_use_more_than_there_is(
    gateway: Handler, provider: ScriptedProvider, given: Given, quotas: Quotas
) -> None:
    given.limits = (Limit("tenant", "requests", 60, 10),)

    def ask() -> None:
        gateway(a_call(cache=CacheWish("bypass"))).completion()

    refused = [error for error in run(*[ask] * 40) if error is not None]
    assert (len(provider.asked), len(refused)) == (10, 30)
    assert {type(error) for error in refused} == {RateLimited}


def test_who_is_under_no_limit_touches_no_storage(gateway: Handler, given: Given, engine: Engine) -> None:
    given.limits = ()
    with engine.begin() as connection:
        counts.drop(connection)
        holds.drop(connection)
    assert gateway(a_call()).completion() == HELLO
