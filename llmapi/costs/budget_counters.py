"""What is spent and held of some budgets, read and changed within one transaction that has them to itself."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

import orjson
from sqlalchemy import Connection, Row, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from llmapi.core.events import BudgetCrossed
from llmapi.costs.budget_windows import Window, window_at
from llmapi.costs.postings import Slot
from llmapi.db.tables.budgets import balances, budgets

INSERTS: Mapping[str, Any] = MappingProxyType({"sqlite": sqlite.insert, "postgresql": postgresql.insert})


def _added(name: str) -> Any:
    """Return the statement that adds to a balance, which it opens if need be."""
    put = INSERTS[name](balances).values(
        {key: bindparam(key) for key in ("budget", "start", "spent", "held")} | {"told": "[]"}
    )
    sums = {"spent": balances.c.spent + put.excluded.spent, "held": balances.c.held + put.excluded.held}
    return put.on_conflict_do_update(index_elements=["budget", "start"], set_=sums)


ADDED: Mapping[str, Any] = MappingProxyType({name: _added(name) for name in INSERTS})
# On PostgreSQL the rows are locked, in one order for all: who comes second sees what the first has committed.
LOCKED = select(budgets).where(budgets.c.id.in_(bindparam("ids", expanding=True))).order_by(budgets.c.id)
LOCKED = LOCKED.with_for_update()
FOUND = select(balances).where(
    balances.c.budget.in_(bindparam("ids", expanding=True)), balances.c.start >= bindparam("oldest")
)
TOLD = (
    update(balances)
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

    def fits(self, amount: int) -> bool:
        """Say whether so much more can be held: of a soft budget always."""
        return not self.row.hard or self.spent + self.held + amount <= self.row.amount

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
        rows = connection.execute(LOCKED, {"ids": sorted(ids)}).all()
        self._known = {row.id: Counter(row, window_at(row.window, row.seconds, now)) for row in rows}
        if self._known:
            self._read()

    def get(self, id: str) -> Counter | None:
        """Return a budget's counter; None if it was deleted."""
        return self._known.get(id)

    def hold(self, slot: Slot, amount: int) -> None:
        """Hold so much more, or less if it is below 0."""
        self._change(slot, 0, amount)

    def spend(self, slot: Slot, amount: int) -> None:
        """Book so much as spent."""
        self._change(slot, amount, 0)

    def write(self) -> list[BudgetCrossed]:
        """Write what was changed; returns the thresholds that were crossed by it."""
        if not self._changes:
            return []
        rows = [
            {"budget": budget, "start": start, "spent": spent, "held": held}
            for (budget, start), (spent, held) in sorted(self._changes.items())
        ]
        self._connection.execute(ADDED[self._connection.dialect.name], rows)
        self._changes.clear()
        return [event for counter in self._known.values() for event in self._tell(counter)]

    def _read(self) -> None:
        oldest = min(counter.window.first for counter in self._known.values())
        for row in self._connection.execute(FOUND, {"ids": list(self._known), "oldest": oldest}):
            counter = self._known[row.budget]
            if row.start >= counter.window.first:
                counter.spent += row.spent
                counter.held += row.held
                counter.before += row.spent
                counter.told |= frozenset(orjson.loads(row.told))

    def _change(self, slot: Slot, spent: int, held: int) -> None:
        counter = self._known.get(slot[0])
        if counter is None:
            return  # it was deleted while the call was under way
        change = self._changes[slot]
        change[0] += spent
        change[1] += held
        if slot[1] >= counter.window.first:
            counter.spent += spent
            counter.held += held

    def _tell(self, counter: Counter) -> list[BudgetCrossed]:
        shares = counter.crossed()
        if not shares:
            return []
        row, slot = counter.row, counter.window.slot
        # In the row of the newest slot, which stays in the window longest; that of a late booking may be another.
        self._connection.execute(
            ADDED[self._connection.dialect.name], {"budget": row.id, "start": slot, "spent": 0, "held": 0}
        )
        shares_told = orjson.dumps(sorted(counter.told.union(shares))).decode()
        self._connection.execute(TOLD, {"of": row.id, "since": slot, "shares": shares_told})
        facts = (row.tenant, row.id, row.level, row.name)
        return [
            BudgetCrossed(*facts, share, counter.spent, row.amount, counter.window.first, self._now)
            for share in sorted(shares)
        ]
