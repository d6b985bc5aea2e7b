"""What calls under way may cost is held, what they did cost is booked, and nothing stays held."""

import pytest

from llmapi.core.calls import Attempt
from llmapi.core.errors import BudgetExceeded, LlmApiError, Overloaded, UnpricedModel
from llmapi.core.events import BudgetCrossed
from llmapi.core.money import FREE, UNPRICED
from llmapi.costs.ledger import MOST_RECOVERED
from llmapi.costs.postings import verify
from tests.costs.books import TOKEN, Books, an_end

ALL = 100 * TOKEN


@pytest.fixture
def books(database):
    return Books(database.open())


@pytest.fixture
def budget(books):
    return books.budgets.create("acme", amount=ALL, window="day")


def stand(books, budget):
    standing = books.budgets.status(budget.id, "acme")
    return standing.spent // TOKEN, standing.held // TOKEN, standing.left // TOKEN


def test_money_is_held_while_a_call_is_under_way_and_its_cost_is_spent(books, budget):
    hold = books.hold(60 * TOKEN, budget.id)
    assert stand(books, budget) == (0, 60, 40)
    books.ledger.send(hold)
    books.end(hold, 25)
    assert stand(books, budget) == (25, 0, 75)
    assert (books.held(), verify(books.engine)) == (0, [])


def test_a_hard_budget_refuses_what_might_go_beyond_it_and_names_itself(books, budget):
    books.hold(60 * TOKEN, budget.id)
    with pytest.raises(BudgetExceeded) as raised:
        books.hold(41 * TOKEN, budget.id)
    error = raised.value
    assert (error.status, error.retryable, error.retry_after) == (402, False, None)
    assert error.details["budget"] == budget.id and error.details["ends"] == "2026-11-19T00:00:00.000Z"
    assert budget.id in error.message
    books.hold(40 * TOKEN, budget.id)
    assert stand(books, budget) == (0, 100, 0)


def test_of_several_budgets_all_have_room_or_nothing_is_held(books, budget):
    narrow = books.budgets.create("acme", amount=10 * TOKEN, window="month", level="key", name="key_1")
    with pytest.raises(BudgetExceeded) as raised:
        books.hold(11 * TOKEN, budget.id, narrow.id)
    assert raised.value.details["budget"] == narrow.id
    assert (stand(books, budget), stand(books, narrow)) == ((0, 0, 100), (0, 0, 10))
    books.spend(10, budget.id, narrow.id)
    assert (stand(books, budget), stand(books, narrow)) == ((10, 0, 90), (10, 0, 0))


def test_a_soft_budget_refuses_nothing(books):
    soft = books.budgets.create("acme", amount=TOKEN, window="day", hard=False)
    books.spend(50, soft.id)
    assert stand(books, soft) == (50, 0, 0)


def test_a_model_without_a_price_is_refused_under_a_hard_budget_alone(books, budget):
    soft = books.budgets.create("acme", amount=TOKEN, window="day", hard=False)
    with pytest.raises(UnpricedModel):
        books.hold(None, soft.id, budget.id)
    hold = books.hold(None, soft.id)
    books.end(hold, 5, cost=UNPRICED)
    assert [row.cost for row in books.rows()] == [None]
    assert verify(books.engine) == []


def test_a_window_ends_and_what_was_spent_counts_no_more(books, budget):
    books.spend(100, budget.id)
    with pytest.raises(BudgetExceeded):
        books.hold(TOKEN, budget.id)
    books.now.pass_by(12 * 3600)
    assert stand(books, budget) == (0, 0, 100)
    books.spend(1, budget.id)
    assert verify(books.engine) == []


def test_a_call_counts_in_the_window_in_which_it_began(books, budget):
    books.now.pass_by(12 * 3600 - 1)
    hold = books.hold(ALL, budget.id)
    books.now.pass_by(2)
    books.end(hold, 100)
    assert stand(books, budget) == (0, 0, 100)
    assert (books.heard, verify(books.engine)) == ([], [])


def test_a_rolling_window_forgets_a_slice_at_a_time(books):
    rolling = books.budgets.create("acme", amount=ALL, window="rolling", seconds=3600)
    books.spend(30, rolling.id)
    books.now.pass_by(1800)
    books.spend(70, rolling.id)
    with pytest.raises(BudgetExceeded):
        books.hold(TOKEN, rolling.id)
    books.now.pass_by(1799)
    assert stand(books, rolling) == (100, 0, 0)
    books.now.pass_by(61)
    assert stand(books, rolling) == (70, 0, 30)
    books.now.pass_by(1800)
    assert stand(books, rolling) == (0, 0, 100)


def test_a_second_asking_holds_more_unless_the_first_surely_cost_nothing(books, budget):
    hold = books.hold(40 * TOKEN, budget.id)
    books.ledger.send(hold)
    hold.spare = True
    books.ledger.send(hold)
    assert stand(books, budget) == (0, 40, 60)
    books.ledger.send(hold)
    assert stand(books, budget) == (0, 80, 20)
    with pytest.raises(BudgetExceeded):
        books.ledger.send(hold)
    books.end(hold, 40)
    assert (stand(books, budget), verify(books.engine)) == ((40, 0, 60), [])


def test_what_nobody_counted_is_booked_at_the_most_it_can_have_cost(books, budget):
    hold = books.hold(30 * TOKEN, budget.id)
    books.ledger.send(hold)
    hold.begun = True
    books.end(hold, 0, status="abandoned", cost=UNPRICED)
    assert [(row.cost, row.pricing) for row in books.rows()] == [(30 * TOKEN, "bound")]
    assert (stand(books, budget), verify(books.engine)) == ((30, 0, 70), [])


def test_a_failure_in_doubt_is_booked_beside_what_was_counted(books, budget):
    hold = books.hold(30 * TOKEN, budget.id)
    books.ledger.send(hold)
    hold.open, hold.doubt = False, hold.asking
    books.ledger.send(hold)
    books.end(hold, 10)
    assert [(row.cost, row.pricing) for row in books.rows()] == [(40 * TOKEN, "bound")]
    assert stand(books, budget) == (40, 0, 60)


def test_who_shared_an_answer_or_was_never_sent_pays_nothing(books, budget):
    shared, unsent = books.hold(30 * TOKEN, budget.id), books.hold(30 * TOKEN, budget.id)
    books.ledger.send(shared)
    books.end(shared, 10, cache="coalesced", cost=FREE, status="abandoned")
    books.end(unsent, 0, status="overloaded", cost=FREE, attempts=(Attempt("p", "m", "overloaded"),))
    assert [row.cost for row in books.rows()] == [0, 0]
    assert (stand(books, budget), books.held()) == ((0, 0, 100), 0)


def test_a_models_budget_pays_for_askings_of_its_model(books, budget):
    mine = books.budgets.create("acme", amount=ALL, window="day", level="model", name="m")
    whole = books.budgets.create("acme", amount=ALL, window="day", level="model", name="p/m")
    other = books.budgets.create("acme", amount=ALL, window="day", level="model", name="n")
    books.spend(10, budget.id, mine.id, whole.id, other.id)
    assert [stand(books, each)[0] for each in (budget, mine, whole, other)] == [10, 10, 10, 0]
    assert (stand(books, other), verify(books.engine)) == ((0, 0, 100), [])


def test_each_threshold_is_told_once_in_a_window_and_written_with_what_crossed_it(books):
    budget = books.budgets.create("acme", amount=ALL, window="day", thresholds=[0.5, 0.8])
    for _ in range(10):
        books.spend(9, budget.id)
    assert [(event.threshold, event.spent // TOKEN) for event in books.heard] == [(0.5, 54), (0.8, 81)]
    assert all(isinstance(event, BudgetCrossed) and event.budget == budget.id for event in books.heard)
    assert [(tenant, kind, data["threshold"]) for tenant, kind, data in books.outbox.told] == [
        ("acme", "budget.alert", 0.5),
        ("acme", "budget.alert", 0.8),
    ]
    books.now.pass_by(24 * 3600)
    books.spend(90, budget.id)
    assert [event.threshold for event in books.heard] == [0.5, 0.8, 0.5, 0.8]


def test_a_rolling_window_tells_a_threshold_again_only_when_the_last_telling_has_left_it(books):
    budget = books.budgets.create("acme", amount=ALL, window="rolling", seconds=3600, thresholds=[0.5])
    books.spend(50, budget.id)
    books.now.pass_by(1800)
    books.spend(40, budget.id)
    books.now.pass_by(1900)
    books.spend(15, budget.id)  # 40 of the first half hour, 15 now
    assert len(books.heard) == 2
    books.now.pass_by(1800)
    books.spend(40, budget.id)  # above the half again, which was told half an hour ago
    assert len(books.heard) == 2


def test_a_notice_that_cannot_be_written_leaves_nothing_booked(books, budget):
    class Full:
        def add(self, *_):
            raise Overloaded("The storage is busy.")

        def wake(self):
            pass

    hold = books.hold(60 * TOKEN, budget.id)
    outbox, books.ledger._outbox = books.ledger._outbox, Full()
    books.end(hold, 60)
    assert (books.rows(), stand(books, budget), books.ledger.waiting()) == ([], (0, 60, 40), 1)
    books.ledger._outbox = outbox
    books.ledger.close()
    assert (stand(books, budget), len(books.outbox.told), books.heard[0].threshold) == ((60, 0, 40), 1, 0.5)


def test_what_a_dead_process_had_sent_is_booked_in_full_and_the_rest_is_given_back(database, books, budget):
    dead = Books(database.open(), books.now)
    dead.ledger.send(dead.hold(30 * TOKEN, budget.id))
    dead.hold(20 * TOKEN, budget.id)
    books.now.pass_by(69)
    assert (books.ledger.recover(), stand(books, budget)) == (0, (0, 50, 50))
    books.now.pass_by(2)
    assert (books.ledger.recover(), stand(books, budget)) == (2, (30, 0, 70))
    (row,) = books.rows()
    assert (row.status, row.pricing, row.cost, row.user) == ("lost", "bound", 30 * TOKEN, "ann")
    assert (books.ledger.recover(), books.held(), verify(books.engine)) == (0, 0, [])


def test_an_end_that_comes_after_its_lease_changes_nothing_more(database, books, budget):
    slow = Books(database.open(), books.now)
    hold = slow.hold(30 * TOKEN, budget.id)
    slow.ledger.send(hold)
    books.now.pass_by(71)
    books.ledger.recover()
    slow.end(hold, 10)
    assert (stand(books, budget), [row.status for row in books.rows()]) == ((30, 0, 70), ["lost"])
    assert verify(books.engine) == []


def test_an_end_between_two_steps_of_judging_is_booked_once_and_holds_nothing_up(books, budget):
    for _ in range(MOST_RECOVERED):
        books.hold(0, budget.id)
    books.now.pass_by(1)
    slow = books.hold(30 * TOKEN, budget.id)
    books.ledger.send(slow)
    books.now.pass_by(71)
    assert books.ledger.recover() == MOST_RECOVERED
    books.end(slow, 10)
    assert (books.ledger.recover(), stand(books, budget), books.held()) == (0, (10, 0, 90), 0)
    assert ([row.status for row in books.rows()], verify(books.engine)) == (["ok"], [])


def test_who_comes_after_its_lease_sends_nothing(database, books, budget):
    hold = books.hold(30 * TOKEN, budget.id)
    books.now.pass_by(71)
    Books(database.open(), books.now).ledger.recover()
    with pytest.raises(Overloaded):
        books.ledger.send(hold)


def test_a_budget_deleted_meanwhile_leaves_the_others_right(books, budget):
    other = books.budgets.create("acme", amount=ALL, window="day")
    hold = books.hold(30 * TOKEN, budget.id, other.id)
    books.budgets.delete(other.id, "acme")
    books.ledger.send(hold)
    books.ledger.send(hold)
    books.end(hold, 10)
    assert (stand(books, budget), verify(books.engine)) == ((10, 0, 90), [])
    gone = books.hold(30 * TOKEN, other.id)
    books.ledger.send(gone)
    books.end(gone, 10)
    assert len(books.rows()) == 2


def test_a_lower_amount_holds_at_once(books, budget):
    Books(books.engine).budgets.update(budget.id, "acme", amount=TOKEN)
    with pytest.raises(BudgetExceeded):
        books.hold(2 * TOKEN, budget.id)


def test_a_database_that_is_away_means_no_under_a_budget(database, budget):
    books = Books(database.open(patience=0.05), patience=0.1)
    with database.held_up("budgets"), pytest.raises(LlmApiError) as raised:
        books.hold(TOKEN, budget.id)
    assert raised.value.status == 503
    books.ledger(an_end())
    assert len(books.rows()) == 1
