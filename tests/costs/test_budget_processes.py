"""Sixty-four callers in four processes, one of them killed: never beyond the amount, and nearly all of it used."""

import multiprocessing
import os
import random
import signal
import threading
import time

from llmapi.core.clock import utc_now
from llmapi.core.errors import BudgetExceeded, Overloaded
from llmapi.core.lifetime import Lifetime
from llmapi.costs.postings import verify
from tests.costs.books import TOKEN, Books, a_call
from tests.gateway.conftest import PATIENCE
from tests.servers.databases import Database

FORK = multiprocessing.get_context("fork")
AMOUNT = 15_000 * TOKEN
MOST = 20  # tokens a call may use
LEASE = 0.5  # seconds


def spend(database: Database, ids: tuple[str, ...], number: int, over) -> None:
    """Ask until nothing is left: the whole of a child process, of sixteen callers."""
    books = Books(database.open(patience=20.0), now=utc_now, lease=LEASE, patience=20.0)
    chance = random.Random(number)

    def caller() -> None:
        while not over.is_set():
            try:
                hold = books.hold(MOST * TOKEN, *ids, call=a_call(lifetime=Lifetime(0.3)))
                books.ledger.send(hold)
            except (BudgetExceeded, Overloaded):
                time.sleep(0.002)
                continue
            books.end(hold, chance.randint(1, MOST))

    callers = [threading.Thread(target=caller) for _ in range(16)]
    for each in callers:
        each.start()
    for each in callers:
        each.join()
    books.ledger.close()


def test_a_budget_is_never_overshot_and_nearly_all_of_it_can_be_used(database: Database) -> None:
    books = Books(database.open(), now=utc_now, lease=LEASE)
    budget = books.budgets.create("acme", amount=AMOUNT, window="month")
    soft = books.budgets.create("acme", amount=1, window="rolling", seconds=3600, hard=False)
    over = FORK.Event()
    children = [FORK.Process(target=spend, args=(database, (budget.id, soft.id), n, over)) for n in range(4)]
    for child in children:
        child.start()
    end, killed, standing = time.monotonic() + 3 * PATIENCE, False, books.budgets.status(budget.id, "acme")
    while standing.spent < 0.95 * AMOUNT and time.monotonic() < end:
        standing = books.budgets.status(budget.id, "acme")
        assert standing.spent + standing.held <= AMOUNT
        if not killed and standing.spent > 0.3 * AMOUNT:
            os.kill(children[0].pid or 0, signal.SIGKILL)
            killed = True
        books.ledger.recover()
        time.sleep(0.02)
    over.set()
    for child in children:
        child.join(PATIENCE)
    assert killed and standing.spent >= 0.95 * AMOUNT
    time.sleep(0.3 + LEASE)
    books.ledger.recover()
    assert (books.held(), verify(books.engine)) == (0, [])
    standing = books.budgets.status(budget.id, "acme")
    assert (standing.spent, standing.held) == (sum(row.cost for row in books.rows()), 0)
    assert standing.spent <= AMOUNT
