"""A price is exact to the nano-dollar, and no price is never zero."""

import sys
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmapi.core.calls import NOTHING, Target, Usage
from llmapi.core.errors import BadSetting
from llmapi.core.money import FREE, UNPRICED, Cost
from llmapi.costs.prices import GenaiPrices, Rates

NOW = datetime(2026, 11, 20, tzinfo=UTC)
MODELS = [
    ("gemini", "gemini-2.5-flash"),
    ("gemini", "gemini-flash-latest"),
    ("gemini", "gemini-2.5-pro"),  # dearer beyond 200,000 tokens
    ("openai", "gpt-4o-mini"),
    ("openai", "text-embedding-3-small"),
    ("perplexity", "sonar"),  # a fee for each request
    ("perplexity", "sonar-deep-research"),  # reasoning at its own price
]


@pytest.fixture
def prices():
    return GenaiPrices(now=lambda: NOW)


@pytest.mark.parametrize(("provider", "model"), MODELS)
@pytest.mark.parametrize("given_tokens", [1, 1000, 199_999, 200_000, 200_001, 900_000])
def test_a_price_is_what_the_list_itself_would_say(prices, provider, model, given_tokens):
    from genai_prices import Usage as Used
    from genai_prices import calc_price

    said = 0 if "embedding" in model else 777
    cost = prices.cost(Target(provider, model), Usage(given_tokens, said, given_tokens // 3, said // 7))
    used = Used(
        input_tokens=given_tokens,
        output_tokens=said,
        cache_read_tokens=given_tokens // 3,
        output_reasoning_tokens=said // 7,
    )
    theirs = calc_price(used, model, provider_id=provider, genai_request_timestamp=NOW).total_price
    assert cost.status == "priced" and cost.nanos is not None
    assert abs(Decimal(cost.nanos) - theirs * 10**9) <= Decimal("0.5")


def test_the_local_model_is_free_and_needs_no_list(prices):
    assert prices.cost(Target("local", "smollm2"), Usage(1000, 1000)) == FREE


@pytest.mark.parametrize("name", [("openai", "no-such-model"), ("nobody", "gpt-4o-mini"), ("gemini", "gemma-3")])
def test_a_model_without_a_price_is_unpriced_and_not_free(prices, name):
    assert prices.cost(Target(*name), Usage(1000, 1000)) == UNPRICED


def test_a_price_in_the_settings_comes_before_the_list():
    prices = GenaiPrices({"openai/gpt-4o-mini": {"input": 1, "output": 2.5}, "mine/free": {"input": 0, "output": 0}})
    assert prices.cost(Target("openai", "gpt-4o-mini"), Usage(1000, 100)) == Cost(1_250_000, "priced")
    assert prices.cost(Target("mine", "free"), Usage(1000, 100)) == FREE


@pytest.mark.parametrize(
    "rates", [{"input": 1}, {"input": 1, "output": -1}, {"input": 1, "output": float("nan")}, {"in": 1, "output": 1}]
)
def test_a_price_that_is_none_stops_the_start(rates):
    with pytest.raises(BadSetting, match="mine/model"):
        GenaiPrices({"mine/model": rates})


def test_half_a_nano_dollar_is_rounded_up():
    tenth = Rates(Decimal("0.0005"), Decimal(1))  # half a nano-dollar a token
    assert [tenth.cost(Usage(n)).nanos for n in (0, 1, 2, 3)] == [0, 1, 1, 2]


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))
def test_cached_and_reasoning_tokens_are_parts_and_never_charged_twice(given_tokens, said, cached, thought):
    flat = Rates(Decimal(2), Decimal(3), Decimal(2), Decimal(3))
    cost = flat.cost(Usage(given_tokens, said, cached, thought))
    assert cost.nanos == 2000 * given_tokens + 3000 * said


def test_an_answer_of_no_tokens_costs_nothing_but_stays_priced(prices):
    assert prices.cost(Target("gemini", "gemini-2.5-flash"), NOTHING) == Cost(0, "priced")


def test_the_list_is_read_from_the_package_and_never_from_the_network(prices):
    reached = []
    sys.addaudithook(lambda event, _: reached.append(event) if event == "socket.connect" and watching else None)
    watching = [True]
    prices.cost(Target("openai", "gpt-4o"), Usage(1, 1))
    prices.cost(Target("openai", "unknown"), Usage(1, 1))
    watching.clear()
    assert reached == []


def test_names_made_up_by_callers_do_not_fill_the_memory(prices):
    for number in range(2500):
        prices.cost(Target("openai", f"made-up-{number}"), Usage(1))
    assert len(prices._models) <= 1000


@given(st.integers(0, 10**6), st.integers(0, 10**5), st.integers(0, 10**6), st.integers(0, 10**5))
def test_what_tokens_cost_at_most_is_never_below_what_they_cost(given_tokens, said, cached, thought):
    dear = Rates(Decimal(2), Decimal(3), Decimal(5), Decimal(7), Decimal(1))
    cheap = Rates(Decimal(2), Decimal(3), Decimal("0.2"), None)
    for rates in (dear, cheap):
        cost = rates.cost(Usage(given_tokens, said, min(cached, given_tokens), min(thought, said)))
        assert cost.nanos <= rates.bound(Usage(given_tokens, said)).nanos


def test_the_prices_kept_of_a_call_are_those_it_was_computed_from(prices):
    target, usage = Target("gemini", "gemini-2.5-pro"), Usage(300_000, 1000)
    quote = prices.quote(target, usage)
    again = 300_000 * Decimal(quote["input"]) + 1000 * Decimal(quote["output"])
    assert prices.cost(target, usage).nanos == int(again * 1000)
    assert (quote["tier"], quote["date"], quote["source"].split()[0]) == (200_000, "2026-11-20", "genai-prices")
    mine = GenaiPrices({"mine/model": {"input": 1, "output": 2}}, now=lambda: NOW)
    assert mine.quote(Target("mine", "model"), usage)["source"] == "override"
    assert prices.quote(Target("local", "smollm2"), usage) is None
    assert prices.quote(Target("nobody", "knows"), usage) is None


def test_a_vendors_own_batches_are_cheaper_where_the_list_says_so(prices):
    target, usage = Target("anthropic", "claude-sonnet-4-5"), Usage(1000, 1000)
    assert prices.batch_cost(target, usage).nanos * 2 == prices.cost(target, usage).nanos
    assert prices.batch_cost(Target("local", "smollm2"), usage) == FREE
