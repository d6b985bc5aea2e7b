"""No call is made that a hard budget has no room for, and what failed attempts may cost is held too."""

import threading
from dataclasses import replace

import pytest
from sqlalchemy import select

from llmapi.cache.memory import MemoryCache
from llmapi.core.calls import Chunk, Target, Tool, Usage
from llmapi.core.errors import (
    BudgetExceeded,
    CallEnded,
    ProviderHungUp,
    ProviderInvalid,
    ProviderRefused,
    ProviderThrottled,
    ProviderTimeout,
    ProviderUnavailable,
    UnpricedModel,
)
from llmapi.core.identity import NOBODY
from llmapi.core.lifetime import Lifetime
from llmapi.core.routing import Policy
from llmapi.costs.postings import verify
from llmapi.db.engine import reading
from llmapi.db.tables.budgets import balances
from llmapi.events.bus import EventBus
from llmapi.gateway.budget import Budgeting, surely_free
from llmapi.gateway.recipe import build_gateway
from tests.costs.books import TOKEN, Books, TokenPrices
from tests.gateway.conftest import HELLO, PATIENCE, ScriptedProvider, a_call, run

MOST = (64 + 16 + 5 + 256) * TOKEN  # of a_call(): the preamble, a message's frame, its bytes, and max_tokens
COST = 7 * TOKEN  # of HELLO


class House:
    """A gateway with books, whose providers are scripted."""

    def __init__(self, engine, **providers):
        self.books, self.keys = Books(engine), {}
        stored = lambda tenant, name: self.keys.get(name, "")
        self.providers = providers or {"p": ScriptedProvider()}
        self.handle = build_gateway(
            providers=self.providers,
            cache=MemoryCache(8, 60.0),
            bus=EventBus([self.books.ledger]),
            prices=TokenPrices(),
            budgeting=Budgeting(self.books.budgets, self.books.ledger, TokenPrices(), stored),
            keys=stored,
            sleep=lambda seconds, _: None,
        )

    def budget(self, amount, **more):
        self.id = self.books.budgets.create("acme", **{"amount": amount, "window": "day", **more}).id
        return self

    def ask(self, **said):
        return self.handle(a_call(**{"cache": replace(a_call().cache, mode="bypass"), **said})).completion()

    def held_and_spent(self):
        with reading(self.books.engine) as connection:
            rows = connection.execute(select(balances.c.held, balances.c.spent)).all()
        return sum(row.held for row in rows), sum(row.spent for row in rows)


@pytest.fixture
def engine(database):
    return database.open()


def test_a_call_is_made_when_the_most_it_may_cost_fits_and_its_cost_is_spent(engine):
    house = House(engine).budget(MOST)
    assert house.ask() == HELLO
    assert house.held_and_spent() == (0, COST)
    with pytest.raises(BudgetExceeded):
        house.ask()
    assert len(house.providers["p"].asked) == 1
    assert [row.status for row in house.books.rows()] == ["ok", "budget_exceeded"]
    assert verify(engine) == []


def test_money_is_held_before_the_provider_is_asked_and_while_it_answers(engine):
    seen = []
    script = [lambda _: seen.append(house.held_and_spent()), Chunk("a", Usage(1, 1))]
    house = House(engine, p=ScriptedProvider("p", script))
    house.budget(10 * MOST).ask()
    assert (seen, house.held_and_spent()) == ([(MOST, 0)], (0, 2 * TOKEN))


def test_a_stream_that_is_left_is_booked_at_the_most_it_can_have_cost(engine):
    house = House(engine, p=ScriptedProvider("p", [Chunk("a"), Chunk("b", Usage(5, 2), "stop")])).budget(10 * MOST)
    reply = house.handle(a_call(stream=True))
    next(iter(reply))
    reply.close()
    assert house.held_and_spent() == (0, MOST)
    assert [(row.status, row.pricing, row.cost) for row in house.books.rows()] == [("abandoned", "bound", MOST)]


def test_a_stream_that_breaks_is_booked_at_the_most_it_can_have_cost(engine):
    script = [Chunk("a"), ProviderUnavailable("it broke", provider_status=500)]
    house = House(engine, p=ScriptedProvider("p", script)).budget(10 * MOST)
    with pytest.raises(ProviderUnavailable):
        house.ask(stream=True)
    assert house.held_and_spent() == (0, MOST)


def test_a_kept_answer_and_an_own_key_and_a_free_model_need_no_money(engine):
    free, own = ScriptedProvider("free"), ScriptedProvider("p")
    house = House(engine, free=free, p=own).budget(0)
    house.ask(targets=(Target("free", "m"),))
    house.ask(provider_key="theirs")
    house.keys["p"] = "stored"
    house.ask()
    house.ask(targets=(Target("free", "m"),), cache=a_call().cache)
    house.ask(targets=(Target("free", "m"),), cache=a_call().cache)
    assert [row.cost for row in house.books.rows()] == [0] * 5
    assert house.held_and_spent() == (0, 0)


def test_a_model_nobody_knows_the_price_of_is_refused_under_a_hard_budget(engine):
    house = House(engine, unknown=ScriptedProvider("unknown")).budget(10 * MOST)
    with pytest.raises(UnpricedModel):
        house.ask(targets=(Target("unknown", "m"),))
    assert house.providers["unknown"].asked == []


def test_what_the_dearest_candidate_may_cost_is_held(engine):
    house = House(engine, free=ScriptedProvider("free"), p=ScriptedProvider("p")).budget(MOST - 1)
    with pytest.raises(BudgetExceeded):
        house.ask(targets=(Target("free", "m"), Target("p", "m")))


@pytest.mark.parametrize(
    ("failure", "askings"),
    [
        (ProviderThrottled("busy"), 1),
        (ProviderUnavailable("busy", provider_status=503), 1),
        (ProviderUnavailable("no way there"), 1),
        (ProviderHungUp("gone"), 2),
        (ProviderUnavailable("a proxy gave up", provider_status=504), 2),
    ],
)
def test_a_second_asking_needs_money_of_its_own_unless_the_first_surely_cost_nothing(engine, failure, askings):
    seen = []

    def answer(_):
        seen.append(house.held_and_spent()[0])

    script = [failure, [answer, Chunk("a", Usage(5, 2), "stop")]]
    house = House(engine, p=ScriptedProvider("p", *script)).budget(10 * MOST)
    house.ask()
    assert seen == [askings * MOST]
    assert house.held_and_spent() == (0, COST + (askings - 1) * MOST)
    assert verify(engine) == []


def test_a_second_asking_that_no_money_is_left_for_is_not_made(engine):
    house = House(engine, p=ScriptedProvider("p", ProviderHungUp("gone"), HELLO)).budget(2 * MOST - 1)
    with pytest.raises(BudgetExceeded) as raised:
        house.ask()
    assert [attempt.status for attempt in raised.value.attempts] == ["provider_unavailable", "budget_exceeded"]
    assert len(house.providers["p"].asked) == 1
    assert house.held_and_spent() == (0, MOST)


def test_a_failed_attempt_that_was_billed_is_spent_beside_the_answer(engine):
    blocked = ProviderRefused("blocked", usage=Usage(20))
    targets = (Target("q", "m"), Target("p", "m"))
    providers = {"q": ScriptedProvider("q", blocked), "p": ScriptedProvider("p")}
    house = House(engine, **providers).budget(2 * MOST)
    house.ask(targets=targets, policy=Policy(fallback=frozenset({"blocked"})))
    assert house.held_and_spent() == (0, 20 * TOKEN + COST)
    short = House(engine, **{name: ScriptedProvider(name, *each.script) for name, each in providers.items()})
    short.budget(2 * MOST - 1, level="model", name="m")
    with pytest.raises(BudgetExceeded):
        short.ask(targets=targets, policy=Policy(fallback=frozenset({"blocked"})))


def test_an_answer_that_never_came_is_booked_at_the_most_it_can_have_cost(engine):
    house = House(engine, p=ScriptedProvider("p", ProviderTimeout("too slow"))).budget(10 * MOST)
    with pytest.raises(ProviderTimeout):
        house.ask(policy=Policy(ask_in_doubt=False))
    assert house.held_and_spent() == (0, MOST)


def test_a_request_the_provider_rejects_costs_nothing(engine):
    house = House(engine, p=ScriptedProvider("p", ProviderInvalid("no", provider_status=400))).budget(MOST)
    with pytest.raises(ProviderInvalid):
        house.ask()
    assert house.held_and_spent() == (0, 0)


def test_a_hook_of_the_callers_that_forbids_the_sending_costs_nothing(engine):
    def forbid():
        raise ProviderInvalid("not now")

    house = House(engine).budget(MOST)
    with pytest.raises(ProviderInvalid):
        house.ask(sending=forbid)
    assert (house.held_and_spent(), house.providers["p"].asked) == ((0, 0), [])


def test_of_those_who_share_an_answer_one_pays(engine):
    house = House(engine, p=ScriptedProvider("p", [Chunk("a", Usage(1, 1)), Chunk("b", Usage(0, 5), "stop")]))
    house.budget(100 * MOST)
    run(*[lambda: house.handle(a_call(stream=True)).completion()] * 8)
    rows = house.books.rows()
    assert sum(row.cost for row in rows) == COST * len(house.providers["p"].asked)
    assert house.held_and_spent() == (0, sum(row.cost for row in rows))
    assert verify(engine) == []


class Joining(Lifetime):
    """A life that tells when its call has joined another."""

    def __init__(self):
        super().__init__(60.0)
        self.joined = threading.Event()

    def on_end(self, tell):
        self.joined.set()
        return super().on_end(tell)


def test_who_leaves_before_the_first_word_pays_nothing_when_another_stays(engine):
    asker, other = Lifetime(60.0), Joining()

    def leave(_):
        threads[1].start()
        assert other.joined.wait(PATIENCE)
        asker.end()

    house = House(engine, p=ScriptedProvider("p", [leave, Chunk("a", Usage(5, 2), "stop")])).budget(10 * MOST)
    lives, ended = (asker, other), []

    def ask(life):
        try:
            ended.append(house.handle(a_call(lifetime=life)).completion().text)
        except CallEnded as error:
            ended.append(error.code)

    threads = [threading.Thread(target=ask, args=(life,)) for life in lives]
    threads[0].start()
    threads[0].join(PATIENCE)
    threads[1].join(PATIENCE)
    assert sorted(ended) == ["a", "cancelled"]
    assert sorted((row.status, row.cost) for row in house.books.rows()) == [("cancelled", 0), ("ok", COST)]
    assert house.held_and_spent() == (0, COST)


def test_who_leaves_before_the_first_word_and_was_alone_pays_the_most(engine):
    life = Lifetime(60.0)
    script = [lambda _: life.end(), Chunk("a", Usage(5, 2), "stop")]
    house = House(engine, p=ScriptedProvider("p", script)).budget(10 * MOST, level="model", name="p/m")
    with pytest.raises(CallEnded):
        house.handle(a_call(lifetime=life)).completion()
    assert [(row.provider, row.cost, row.pricing) for row in house.books.rows()] == [("p", MOST, "bound")]
    assert house.held_and_spent() == (0, MOST)


def test_an_asking_nobody_heard_of_is_booked_although_another_pays_for_the_answer(engine):
    script = [ProviderHungUp("gone"), [Chunk("a", Usage(1, 1)), Chunk("b", Usage(0, 5), "stop")]]
    house = House(engine, p=ScriptedProvider("p", *script)).budget(10 * MOST)
    asker, other = house.handle(a_call(stream=True)), house.handle(a_call(stream=True))
    asker.close()
    other.completion()
    booked = [(row.cache, row.cost, row.pricing) for row in house.books.rows()]
    assert booked == [("coalesced", MOST, "bound"), ("miss", COST, "priced")]
    assert house.held_and_spent() == (0, MOST + COST)
    assert verify(engine) == []


def test_a_models_budget_pays_for_an_asking_of_which_nobody_knows_what_became(engine):
    house = House(engine, p=ScriptedProvider("p", ZeroDivisionError())).budget(10 * MOST, level="model", name="p/m")
    with pytest.raises(ZeroDivisionError):
        house.ask()
    assert house.held_and_spent() == (0, MOST)


def test_tools_count_in_what_a_call_may_cost(engine):
    house = House(engine).budget(MOST)
    with pytest.raises(BudgetExceeded):
        house.ask(tools=(Tool("look", "Looks.", {"type": "object"}),))


def test_who_has_no_budget_does_without_all_this(engine):
    house = House(engine).budget(0, level="user", name="ann")
    assert house.ask(payer=NOBODY) == HELLO
    assert house.held_and_spent() == (0, 0)


def test_only_a_provider_that_said_no_or_was_not_reached_surely_cost_nothing():
    assert surely_free(ProviderThrottled("x")) and not surely_free(ProviderTimeout("x"))
    assert not surely_free(ProviderThrottled("x", usage=Usage(1)))
    assert not surely_free(ProviderInvalid("an answer nobody understands"))
