"""Every call is booked once, to the nano-dollar, whatever the database does meanwhile."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, select, text, update

from llmapi.core.calls import Attempt, Target, Usage
from llmapi.core.identity import Payer
from llmapi.core.money import FREE, UNPRICED
from llmapi.costs.ledger import Ledger
from llmapi.costs.postings import carry_forward, verify
from llmapi.costs.prices import GenaiPrices
from llmapi.db.engine import writing
from llmapi.db.tables.budgets import balances, reservations
from llmapi.db.tables.ledger import ledger, postings
from tests.costs.books import Books, an_end


@pytest.fixture
def books(database):
    return Books(database.open())


def test_a_row_says_who_what_and_how_much_and_keeps_the_prices_it_was_computed_from(database):
    prices, usage = GenaiPrices(now=lambda: datetime(2026, 11, 20, tzinfo=UTC)), Usage(1000, 500, 400, 100)
    cost = prices.cost(Target("openai", "gpt-4o-mini"), usage)
    books = Books(database.open())
    Ledger(books.engine, prices)(an_end(provider="openai", model="gpt-4o-mini", usage=usage, cost=cost))
    (row,) = books.rows()
    assert (row.tenant, row.project, row.key, row.user) == ("acme", "search", "key_1", "ann")
    assert (row.input_tokens, row.output_tokens, row.cached_tokens, row.reasoning_tokens) == (1000, 500, 400, 100)
    assert (row.cost, row.pricing, row.question) == (cost.nanos, "priced", "a" * 64)
    rates = json.loads(row.price)
    assert rates.pop("source").startswith("genai-prices ")
    assert rates == {"input": "0.15", "output": "0.6", "cached": "0.075", "date": "2026-11-20"}
    again = 600 * 0.15 + 400 * 0.075 + 500 * 0.6
    assert row.cost == round(again * 1000)


def test_tokens_of_failed_attempts_are_in_the_row_with_their_own_prices(books):
    lost = Attempt("q", "n", "content_blocked", usage=Usage(7))
    books.ledger(an_end(tokens=10, attempts=(lost, Attempt("p", "m", "ok"))))
    (row,) = books.rows()
    assert row.input_tokens == 17
    assert json.loads(row.price)["lost"][0]["tokens"] == [7, 0, 0, 0]


def test_no_price_is_never_zero(books):
    books.ledger(an_end(provider="unknown", cost=UNPRICED))
    assert [(row.cost, row.pricing, row.price) for row in books.rows()] == [(None, "unpriced", None)]


def test_a_kept_answer_costs_nothing_and_books_what_it_saved(books):
    for cache in ("hit", "semantic", "coalesced"):
        books.ledger(an_end(tokens=10, cache=cache, cost=FREE))
    books.ledger(an_end(tokens=10, cache="hit", cost=FREE, provider="free"))
    books.ledger(an_end(tokens=10, cache="hit", cost=FREE, provider="unknown"))
    assert [(row.cost, row.saved) for row in books.rows()] == [(0, 10_000)] * 3 + [(0, 0)] * 2


def test_a_callers_own_key_costs_the_operator_nothing(books):
    books.ledger(an_end(own_key=True))
    assert [(row.cost, row.pricing, row.saved) for row in books.rows()] == [(0, "own_key", 0)]


def test_a_call_told_twice_is_booked_once(books):
    event = an_end()
    books.ledger(event)
    books.ledger(event)
    assert len(books.rows()) == 1
    assert verify(books.engine) == []


def test_names_longer_than_their_columns_do_not_cost_a_booking(books):
    books.ledger(an_end(payer=Payer("p" * 500, "k", "u\0ser"), asked_model="m" * 500))
    (row,) = books.rows()
    assert (len(row.project), row.user, len(row.asked_model)) == (64, "user", 128)


def test_what_costs_money_is_there_at_once_and_what_costs_nothing_within_a_moment(books):
    books.ledger.start()
    books.ledger(an_end(cache="hit", cost=FREE, tenant="hit"))
    books.ledger(an_end(tenant="paid"))
    assert "paid" in [row.tenant for row in books.rows()]
    until = time.monotonic() + 5
    while len(books.rows()) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    assert len(books.rows()) == 2
    books.ledger(an_end(cache="hit", cost=FREE))
    books.ledger.close()
    assert len(books.rows()) == 3


def test_a_database_that_is_away_costs_no_booking(database):
    books = Books(database.open(patience=0.05), patience=0.1)
    with database.held_up("ledger"):
        books.ledger(an_end())
        assert books.ledger.waiting() == 1
    books.ledger.close()
    assert len(books.rows()) == 1 and books.ledger.waiting() == 0
    assert verify(books.engine) == []


def test_the_sums_are_made_in_the_transaction_of_the_rows(database):
    books, failing = Books(database.open()), [True]

    def sums(connection, rows):
        connection.execute(text("UPDATE budgets SET amount = amount"))
        assert [row["cost"] for row in rows] == [10_000]
        if failing.pop():
            connection.execute(text("this is no SQL"))

    books.ledger = Ledger(books.engine, books.ledger._prices, sums=sums, now=books.now)
    books.ledger(an_end())
    assert books.rows() == []
    failing.append(False)
    books.ledger.close()
    assert len(books.rows()) == 1


FORGERIES = {
    "a posting changed": update(postings).where(postings.c.account == "provider:p").values(amount=-1),
    "both postings changed": update(postings).values(amount=postings.c.amount * 2),
    "a cost changed": update(ledger).values(cost=1),
    "a row deleted": delete(ledger),
    "postings deleted": delete(postings),
    "a balance changed": update(balances).values(spent=balances.c.spent + 1),
    "a reservation deleted": delete(reservations),
    "a hold changed": update(balances).values(held=0),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_the_books_prove_right_and_a_forgery_shows(books, forgery):
    budget = books.budgets.create("acme", amount=10**9, window="day")
    books.spend(10, budget.id)
    books.hold(5000, budget.id)
    assert verify(books.engine) == []
    with writing(books.engine) as connection:
        connection.execute(FORGERIES[forgery])
    assert verify(books.engine) != []


def test_the_books_still_prove_right_when_old_rows_are_deleted(books):
    budget = books.budgets.create("acme", amount=10**9, window="month")
    for _ in range(3):
        books.spend(10, budget.id)
        books.now.pass_by(60)
        until = books.now()
        books.spend(10, budget.id)
        with writing(books.engine) as connection:
            connection.execute(delete(ledger).where(ledger.c.at <= until))
            carry_forward(connection, until)
        books.now.pass_by(60)
        books.spend(1, budget.id)
        assert verify(books.engine) == []
    with writing(books.engine) as connection:
        connection.execute(update(balances).values(spent=1))
    assert verify(books.engine) != []


def test_windows_of_budgets_that_are_over_are_not_carried_for_ever(books):
    rolling = books.budgets.create("acme", amount=10**9, window="rolling", seconds=60)
    month = books.budgets.create("acme", amount=10**9, window="month")
    held = books.hold(500, rolling.id)
    for _ in range(100):
        books.spend(1, rolling.id, month.id)
        books.now.pass_by(1)
    with writing(books.engine) as connection:
        connection.execute(delete(ledger).where(ledger.c.at <= books.now()))
        carry_forward(connection, books.now())
    with writing(books.engine) as connection:
        carried = connection.execute(select(postings.c.account)).scalars().all()
        starts = connection.execute(select(balances.c.start).where(balances.c.budget == rolling.id)).scalars().all()
    assert len(carried) == 2 * (1 + 1 + 61)  # expense and provider; the month; slices that count, and one that holds
    assert len(starts) == 61
    assert verify(books.engine) == []
    assert books.budgets.status(rolling.id, "acme").spent == 60_000
    books.end(held, 0, cost=FREE)
    assert (books.budgets.status(month.id, "acme").spent, verify(books.engine)) == (100_000, [])


def test_a_row_that_came_late_is_carried_forward_after_younger_ones(books):
    late = books.now()
    for minutes in (2, 1, 3):
        books.ledger(an_end(tokens=10, at=late + timedelta(minutes=minutes)))
        with writing(books.engine) as connection:
            connection.execute(delete(ledger).where(ledger.c.at <= late + timedelta(minutes=minutes)))
            carry_forward(connection, late + timedelta(minutes=minutes))
        assert verify(books.engine) == []
    with writing(books.engine) as connection:
        amounts = connection.execute(select(postings.c.amount).order_by(postings.c.amount)).scalars().all()
    assert amounts == [-30_000, 30_000]
