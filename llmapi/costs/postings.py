"""Double entry: each amount is booked on two accounts at once, so what is lost or invented shows.

A call's cost is an expense of its tenant and owed to its provider; of each budget it moves from `available` to `spent`.
What is held of a budget needs no postings: it is the sum of the reservations.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy import ColumnElement, Connection, Engine, bindparam, delete, func, insert, literal_column, select

from llmapi.costs.budget_windows import window_at
from llmapi.costs.prepared import Prepared
from llmapi.db.columns import EPOCH, MICROSECOND
from llmapi.db.engine import reading
from llmapi.db.tables.budgets import balances, budgets, reservations
from llmapi.db.tables.ledger import ledger, postings

CARRIED = "carried"  # the entry of sums of postings that were deleted
MOST_FAULTS = 20  # of each kind that are named
Slot = tuple[str, int]  # a budget, and the start of its window as Instant keeps it
UNHELD: Final = balances.c.held == literal_column("0")
OVER: Final = Prepared(
    lambda _: delete(balances)
    .where(balances.c.budget == bindparam("of"), balances.c.start < bindparam("first"), UNHELD)
    .returning(balances.c.start)
)


def micros(instant: datetime) -> int:
    """Return an instant as Instant keeps it."""
    return (instant - EPOCH) // MICROSECOND


def spent_account(slot: Slot) -> str:
    """Return the account of what is spent of a budget in a window."""
    return _accounts(slot)[0]


def _accounts(slot: Slot) -> tuple[str, str]:
    """Return the two accounts of a budget in a window, of what is spent and of what is available."""
    return f"spent:{slot[0]}:{slot[1]}", f"available:{slot[0]}:{slot[1]}"


def _budget_of(account: str) -> str:
    """Return the budget of an account; "" if it is none of a budget."""
    kind, _, rest = account.partition(":")
    return rest.rpartition(":")[0] if kind == "spent" else ""


def posted(row: dict[str, Any], charged: Sequence[tuple[Slot, int]]) -> Iterator[dict[str, Any]]:
    """Yield the postings of a ledger row: its cost, and what its budgets are charged."""
    pairs = [(f"expense:{row['tenant']}", f"provider:{row['provider']}", row["cost"] or 0)]
    pairs += [(*_accounts(slot), amount) for slot, amount in charged]
    for debit, credit, amount in pairs:
        if amount:
            same = {"at": row["at"], "entry": row["entry"]}
            yield {**same, "account": debit, "amount": amount}
            yield {**same, "account": credit, "amount": -amount}


def carry_forward(connection: Connection, until: datetime) -> None:
    """Replace the postings up to and with `until` by their sums, account by account: the balances stay provable.

    For whoever deletes the ledger's rows up to that instant, in the same transaction. Sums carried before are older,
    and so among them; if a row came late and they are not, a later step has them. Windows of budgets that were over by
    then are forgotten with their balances: a short one that rolls has a slice a second, of which all would be carried.
    """
    gone = delete(postings).where(postings.c.at <= until).returning(postings.c.account, postings.c.amount)
    sums: Counter[str] = Counter()
    for account, amount in connection.execute(gone):
        sums[account] += amount
    for account in _forgotten(connection, set(map(_budget_of, sums)), until):
        sums.pop(account, None)
    same = {"at": until, "entry": CARRIED}
    if rows := [{**same, "account": account, "amount": amount} for account, amount in sorted(sums.items()) if amount]:
        connection.execute(insert(postings), rows)


def _forgotten(connection: Connection, ids: set[str], until: datetime) -> Iterator[str]:
    """Delete the balances of windows of these budgets that were over at an instant; yields their accounts."""
    for id, kind, seconds in connection.execute(select(budgets.c.id, budgets.c.window, budgets.c.seconds)).all():
        if id in ids:
            for (start,) in OVER(connection, id, micros(window_at(kind, seconds, until).first)):
                yield from _accounts((id, start))


def verify(engine: Engine) -> list[str]:
    """Return what is wrong with the books, a sentence each; [] when they prove right."""
    asking = engine
    if engine.dialect.name == "postgresql":  # all questions see the same moment, as they do on SQLite
        asking = engine.execution_options(isolation_level="REPEATABLE READ")
    with reading(asking) as connection:
        checks = (_unbalanced, _not_as_the_ledger, _spent_otherwise, _held_otherwise)
        return [fault for check in checks for fault in check(connection)]


def _unbalanced(connection: Connection) -> Iterator[str]:
    total = func.sum(postings.c.amount)
    found = select(postings.c.entry, total).group_by(postings.c.entry).having(total != 0).limit(MOST_FAULTS)
    for entry, amount in connection.execute(found):
        yield f"the postings of {entry} sum to {amount}"


def _not_as_the_ledger(connection: Connection) -> Iterator[str]:
    """Compare the ledger's costs with the expenses posted, entry by entry, both ways."""
    expenses = _sums_of("expense:", postings.c.entry, postings.c.entry != CARRIED).subquery()
    both = ledger.outerjoin(expenses, expenses.c.entry == ledger.c.entry)
    cost, posted_cost = func.coalesce(ledger.c.cost, 0), func.coalesce(expenses.c.amount, 0)
    wrong = select(ledger.c.entry, cost, posted_cost).select_from(both).where(cost != posted_cost)
    for entry, booked, amount in connection.execute(wrong.limit(MOST_FAULTS)):
        yield f"the ledger says {booked} for {entry}, the postings {amount}"
    both = expenses.outerjoin(ledger, expenses.c.entry == ledger.c.entry)
    lost = select(expenses.c.entry).select_from(both).where(ledger.c.entry.is_(None))
    for (entry,) in connection.execute(lost.limit(MOST_FAULTS)):
        yield f"{entry} is posted and not in the ledger"


def _spent_otherwise(connection: Connection) -> Iterator[str]:
    found = _sums_of("spent:", postings.c.account)
    accounts = {account: int(amount) for account, amount in connection.execute(found)}
    for budget, start, spent in connection.execute(select(balances.c.budget, balances.c.start, balances.c.spent)):
        amount = accounts.get(spent_account((budget, micros(start))), 0)
        if amount != spent:
            yield f"{spent} is spent of {budget} in the window of {start}, the postings say {amount}"


def _held_otherwise(connection: Connection) -> Iterator[str]:
    held: dict[tuple[str, int], int] = {}
    for amount, slots in connection.execute(select(reservations.c.amount, reservations.c.budgets)):
        for budget, start in orjson.loads(slots):
            held[budget, start] = held.get((budget, start), 0) + amount
    for budget, start, amount in connection.execute(select(balances.c.budget, balances.c.start, balances.c.held)):
        reserved = held.get((budget, micros(start)), 0)
        if reserved != amount:
            yield f"{amount} is held of {budget} in the window of {start}, the reservations say {reserved}"


def _sums_of(prefix: str, by: ColumnElement[Any], *also: ColumnElement[bool]) -> Any:
    mine = postings.c.account.startswith(prefix, autoescape=True)
    return select(by, func.sum(postings.c.amount).label("amount")).where(mine, *also).group_by(by)
