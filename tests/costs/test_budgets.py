"""Budgets are a tenant's own, apply to whom they name, and are known everywhere within two seconds."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmapi.core.calls import Target
from llmapi.core.errors import NotFound, Overloaded, ValidationFailed
from llmapi.core.identity import NOBODY, Payer
from llmapi.costs.budget_windows import window_at
from llmapi.costs.budgets import Budgets
from tests.costs.books import MODEL, PAYER, Now
from tests.gateway.conftest import Clock, run

TARGETS = (MODEL, Target("q", "n"))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def budgets(database, clock):
    return Budgets(database.open(patience=0.1), now=Now(), clock=clock)


def test_a_budget_is_made_read_changed_listed_and_deleted(budgets):
    first = budgets.create("acme", amount=5, window="day")
    second = budgets.create("acme", amount=7, window="rolling", seconds=3600, level="key", name="key_1", hard=False)
    budgets.create("other", amount=1, window="day")
    assert budgets.get(first.id, "acme") == first
    assert budgets.list("acme") == [first, second]
    assert budgets.list("acme", limit=1, after=first.id) == [second]
    changed = budgets.update(first.id, "acme", amount=9, hard=False, active=False, thresholds=[1.0, 0.25])
    assert (changed.amount, changed.hard, changed.active, changed.thresholds) == (9, False, False, (0.25, 1.0))
    assert budgets.update(first.id, "acme") == changed
    budgets.delete(first.id, "acme")
    assert budgets.list("acme") == [second]


def test_another_tenants_budget_is_not_found_in_the_words_of_an_unknown_one(budgets):
    theirs = budgets.create("other", amount=5, window="day").id
    said = set()
    for id in (theirs, "budget_unknown"):
        for ask in (budgets.get, budgets.delete, budgets.update, budgets.status):
            with pytest.raises(NotFound) as raised:
                ask(id, "acme")
            said.add(raised.value.message)
    assert len(said) == 1
    assert budgets.get(theirs, "other").amount == 5


WRONG = [
    ("amount", {"amount": -1}),
    ("amount", {"amount": 10**19}),
    ("window", {"window": "year"}),
    ("seconds", {"window": "rolling", "seconds": 1}),
    ("seconds", {"window": "day", "seconds": 60}),
    ("level", {"level": "planet"}),
    ("name", {"level": "key"}),
    ("name", {"name": "acme"}),
    ("thresholds", {"thresholds": [0.0]}),
    ("thresholds", {"thresholds": [0.1] * 11}),
]


@pytest.mark.parametrize(("field", "given"), WRONG)
def test_what_makes_no_sense_is_refused_by_the_name_of_its_field(budgets, field, given):
    with pytest.raises(ValidationFailed) as raised:
        budgets.create("acme", **{"amount": 1, "window": "day", **given})
    assert list(raised.value.fields) == [field]


def test_a_call_draws_on_the_budgets_that_name_its_payer_or_one_of_its_models(budgets):
    names = {"tenant": "", "project": "search", "key": "key_1", "user": "ann", "model": "q/n"}
    made = {level: budgets.create("acme", amount=1, window="day", level=level, name=name).id
            for level, name in names.items()}  # fmt: skip
    budgets.create("acme", amount=1, window="day", level="user", name="bob")
    budgets.create("acme", amount=1, window="day", level="model", name="other")
    plain = budgets.create("acme", amount=1, window="day", level="model", name="m").id
    assert set(budgets.applying("acme", PAYER, TARGETS)) == {*made.values(), plain}
    assert budgets.applying("acme", NOBODY, ()) == (made["tenant"],)
    assert budgets.applying("acme", Payer(user="ann"), (MODEL,)) == tuple(sorted([made["tenant"], made["user"], plain]))
    assert budgets.applying("other", PAYER, TARGETS) == ()


def test_what_another_process_changed_is_known_within_two_seconds(budgets, database, clock):
    assert budgets.applying("acme", PAYER, TARGETS) == ()
    elsewhere = Budgets(database.open())
    id = elsewhere.create("acme", amount=1, window="day").id
    assert budgets.applying("acme", PAYER, TARGETS) == ()
    clock.now += 2.01
    assert budgets.applying("acme", PAYER, TARGETS) == (id,)
    elsewhere.update(id, "acme", active=False)
    clock.now += 2.01
    assert budgets.applying("acme", PAYER, TARGETS) == ()


def test_nobody_goes_on_with_old_knowledge_while_another_looks_anew(budgets, database, clock):
    assert budgets.applying("acme", PAYER, TARGETS) == ()
    id = Budgets(database.open()).create("acme", amount=1, window="day").id
    clock.now += 3600
    assert run(*[lambda: budgets.applying("acme", PAYER, TARGETS)] * 8) == [(id,)] * 8


def test_what_this_process_changed_is_known_at_once(budgets):
    assert budgets.applying("acme", PAYER, TARGETS) == ()
    id = budgets.create("acme", amount=1, window="day").id
    assert budgets.applying("acme", PAYER, TARGETS) == (id,)
    budgets.delete(id, "acme")
    assert budgets.applying("acme", PAYER, TARGETS) == ()


def test_while_the_database_is_away_who_had_no_budget_goes_on_and_a_stranger_does_not(database, clock):
    away = [False]
    engine = database.open(patience=0.1)
    budgets = Budgets(engine, clock=clock)
    assert budgets.applying("acme", PAYER, TARGETS) == ()

    class Away:
        def __getattr__(self, name):
            if away[0]:
                raise Overloaded("The storage is not available at the moment.")
            return getattr(engine, name)

    budgets._engine = Away()
    away[0] = True
    clock.now += 60
    assert budgets.applying("acme", PAYER, TARGETS) == ()
    with pytest.raises(Overloaded):
        budgets.applying("stranger", PAYER, TARGETS)


INSTANTS = st.datetimes(datetime(2001, 1, 1), datetime(2100, 1, 1)).map(lambda instant: instant.replace(tzinfo=UTC))


@given(INSTANTS, st.sampled_from(["day", "week", "month"]))
def test_a_calendar_window_holds_its_instant_and_the_next_begins_where_it_ends(now, kind):
    window = window_at(kind, 0, now)
    assert window.first == window.slot <= now < window.ends
    assert window_at(kind, 0, window.ends).first == window.ends
    assert window.first.hour == 0 and (kind != "month" or window.first.day == 1)
    assert kind != "week" or window.first.weekday() == 0


@given(INSTANTS, st.integers(60, 366 * 86_400))
def test_a_rolling_window_is_never_shorter_than_it_says_and_little_longer(now, seconds):
    window = window_at("rolling", seconds, now)
    width = -(-seconds // 60)
    assert 0 <= (now - window.slot).total_seconds() < width
    assert seconds <= (now - window.first).total_seconds() < seconds + width
    assert window.ends > now
