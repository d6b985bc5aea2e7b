"""Each recommendation can be redone from the ledger's rows; traffic that is as it should be gets none."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, insert

from llmapi.core.calls import Target, Usage
from llmapi.core.money import UNPRICED, Cost
from llmapi.costs.budgets import Budgets
from llmapi.costs.prices import GenaiPrices
from llmapi.costs.recommendations import Advice, Recommendations
from llmapi.db.engine import writing
from llmapi.db.tables.budgets import balances
from llmapi.db.tables.jobs import jobs
from tests.costs.booked import NOON, Row, book, days, row
from tests.servers.databases import Database

DOLLAR = 10**9
PRICES = {
    "gemini/large": {"input": 10.0, "output": 40.0, "cached": 1.0},
    "gemini/small": {"input": 1.0, "output": 4.0, "cached": 0.1},
    "openai/tiny": {"input": 0.5, "output": 80.0},
}
CAN = frozenset({"chat"})
SMALL, LARGE = Target("gemini", "small", CAN), Target("gemini", "large", CAN)
TINY, UNKNOWN = Target("openai", "tiny", CAN), Target("openai", "unknown", CAN)
Look = Callable[..., list[Advice]]


class Prices(GenaiPrices):
    """The list, with batches at half the price."""

    def batch_cost(self, target: Target, usage: Usage) -> Cost:
        usual = self.cost(target, usage)
        return UNPRICED if usual.nanos is None else Cost(usual.nanos // 2, "priced")


@pytest.fixture
def engine(database: Database) -> Engine:
    return database.open()


@pytest.fixture
def look(engine: Engine) -> Look:
    def found(rows: list[Row], *candidates: Target, least: int = DOLLAR) -> list[Advice]:
        book(engine, rows)
        budgets = Budgets(engine, now=lambda: NOON)
        looking = Recommendations(
            engine, Prices(PRICES), budgets, candidates=lambda: candidates, least=least, now=lambda: NOON
        )
        return looking.of("default", 7).found

    return found


def calls(count: int, **more: Any) -> list[Row]:
    """Return calls of the last days as they should be: no two alike, of different lengths, with little to spare."""
    made = []
    for number in range(count):
        tokens = Usage(600 + 37 * (number % 60), 90 + number % 120)
        told = {"model": "small", "input_tokens": tokens.input_tokens, "output_tokens": tokens.output_tokens, **more}
        used = Usage(*(told.get(f"{kind}_tokens", 0) for kind in ("input", "output", "cached", "reasoning")))
        cost = Prices(PRICES).cost(Target("gemini", told["model"]), used).nanos
        made.append(row(NOON - days(6) * (number + 1) / count, **{"cost": cost, **told}))
    return made


def test_flat_traffic_gets_no_advice(look: Look) -> None:
    assert look(calls(400, model="small"), SMALL, LARGE, TINY, least=1) == []


def test_repeats_cost_what_all_but_the_dearest_asking_cost(look: Look) -> None:
    rows = calls(60, cost=DOLLAR)
    asked = [row(NOON - days(1), question="q" * 64, cost=cost * DOLLAR) for cost in range(1, 41)]
    others = [row(NOON - days(1), question="q" * 64, cost=DOLLAR, tenant="other") for _ in range(40)]
    (found,) = look([*rows, *asked, *others])
    assert (found.kind, found.saves) == ("cacheable_repeats", sum(range(1, 40)) * DOLLAR)
    assert found.numbers == {"questions": 1, "calls": 40, "saves_nanos": found.saves}


def test_the_cheapest_configured_model_is_priced_on_the_same_tokens(look: Look) -> None:
    rows = calls(500, model="large", cached_tokens=100, reasoning_tokens=20)
    (found,) = look(rows, LARGE, TINY, SMALL, UNKNOWN, least=1)
    price = {name: Decimal(str(value)) for name, value in PRICES["gemini/small"].items()}
    again = sum(
        price["input"] * (each["input_tokens"] - 100) + price["cached"] * 100 + price["output"] * each["output_tokens"]
        for each in rows
    )
    assert (found.kind, found.about["model"]) == ("cheaper_model", "large")
    assert found.saves == sum(each["cost"] for each in rows) - round(again * 1000)
    assert found.numbers["candidate"] == "gemini/small" and any("quality" in each for each in found.assumes)


def test_no_model_is_named_that_the_operator_has_not_configured(look: Look) -> None:
    assert look(calls(500, model="large"), least=1) == []
    assert look([], Target("gemini", "small", frozenset({"embeddings"})), LARGE, UNKNOWN, least=1) == []


def test_long_prompts_that_are_alike_are_better_read_from_the_vendors_cache(look: Look) -> None:
    rows = calls(100, model="large", key="key1", input_tokens=9000, max_tokens=300)
    rows += calls(100, model="large", key="key2", input_tokens=9000, max_tokens=300, cached_tokens=8000)
    (found,) = look(rows)
    assert (found.kind, found.about["key"]) == ("prompt_prefix", "key1")
    assert found.saves == 4500 * 99 * 9 * 1000


def test_max_tokens_far_above_every_answer_hold_room_back(look: Look) -> None:
    (found,) = look(calls(200, max_tokens=8192))
    sizes = sorted(90 + number % 120 for number in range(200))
    assert (found.kind, found.saves) == ("oversized_max_tokens", 0)
    assert (found.numbers["p99_output_tokens"], found.numbers["enough"]) == (sizes[197], 272)
    assert found.numbers["tokens_fewer_held"] == (8192 - 272) * 200


def test_calls_of_jobs_would_cost_less_as_batches(engine: Engine, look: Look) -> None:
    rows = calls(100, model="large", cost=DOLLAR)
    usual: Any = {"tenant": "default", "kind": "task", "status": "succeeded", "priority": 5, "run_at": NOON}
    usual |= {"max_attempts": 1, "arguments": "{}", "created": NOON}
    with writing(engine) as connection:
        connection.execute(
            insert(jobs), [{**usual, "id": f"job_{n}", "request_id": rows[n]["call_id"]} for n in range(50)]
        )
    (found,) = look(rows)
    assert (found.kind, found.numbers["calls"]) == ("batch", 50)
    assert found.saves == pytest.approx(25 * DOLLAR, rel=0.001)


def test_a_budget_that_is_hardly_used_is_told_late_in_its_window(engine: Engine, look: Look) -> None:
    def budget(at: Any, spent: int, **more: Any) -> str:
        made = Budgets(engine, now=lambda: at).create("default", amount=100 * DOLLAR, **more)
        start = NOON.replace(hour=0)
        with writing(engine) as connection:
            line = {"budget": made.id, "start": start, "spent": spent * DOLLAR, "held": 0, "told": "[]"}
            connection.execute(insert(balances), line)
        return made.id

    long_ago = NOON - days(90)
    unused = budget(long_ago, 9, window="rolling", seconds=86_400)
    budget(long_ago, 11, window="rolling", seconds=86_400)
    budget(NOON, 0, window="rolling", seconds=86_400)
    budget(long_ago, 0, window="day")  # half of it is still to come
    assert [each.about["budget"] for each in look([])] == [unused]


def test_pennies_are_not_worth_a_word(look: Look) -> None:
    asked = [row(NOON - days(1), question="q" * 64, cost=DOLLAR // 1000) for _ in range(200)]
    assert look(asked) == []


def test_a_few_calls_prove_nothing(look: Look) -> None:
    assert look([row(NOON - days(1), question="q" * 64, cost=DOLLAR, max_tokens=9999) for _ in range(19)], TINY) == []


def test_what_failed_or_was_kept_is_no_traffic_to_save_on(look: Look) -> None:
    asked: Any = {"question": "q" * 64}
    failed = [row(NOON - days(1), **asked, status="provider_timeout", cost=DOLLAR) for _ in range(50)]
    kept = [row(NOON - days(1), **asked, cache="hit", pricing="free", cost=0, saved=DOLLAR) for _ in range(50)]
    assert look([*failed, *kept, row(NOON - days(1), **asked, cost=DOLLAR)]) == []
