"""What is spent and held of some budgets, read and changed within one transaction that has them to itself."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy import Connection, Row, bindparam, select, update

from llmapi.core.events import BudgetCrossed
from llmapi.costs.budget_windows import Window, window_at
from llmapi.costs.postings import Slot, micros
from llmapi.costs.prepared import Prepared
from llmapi.db.tables.budgets import balances, budgets


def _added(put_into: Callable[[Any], Any]) -> Any:
    """Return the statement that adds to a balance, which it opens if need be."""
    put = put_into(balances)
    values: dict[str, Any] = {key: bindparam(key) for key in ("budget", "start", "spent", "held", "told")}
    sums = {"spent": balances.c.spent + put.excluded.spent, "held": balances.c.held + put.excluded.held}
    return put.values(values).on_conflict_do_update(index_elements=["budget", "start"], set_=sums)


ADDED: Final = Prepared(_added)
# On PostgreSQL the row is locked: who comes second waits here, and then sees what the first has committed.
LOCKED: Final = Prepared(lambda _: select(budgets).where(budgets.c.id == bindparam("id")).with_for_update())
FOUND: Final = Prepared(
    lambda _: select(balances.c.spent, balances.c.held, balances.c.told).where(
        balances.c.budget == bindparam("of"), balances.c.start >= bindparam("first")
    )
)
TOLD: Final = Prepared(
    lambda _: update(balances)
    .where(balances.c.budget == bindparam("of"), balances.c.start == bindparam("since"))
    .values(told=bindparam("shares"))
)


@dataclass(slots=True)
class Counter:
    """One budget in its window of this instant."""

    row: Row[Any]
    window: Window
    spent: int = 0
    held: int = 0
    before: int = 0  # spent when this transaction began
    told: frozenset[float] = frozenset()

    @property
    def slot(self) -> Slot:
        """Where a call that begins now counts."""
        return self.row.id, micros(self.window.slot)

    def fits(self, amount: int) -> bool:
        """Say whether so much more can be held: of a soft budget always."""
        return not self.row.hard or bool(self.spent + self.held + amount <= self.row.amount)

    def crossed(self) -> list[float]:
        """Return the thresholds that are reached now, were not before, and are not told yet."""
        if self.spent <= self.before:
            return []
        shares = [float(share) for share in orjson.loads(self.row.thresholds)]
        reached = [share for share in shares if self.before < share * self.row.amount <= self.spent]
        return [share for share in reached if share not in self.told]


class Counters:
    """The budgets with these ids that are still there."""

    def __init__(self, connection: Connection, ids: Iterable[str], now: datetime) -> None:
        self._connection, self._now = connection, now
        self._changes: dict[Slot, list[int]] = defaultdict(lambda: [0, 0])
        self._known: dict[str, Counter] = {}
        for id in sorted(ids):  # one order for all: transactions that wait for each other end
            if (row := LOCKED(connection, id).one_or_none()) is not None:
                self._known[id] = self._counter(row)

    def get(self, id: str) -> Counter | None:
        """Return a budget's counter; None if it was deleted."""
        return self._known.get(id)

    def active(self, ids: Iterable[str]) -> list[Counter]:
        """Return those of these budgets that are there and in force."""
        found = [self._known[id] for id in ids if id in self._known]
        return [counter for counter in found if counter.row.active]

    def hold(self, slots: Iterable[Slot], amount: int) -> None:
        """Hold so much more of each, or less if it is below 0."""
        for slot in slots:
            self._change(slot, 0, amount)

    def spend(self, slot: Slot, amount: int) -> None:
        """Book so much as spent."""
        self._change(slot, amount, 0)

    def write(self) -> list[BudgetCrossed]:
        """Write what was changed; returns the thresholds that were crossed by it."""
        if not self._changes:
            return []
        rows = [(*slot, spent, held, "[]") for slot, (spent, held) in sorted(self._changes.items())]
        ADDED.each(self._connection, rows)
        self._changes.clear()
        return [event for counter in self._known.values() for event in self._tell(counter)]

    def _counter(self, row: Row[Any]) -> Counter:
        counter = Counter(row, window_at(row.window, row.seconds, self._now))
        for spent, held, told in FOUND(self._connection, row.id, micros(counter.window.first)):
            counter.spent += spent
            counter.held += held
            if told != "[]":
                counter.told |= frozenset(orjson.loads(told))
        counter.before = counter.spent
        return counter

    def _change(self, slot: Slot, spent: int, held: int) -> None:
        counter = self._known.get(slot[0])
        if counter is None:
            return  # it was deleted while the call was under way
        change = self._changes[slot]
        change[0] += spent
        change[1] += held
        if slot[1] >= micros(counter.window.first):
            counter.spent += spent
            counter.held += held

    def _tell(self, counter: Counter) -> list[BudgetCrossed]:
        shares = counter.crossed()
        if not shares:
            return []
        row, slot = counter.row, counter.slot
        # In the row of the newest slot, which stays in the window longest; that of a late booking may be another.
        shares_told = orjson.dumps(sorted(counter.told.union(shares))).decode()
        ADDED(self._connection, *slot, 0, 0, "[]")
        TOLD(self._connection, shares_told, *slot)
        facts = (row.tenant, row.id, row.level, row.name)
        return [
            BudgetCrossed(*facts, share, counter.spent, row.amount, counter.window.first, self._now)
            for share in sorted(shares)
        ]
