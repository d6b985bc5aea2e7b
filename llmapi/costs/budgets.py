"""Budgets: how much money a tenant, or a project, key, user or model of it, may spend in a window.

A hard budget refuses calls that may go beyond it; a soft one only tells when its thresholds are crossed. What a call
costs counts in the window in which it began; a new budget counts from its first call on.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy import ColumnElement, Connection, Engine, Row, and_, delete, func, insert, select, update

from llmapi.core.calls import Target
from llmapi.core.clock import Monotonic, Wall, monotonic, utc_now
from llmapi.core.errors import LlmApiError, NotFound, ValidationFailed
from llmapi.core.identity import Payer
from llmapi.core.ids import new_id
from llmapi.costs.budget_windows import LONGEST, SHORTEST, window_at
from llmapi.db.engine import reading, writing
from llmapi.db.tables.budgets import balances, budgets

LEVELS: Final = ("tenant", "project", "key", "user", "model")
WINDOWS: Final = ("day", "week", "month", "rolling")
THRESHOLDS: Final = (0.5, 0.8, 1.0)
MOST_THRESHOLDS: Final = 10
MOST_BUDGETS: Final = 1000  # of a tenant
LARGEST: Final = 10**18  # nano-dollars: a thousand million dollars
FRESH: Final = 2.0  # seconds a process believes what it knows
MOST_TENANTS: Final = 10_000  # remembered at once
UNKNOWN: Final = "There is no such budget."


@dataclass(frozen=True, slots=True)
class Budget:
    """One budget; `name` is of the project, key, user or model ("model" or "provider/model"), "" for the tenant."""

    id: str
    tenant: str
    level: str
    name: str
    amount: int  # nano-dollars
    window: str
    seconds: int  # of a rolling window, else 0
    hard: bool
    active: bool
    thresholds: tuple[float, ...]
    created: datetime

    @classmethod
    def of(cls, row: Row[Any]) -> "Budget":
        """Return the budget of a row."""
        values = row._mapping
        return cls(**{**{name: values[name] for name in cls.__slots__}, "thresholds": tuple(_shares(row.thresholds))})


@dataclass(frozen=True, slots=True)
class Standing:
    """How a budget stands: nano-dollars spent, held by calls under way, and left; never below 0."""

    budget: Budget
    begins: datetime
    ends: datetime
    spent: int
    held: int

    @property
    def left(self) -> int:
        return max(0, self.budget.amount - self.spent - self.held)


@dataclass(slots=True)
class _Known:
    """What a process knows of a tenant's budgets."""

    looked: float  # when, on the monotonic clock
    scopes: tuple[tuple[str, str, str], ...]  # id, level, name
    looking: bool = False  # somebody looks anew, while the others go on with this


class Budgets:
    """The budgets of all tenants, each of which sees its own; every process of the service follows within 2 s."""

    def __init__(self, engine: Engine, *, now: Wall = utc_now, clock: Monotonic = monotonic) -> None:
        self._engine, self._now, self._clock = engine, now, clock
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._known: dict[str, _Known] = {}

    def create(
        self,
        tenant: str,
        *,
        amount: int,
        window: str,
        level: str = "tenant",
        name: str = "",
        seconds: int = 0,
        hard: bool = True,
        thresholds: Sequence[float] = THRESHOLDS,
    ) -> Budget:
        """Return a new budget; raises ValidationFailed naming the field."""
        _check_scope(level, name)
        _check_window(window, seconds)
        budget = Budget(
            new_id("budget"), tenant, level, name, _amount(amount), window, seconds, hard, True,
            _thresholds(thresholds), self._now(),
        )
        with writing(self._engine) as connection:
            _put(connection, budget)
        self._forget(tenant)
        return budget

    def get(self, id: str, tenant: str) -> Budget:
        """Return a budget; raises NotFound, also for another tenant's."""
        with reading(self._engine) as connection:
            return _found(connection, id, tenant)

    def list(self, tenant: str, *, limit: int = 100, after: str = "") -> list[Budget]:
        """Return a tenant's budgets in the order they were made, those after the id `after`."""
        found = select(budgets).where(budgets.c.tenant == tenant, budgets.c.id > after)
        with reading(self._engine) as connection:
            return [Budget.of(row) for row in connection.execute(found.order_by(budgets.c.id).limit(limit))]

    def update(
        self,
        id: str,
        tenant: str,
        *,
        amount: int | None = None,
        hard: bool | None = None,
        active: bool | None = None,
        thresholds: Sequence[float] | None = None,
    ) -> Budget:
        """Change what is not None, at once for every process; raises NotFound, ValidationFailed."""
        wanted = {
            "amount": None if amount is None else _amount(amount),
            "hard": hard,
            "active": active,
            "thresholds": None if thresholds is None else _json(_thresholds(thresholds)),
        }
        values = {name: value for name, value in wanted.items() if value is not None}
        with writing(self._engine) as connection:
            if values:
                connection.execute(update(budgets).where(_named(id, tenant)).values(values))
            budget = _found(connection, id, tenant)
        self._forget(tenant)
        return budget

    def delete(self, id: str, tenant: str) -> None:
        """Forget a budget and what was spent of it; the ledger stays. Raises NotFound."""
        with writing(self._engine) as connection:
            if connection.execute(delete(budgets).where(_named(id, tenant))).rowcount != 1:
                raise NotFound(UNKNOWN)
            connection.execute(delete(balances).where(balances.c.budget == id))
        self._forget(tenant)

    def status(self, id: str, tenant: str) -> Standing:
        """Return how a budget stands; raises NotFound."""
        with reading(self._engine) as connection:
            return self._standing(connection, _found(connection, id, tenant))

    def standings(self, tenant: str, *, limit: int = 100, after: str = "") -> tuple[Standing, ...]:
        """Return how a tenant's budgets stand, as `list` returns them."""
        found = self.list(tenant, limit=limit, after=after)
        with reading(self._engine) as connection:
            return tuple(self._standing(connection, budget) for budget in found)

    def applying(self, tenant: str, payer: Payer, targets: tuple[Target, ...]) -> tuple[str, ...]:
        """Return the ids of the budgets a call draws on; raises when the database is away and nothing is known."""
        known = self._known.get(tenant)
        if known is None:
            known = self._look(tenant, None)
        elif (age := self._clock() - known.looked) > FRESH:
            known = self._look_alone(tenant)
        elif age > FRESH / 2 and not known.looking:
            known.looking = True
            known = self._look(tenant, known)
        if not known.scopes:
            return ()
        return tuple(id for id, level, name in known.scopes if PAYS[level](name, payer, targets))

    def _standing(self, connection: Connection, budget: Budget) -> Standing:
        window = window_at(budget.window, budget.seconds, self._now())
        sums = select(func.sum(balances.c.spent), func.sum(balances.c.held))
        mine = sums.where(balances.c.budget == budget.id, balances.c.start >= window.first)
        spent, held = connection.execute(mine).one()
        return Standing(budget, window.first, window.ends, int(spent or 0), int(held or 0))

    def _look_alone(self, tenant: str) -> _Known:
        """Look anew, one thread for all who wait: what is known is too old to go on with."""
        with self._turn:
            known = self._known.get(tenant)
            if known is not None and self._clock() - known.looked <= FRESH:
                return known
            return self._look(tenant, known)

    def _look(self, tenant: str, known: _Known | None) -> _Known:
        begun = self._clock()
        mine = select(budgets.c.id, budgets.c.level, budgets.c.name)
        mine = mine.where(budgets.c.tenant == tenant, budgets.c.active).order_by(budgets.c.id)
        try:
            with reading(self._engine) as connection:
                scopes = tuple((row.id, row.level, row.name) for row in connection.execute(mine))
        except LlmApiError:
            if known is None:
                raise
            scopes = known.scopes  # while the database is away no budget is made, and none can be drawn on
        fresh = _Known(begun, scopes)
        with self._lock:
            if len(self._known) >= MOST_TENANTS:
                self._known.clear()
            self._known[tenant] = fresh
        return fresh

    def _forget(self, tenant: str) -> None:
        with self._lock:
            self._known.pop(tenant, None)


Pays = Callable[[str, Payer, tuple[Target, ...]], bool]


def _of_model(name: str, payer: Payer, targets: tuple[Target, ...]) -> bool:
    return any(name in (target.model, f"{target.provider}/{target.model}") for target in targets)


PAYS: Final[Mapping[str, Pays]] = {
    "tenant": lambda name, payer, targets: True,
    "project": lambda name, payer, targets: payer.project == name,
    "key": lambda name, payer, targets: payer.key == name,
    "user": lambda name, payer, targets: payer.user == name,
    "model": _of_model,
}


def _named(id: str, tenant: str) -> ColumnElement[bool]:
    return and_(budgets.c.id == id, budgets.c.tenant == tenant)


def _found(connection: Connection, id: str, tenant: str) -> Budget:
    row = connection.execute(select(budgets).where(_named(id, tenant))).one_or_none()
    if row is None:
        raise NotFound(UNKNOWN)
    return Budget.of(row)


def _put(connection: Connection, budget: Budget) -> None:
    mine = select(func.count()).select_from(budgets).where(budgets.c.tenant == budget.tenant)
    if connection.execute(mine).scalar_one() >= MOST_BUDGETS:
        raise ValidationFailed(f"A tenant may have {MOST_BUDGETS} budgets.")
    row = {each: getattr(budget, each) for each in Budget.__slots__} | {"thresholds": _json(budget.thresholds)}
    connection.execute(insert(budgets), row)


def _check_scope(level: str, name: str) -> None:
    if level not in LEVELS:
        raise _wrong("level", f"Must be one of {', '.join(LEVELS)}.")
    if bool(name) == (level == "tenant") or len(name) > 128 or "\0" in name:
        raise _wrong("name", f"A budget of a {level} {'has no name' if level == 'tenant' else 'needs a name'}.")


def _check_window(window: str, seconds: int) -> None:
    if window not in WINDOWS:
        raise _wrong("window", f"Must be one of {', '.join(WINDOWS)}.")
    if window != "rolling" and seconds:
        raise _wrong("seconds", "Only a rolling window has seconds.")
    if window == "rolling" and not SHORTEST <= seconds <= LONGEST:
        raise _wrong("seconds", f"A rolling window has {SHORTEST} to {LONGEST} seconds.")


def _amount(amount: int) -> int:
    if not 0 <= amount <= LARGEST:
        raise _wrong("amount", "Must be 0 to a thousand million dollars.")
    return amount


def _thresholds(shares: Sequence[float]) -> tuple[float, ...]:
    if len(shares) > MOST_THRESHOLDS or not all(0 < share <= 10 for share in shares):
        raise _wrong("thresholds", f"Up to {MOST_THRESHOLDS} shares of the amount, above 0 and up to 10.")
    return tuple(sorted(set(shares)))


def _wrong(field: str, what: str) -> ValidationFailed:
    return ValidationFailed("The budget is not valid.", fields={field: [what]})


def _json(shares: Sequence[float]) -> str:
    return orjson.dumps(list(shares)).decode()


def _shares(text: str) -> Sequence[float]:
    return [float(share) for share in orjson.loads(text)]
