"""What calls under way may cost is held of their budgets before, and booked when they end.

All of it happens in turns: one transaction does what many threads want of it. Ends come first, for they make room.
A reservation has a lease; when its owner is gone what had been sent is booked at the full amount, for nobody knows
better, and what had not is given back.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy import Connection, bindparam, delete, update

from llmapi.core.clock import rfc3339
from llmapi.core.errors import BudgetExceeded, LlmApiError, Overloaded, UnpricedModel
from llmapi.core.events import KEPT, BudgetCrossed, CallFinished
from llmapi.costs.budget_counters import Counter, Counters
from llmapi.costs.ledger_rows import BOUND, Row, row_lost
from llmapi.costs.postings import Slot, micros
from llmapi.costs.prepared import Prepared, prepared_insert
from llmapi.costs.savings import OWN_KEY
from llmapi.db.tables.budgets import reservations

MINE = reservations.c.entry == bindparam("of")
ENDED: Final = Prepared(lambda _: delete(reservations).where(MINE).returning(reservations.c.amount))
EXPIRED: Final = Prepared(
    lambda _: delete(reservations)
    .where(MINE, reservations.c.until <= bindparam("now"))
    .returning(reservations.c.sent, reservations.c.amount, reservations.c.budgets, reservations.c.about)
)
SENT: Final = Prepared(
    lambda _: update(reservations)
    .where(MINE)
    .values(sent=bindparam("sent"), amount=reservations.c.amount + bindparam("extra"))
    .returning(reservations.c.entry)
)
HELD: Final = ("entry", "owner", "until", "sent", "amount", "budgets", "about")
HOLD: Final = prepared_insert(reservations, HELD)


@dataclass(slots=True)
class Hold:
    """What a call under way holds, as its own process knows it; it changes with each asking of a provider."""

    entry: str
    amount: int  # nano-dollars held in all
    asking: int  # the most one asking can cost
    slots: tuple[Slot, ...]
    until: datetime
    sent: bool = False  # a provider was asked
    open: bool = False  # one is being asked, and nothing is known yet
    begun: bool = False  # an answer has begun
    spare: bool = False  # the last asking surely cost nothing: what was held for it serves the next
    doubt: int = 0  # the most that askings cost which ended without a count

    def judge(self, row: Row, event: CallFinished) -> None:
        """Put the most it can have cost into the row of a call whose tokens nobody counted."""
        if row["pricing"] == OWN_KEY:
            return
        asked = self.open and (event.attempts or event.status == "internal_error")  # else another stayed, and pays
        uncounted = event.cost.nanos is None or (event.status != "ok" and bool(asked or self.begun))
        if event.cache in KEPT:
            uncounted = False  # who stayed with the answer to its end pays for it, but not for askings before it
        doubt = self.doubt + (self.asking if uncounted else 0)
        if doubt:
            counted = row["cost"] or 0
            row["cost"], row["pricing"] = max(counted, min(counted + doubt, self.amount)), BOUND


@dataclass(frozen=True, slots=True)
class Reserve:
    """A wish to hold money; the answer is a Hold, or the error that refuses."""

    about: Row
    budgets: tuple[str, ...]
    amount: int | None  # None: nobody knows the price
    until: datetime


@dataclass(frozen=True, slots=True)
class Send:
    """A provider is about to be asked, for which `extra` must be held besides; the answer is None, or an error."""

    hold: Hold
    extra: int = 0


@dataclass(frozen=True, slots=True)
class Settle:
    """A call ended: its row, and what it held."""

    row: Row
    hold: Hold | None = None
    models: frozenset[str] | None = None  # that it was charged for, as budgets name them; None: nobody knows


@dataclass(frozen=True, slots=True)
class Recover:
    """Reservations whose owners may be gone; the answer is how many were."""

    found: tuple[tuple[str, tuple[Slot, ...]], ...]


Errand = Reserve | Send | Settle | Recover
Booked = tuple[Row, list[tuple[Slot, int]]]  # a row of the ledger, and what is charged to its budgets


@dataclass(slots=True)
class Turn:
    """One transaction's work: what to book in the ledger, and whom to tell, are left in `booked` and `crossed`."""

    connection: Connection
    owner: str
    now: datetime
    booked: list[Booked] = field(default_factory=list)
    crossed: list[BudgetCrossed] = field(default_factory=list)

    def do(self, errands: Sequence[Errand]) -> list[Any]:
        """Return an answer for each errand, in order."""
        ids = {id for each in errands for id in _budgets_of(each)}
        counters = Counters(self.connection, ids, self.now) if ids else None
        self._settle(counters, [each for each in errands if isinstance(each, Settle)])
        answers = [self._answer(counters, each) for each in errands]
        if counters is not None:
            self.crossed = counters.write()
        return answers

    def _answer(self, counters: Counters | None, errand: Errand) -> Any:
        if isinstance(errand, Reserve):
            return self._reserve(counters, errand)
        if isinstance(errand, Send):
            return self._send(counters, errand)
        if isinstance(errand, Recover) and counters is not None:
            return self._recover(counters, errand)
        return None

    def _settle(self, counters: Counters | None, ends: Sequence[Settle]) -> None:
        for each in ends:
            if each.hold is None or not each.hold.slots or counters is None:
                self.booked.append((each.row, []))
            elif (amount := ENDED(self.connection, each.hold.entry).scalar_one_or_none()) is not None:
                self._end(counters, each.hold.slots, amount, each.row, each.models)
            # else it came after its lease, and is booked at its full amount

    def _end(
        self, counters: Counters, slots: Sequence[Slot], amount: int, row: Row, models: frozenset[str] | None
    ) -> None:
        """Give back what was held and charge the cost; a model's budget pays for its own model's askings alone."""
        cost, charged = row["cost"] or 0, []
        counters.hold(slots, -amount)
        for slot in slots:
            counter = counters.get(slot[0])
            if counter is None or not cost:
                continue
            if models is not None and counter.row.level == "model" and counter.row.name not in models:
                continue
            counters.spend(slot, cost)
            charged.append((slot, cost))
        self.booked.append((row, charged))

    def _recover(self, counters: Counters, wish: Recover) -> int:
        count = 0
        for entry, _ in wish.found:
            for sent, amount, budgets, about in EXPIRED(self.connection, entry, micros(self.now)):
                count += 1
                slots = slots_of(budgets)
                if sent:
                    self._end(counters, slots, amount, row_lost(orjson.loads(about), self.now, amount), None)
                else:
                    counters.hold(slots, -amount)
        return count

    def _send(self, counters: Counters | None, wish: Send) -> LlmApiError | None:
        more = counters if wish.extra else None
        for counter in more.active(budget for budget, _ in wish.hold.slots) if more else ():
            if not counter.fits(wish.extra):
                return refused_by(counter)
        if SENT(self.connection, True, wish.extra, wish.hold.entry).first() is None:
            return Overloaded("The call waited longer than its reservation lasts.", retry_after=1.0)
        if more is not None:
            more.hold(wish.hold.slots, wish.extra)
        return None

    def _reserve(self, counters: Counters | None, wish: Reserve) -> Hold | LlmApiError:
        """Hold money of every budget that is there and active, or of none."""
        found = counters.active(wish.budgets) if counters is not None else []
        if wish.amount is None and any(counter.row.hard for counter in found):
            return UnpricedModel("A hard budget applies, and nobody knows the price of the model.")
        amount = wish.amount or 0
        for counter in found:
            if not counter.fits(amount):
                return refused_by(counter)
        hold = Hold(wish.about["entry"], amount, amount, tuple(counter.slot for counter in found), wish.until)
        if counters is not None and hold.slots:
            HOLD(self.connection, *self._row(hold, wish))
            counters.hold(hold.slots, amount)
        return hold

    def _row(self, hold: Hold, wish: Reserve) -> tuple[Any, ...]:
        about = orjson.dumps({**wish.about, "at": None}).decode()
        slots = orjson.dumps(hold.slots).decode()
        return hold.entry, self.owner, micros(hold.until), False, hold.amount, slots, about


def slots_of(budgets: str) -> tuple[Slot, ...]:
    """Return the slots a reservation names."""
    return tuple((budget, start) for budget, start in orjson.loads(budgets))


def refused_by(counter: Counter) -> BudgetExceeded:
    """Return the error that names a budget which has no room."""
    row, ends = counter.row, rfc3339(counter.window.ends)
    whose = f"{row.level} {row.name}" if row.name else row.level
    message = f"The budget {row.id} of the {whose} has no room for what this call may cost until {ends}."
    return BudgetExceeded(message, budget=row.id, level=row.level, name=row.name, window=row.window, ends=ends)


def _budgets_of(errand: Errand) -> Iterable[str]:
    if isinstance(errand, Reserve):
        return errand.budgets
    if isinstance(errand, Recover):
        return [budget for _, slots in errand.found for budget, _ in slots]
    hold = errand.hold
    if hold is None or (isinstance(errand, Send) and not errand.extra):
        return ()
    return [budget for budget, _ in hold.slots]
