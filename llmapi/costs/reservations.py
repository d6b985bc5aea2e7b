"""What calls under way may cost is held of their budgets before, and booked when they end.

All of it happens in turns: one transaction does what many threads want of it. Ends come first, for they make room.
A reservation has a lease; when its owner is gone what had been sent is booked at the full amount, for nobody knows
better, and what had not is given back.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, delete, insert, update

from llmapi.core.clock import rfc3339
from llmapi.core.errors import BudgetExceeded, LlmApiError, Overloaded, UnpricedModel
from llmapi.core.events import KEPT, BudgetCrossed, CallFinished
from llmapi.costs.budget_counters import Counter, Counters
from llmapi.costs.ledger_rows import BOUND, Row, row_lost
from llmapi.costs.postings import Slot, micros
from llmapi.db.columns import EPOCH, MICROSECOND
from llmapi.db.tables.budgets import reservations

ENDED = (
    delete(reservations)
    .where(reservations.c.entry.in_(bindparam("entries", expanding=True)))
    .returning(reservations.c.entry, reservations.c.amount)
)
EXPIRED = (
    delete(reservations)
    .where(reservations.c.entry.in_(bindparam("entries", expanding=True)), reservations.c.until <= bindparam("now"))
    .returning(*reservations.c)
)
SENT = (
    update(reservations)
    .where(reservations.c.entry.in_(bindparam("entries", expanding=True)))
    .values(sent=True)
    .returning(reservations.c.entry)
)
MORE = (
    update(reservations)
    .where(reservations.c.entry == bindparam("of"))
    .values(sent=True, amount=reservations.c.amount + bindparam("extra"))
    .returning(reservations.c.entry)
)


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
        if event.cache in KEPT:
            return  # who asked for the answer, or stayed with it to the end, pays
        uncounted = event.cost.nanos is None or (event.status != "ok" and (self.open or self.begun))
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
    models: frozenset[str] = frozenset()  # that it was charged for, as budgets name them


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
        answers: dict[int, Any] = {}
        self._settle(counters, [each for each in errands if isinstance(each, Settle)])
        for place, each in enumerate(errands):
            if isinstance(each, Recover) and counters is not None:
                answers[place] = self._recover(counters, each)
        sends = {place: each for place, each in enumerate(errands) if isinstance(each, Send)}
        answers |= self._send(counters, sends)
        wishes = {place: each for place, each in enumerate(errands) if isinstance(each, Reserve)}
        answers |= self._reserve(counters, wishes)
        if counters is not None:
            self.crossed = counters.write()
        return [answers.get(place) for place in range(len(errands))]

    def _settle(self, counters: Counters | None, ends: Sequence[Settle]) -> None:
        held = {each.hold.entry: each.hold for each in ends if each.hold is not None and each.hold.slots}
        amounts: dict[str, int] = {}
        if held:
            amounts = {row.entry: row.amount for row in self.connection.execute(ENDED, {"entries": list(held)})}
        for each in ends:
            if each.hold is None or not each.hold.slots or counters is None:
                self.booked.append((each.row, []))
            elif each.hold.entry in amounts:  # else it came after its lease, and is booked at its full amount
                self._end(counters, each.hold.slots, amounts[each.hold.entry], each.row, each.models)

    def _end(
        self, counters: Counters, slots: Iterable[Slot], amount: int, row: Row, models: frozenset[str] | None
    ) -> None:
        """Give back what was held and charge the cost; a model's budget pays for its own model's askings alone."""
        cost, charged = row["cost"] or 0, []
        for slot in slots:
            counters.hold(slot, -amount)
            counter = counters.get(slot[0])
            other = counter is not None and counter.row.level == "model" and models is not None
            if counter is None or not cost or (other and counter.row.name not in (models or ())):
                continue
            counters.spend(slot, cost)
            charged.append((slot, cost))
        self.booked.append((row, charged))

    def _recover(self, counters: Counters, wish: Recover) -> int:
        entries = [entry for entry, _ in wish.found]
        rows = self.connection.execute(EXPIRED, {"entries": entries, "now": self.now}).all()
        for row in rows:
            slots = slots_of(row.budgets)
            if row.sent:
                lost = row_lost(begun(row.about), self.now, row.amount)
                self._end(counters, slots, row.amount, lost, None)
                continue
            for slot in slots:
                counters.hold(slot, -row.amount)
        return len(rows)

    def _send(self, counters: Counters | None, wishes: dict[int, Send]) -> dict[int, Any]:
        plain = {each.hold.entry for each in wishes.values() if not each.extra}
        known: set[str] = set()
        if plain:
            known = {row.entry for row in self.connection.execute(SENT, {"entries": sorted(plain)})}
        answers: dict[int, Any] = {}
        for place, each in wishes.items():
            if each.extra and counters is not None:
                answers[place] = self._hold_more(counters, each)
            elif each.hold.entry not in known:
                answers[place] = _too_late()
        return answers

    def _hold_more(self, counters: Counters, wish: Send) -> LlmApiError | None:
        for budget, _ in wish.hold.slots:
            counter = counters.get(budget)
            if counter is not None and counter.row.active and not counter.fits(wish.extra):
                return refused_by(counter)
        more = {"of": wish.hold.entry, "extra": wish.extra}
        if self.connection.execute(MORE, more).first() is None:
            return _too_late()
        for slot in wish.hold.slots:
            counters.hold(slot, wish.extra)
        return None

    def _reserve(self, counters: Counters | None, wishes: dict[int, Reserve]) -> dict[int, Any]:
        if counters is None:
            return {place: _nothing_held(each) for place, each in wishes.items()}
        answers = {place: _held(counters, each) for place, each in wishes.items()}
        rows = [
            {
                "entry": hold.entry,
                "owner": self.owner,
                "until": hold.until,
                "sent": False,
                "amount": hold.amount,
                "budgets": orjson.dumps([[budget, micros(start)] for budget, start in hold.slots]).decode(),
                "about": orjson.dumps({**wishes[place].about, "at": None}).decode(),
            }
            for place, hold in answers.items()
            if isinstance(hold, Hold) and hold.slots
        ]
        if rows:
            self.connection.execute(insert(reservations), rows)
        return answers


def slots_of(budgets: str) -> tuple[Slot, ...]:
    """Return the slots a reservation names."""
    return tuple((budget, EPOCH + start * MICROSECOND) for budget, start in orjson.loads(budgets))


def begun(about: str) -> Row:
    """Return what a reservation knows of its call."""
    row: Row = orjson.loads(about)
    return row


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


def _held(counters: Counters, wish: Reserve) -> Hold | LlmApiError:
    """Hold money of every budget that is there and active, or of none."""
    found = [counter for id in wish.budgets if (counter := counters.get(id)) is not None and counter.row.active]
    if wish.amount is None and any(counter.row.hard for counter in found):
        return UnpricedModel("A hard budget applies, and nobody knows the price of the model.")
    amount = wish.amount or 0
    for counter in found:
        if not counter.fits(amount):
            return refused_by(counter)
    slots = tuple((counter.row.id, counter.window.slot) for counter in found)
    for slot in slots:
        counters.hold(slot, amount)
    return Hold(wish.about["entry"], amount, amount, slots, wish.until)


def _nothing_held(wish: Reserve) -> Hold:
    return Hold(wish.about["entry"], 0, 0, (), wish.until)


def _too_late() -> Overloaded:
    return Overloaded("The call waited longer than its reservation lasts.", retry_after=1.0)
