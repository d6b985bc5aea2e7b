"""Which limits a call is under: its tenant's plan, its key's own, or what is set for all."""

from dataclasses import replace

import pytest
from sqlalchemy import insert

from llmapi.core.calls import Target
from llmapi.core.errors import BadSetting
from llmapi.core.identity import NOBODY, Payer
from llmapi.db.engine import writing
from llmapi.db.tables.identity import tenants
from llmapi.tenants.allowances import Allowances, PlanNames, Tokens, Usual, level, model_limits
from llmapi.tenants.plans import Monthly, Plan, Plans
from llmapi.tenants.windows import MONTH, Limit
from tests.jobs.parts import Clock
from tests.servers.databases import Database

TARGET = Target("p", "m")
USUAL = Usual(Tokens(100, 1000), Tokens(10, 0), Tokens(0, 5))
GOLD = Plan("gold", tokens_per_minute=7, monthly=Monthly(requests=3, nanos=5))
PAYER = Payer("", "k1", "ann")


def test_what_is_set_for_all_holds_for_tenants_keys_and_users() -> None:
    assert Allowances(USUAL).of("acme", PAYER, TARGET) == (
        Limit("tenant", "tokens", 60, 100),
        Limit("tenant", "tokens", 86_400, 1000),
        Limit("key:k1", "tokens", 60, 10),
        Limit("user:ann", "tokens", 86_400, 5),
    )
    assert Allowances(Usual(), lambda *_: None).of("acme", PAYER, TARGET) == ()


def test_a_plan_stands_in_place_of_it_also_where_it_names_nothing() -> None:
    found = Allowances(USUAL, lambda tenant, key: None if key else GOLD).of("acme", replace(PAYER, user=""), TARGET)
    assert found == (
        Limit("tenant", "tokens", 60, 7),
        Limit("tenant", "requests", MONTH, 3),
        Limit("tenant", "nanos", MONTH, 5),
        Limit("key:k1", "tokens", 60, 10),
    )


def test_a_keys_own_plan_holds_for_the_key_and_the_tenants_for_all_of_its_keys() -> None:
    bronze = Plan("bronze", monthly=Monthly(tokens=0))
    found = Allowances(Usual(), lambda tenant, key: bronze if key else GOLD).of("acme", PAYER, TARGET)
    assert [limit.name for limit in found] == [
        "tenant/tokens/60",
        "tenant/requests/0",
        "tenant/nanos/0",
        "key:k1/tokens/0",
    ]
    assert found[-1].most == 0  # nothing at all, which is not the same as no limit


def test_a_models_limits_hold_for_each_tenant_that_asks_for_it() -> None:
    usual = Usual(models=model_limits({"p/m": "100/minute; 5000 tokens/2 hours"}))
    assert Allowances(usual).of("acme", NOBODY, TARGET) == (
        Limit("model:p/m", "requests", 60, 100),
        Limit("model:p/m", "tokens", 7200, 5000),
    )
    assert Allowances(usual).of("acme", NOBODY, Target("p", "other")) == ()


@pytest.mark.parametrize(
    ("name", "words"), [("p/m", "often"), ("m", "1/minute"), ("p/m", ""), ("p/m", "1/minute,2/day")]
)
def test_words_that_are_no_limit_stop_the_start(name: str, words: str) -> None:
    with pytest.raises(BadSetting, match="quotas.models"):
        model_limits({name: words})


def test_a_change_of_plan_is_seen_soon_and_looked_for_seldom() -> None:
    asked: list[str] = []
    clock = Clock()
    given = Allowances(Usual(), lambda _, key: asked.append(key) or GOLD, clock=lambda: clock().timestamp())
    for _ in range(10):
        given.of("acme", PAYER, TARGET)
    assert asked == ["", "k1"]
    clock.forward(2)
    given.of("acme", PAYER, TARGET)
    assert len(asked) == 4


def test_a_tenants_plan_is_found_in_the_database(database: Database) -> None:
    engine, now = database.open(), [0.0]
    plans = Plans(engine)
    find = PlanNames(engine, plans, clock=lambda: now[0])
    row = {"id": "acme", "name": "Acme", "state": "active", "plan": "gold", "created": Clock()()}
    with writing(engine) as connection:
        connection.execute(insert(tenants), row)
    assert find("acme", "") is None  # there are no plans at all
    plans.create("gold", limits={"tokens_per_day": 9})
    now[0] += 2.0
    found = find("acme", "")
    assert found is not None and found.tokens_per_day == 9
    assert (find("other", ""), find("acme", "nokey")) == (None, None)


def test_a_long_name_is_kept_short_and_apart_from_others() -> None:
    one, two = level("user", "x" * 500), level("user", "x" * 499 + "y")
    assert len(one) < 100 and one != two
