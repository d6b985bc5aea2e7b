"""What every call cost, in rows that are written once: the sink of CallFinished, and the holds of calls under way.

What costs money is written before the call's end is told on: ledger, postings, budgets and sums in one transaction,
which threads that end at the same time share. What costs nothing is written behind, within a moment.
A database that fails does not fail the answer: its row is kept here and written later.
"""

import logging
import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from llmapi.core.calls import Call
from llmapi.core.clock import Wall, rfc3339, utc_now
from llmapi.core.contracts import Outbox
from llmapi.core.errors import LlmApiError, Overloaded
from llmapi.core.events import BudgetCrossed, CallFinished
from llmapi.core.ids import new_id
from llmapi.core.money import dollars
from llmapi.costs.bookings import book, known
from llmapi.costs.ledger_rows import Quotes, Row, row_begun, row_of
from llmapi.costs.reservations import Errand, Hold, Recover, Reserve, Send, Settle, Turn, slots_of
from llmapi.costs.writing_behind import WritingBehind
from llmapi.db.combining import Combining
from llmapi.db.engine import reading, writing
from llmapi.db.tables.budgets import reservations

MOST_RECOVERED = 100  # reservations one step judges
BEHIND = 2000  # rows that wait when the database does not keep up
ALERT = "budget.alert"  # what webhooks hear

log = logging.getLogger(__name__)
Sums = Callable[[Connection, Sequence[Row]], None]
Failures = (LlmApiError, TimeoutError, SQLAlchemyError)


class Alerts(Outbox, Protocol):
    """An outbox that can be told to send at once."""

    def wake(self) -> None: ...


def no_sums(*_: object) -> None:
    """Add nothing up."""


class Ledger:
    """A sink of CallFinished, and the one who holds money for calls under way.

    sums: adds rows to the sums that questions are answered from, in the transaction that writes the rows
    outbox, tell: who hears that a budget is nearly spent: webhooks, and the bus
    lease: seconds a call may take beyond its lifetime before its reservation is judged
    patience: seconds a thread waits for its turn
    """

    def __init__(
        self,
        engine: Engine,
        prices: Quotes,
        *,
        sums: Sums = no_sums,
        outbox: Alerts | None = None,
        tell: Callable[[Any], None] | None = None,
        now: Wall = utc_now,
        lease: float = 30.0,
        patience: float = 5.0,
    ) -> None:
        self._engine, self._prices, self._sums = engine, prices, sums
        self._outbox, self._tell, self._now = outbox, tell, now
        self._lease, self._patience = lease, patience
        self._holds: dict[str, Hold] = {}
        self._name = new_id("ledger")
        self._turns: Combining[Sequence[Errand], list[Any]] = Combining(self._work)
        self._behind = WritingBehind(self._write, self.recover, every=max(0.2, lease / 3))

    def __call__(self, event: Any) -> None:
        """Book a call that ended."""
        if not isinstance(event, CallFinished):
            return
        row, hold = row_of(event, self._prices), self._holds.pop(event.entry, None)
        if hold is None:
            if row["cost"] == 0 and self._behind.take(Settle(row)):
                return
            self._settle(Settle(row))
            return
        hold.judge(row, event)
        self._settle(Settle(row, hold, models_of(event)))

    def reserve(self, call: Call, budgets: tuple[str, ...], amount: int | None) -> Hold:
        """Hold the most that one asking for a call may cost, in nano-dollars; raises BudgetExceeded, UnpricedModel.

        amount: None when nobody knows the price
        """
        now = self._now()
        until = now + timedelta(seconds=call.lifetime.remaining() + self._lease)
        hold: Hold = self._ask(Reserve(row_begun(call, now), budgets, amount, until))
        self._holds[hold.entry] = hold
        return hold

    def send(self, hold: Hold) -> None:
        """A provider is about to be asked: note it, and hold more if the last asking may have used up what was held.

        Raises BudgetExceeded.
        """
        extra = hold.asking if hold.sent and not hold.spare else 0
        if hold.slots and (extra or not hold.sent):
            self._ask(Send(hold, extra))
        hold.amount += extra
        hold.sent, hold.spare, hold.open = True, False, True

    def recover(self) -> int:
        """Judge some reservations whose owners did not end them in time; returns how many."""
        now = self._now()
        late = select(reservations.c.entry, reservations.c.budgets).where(reservations.c.until <= now)
        with reading(self._engine) as connection:
            rows = connection.execute(late.order_by(reservations.c.until).limit(MOST_RECOVERED)).all()
        found = tuple((row.entry, slots_of(row.budgets)) for row in rows)
        count = int(self._ask(Recover(found))) if found else 0
        if len(rows) < MOST_RECOVERED:  # else some are held yet, and an end without its hold would be booked beside it
            for entry in [entry for entry, hold in list(self._holds.items()) if hold.until <= now]:
                self._holds.pop(entry, None)  # its end was never told
        return count

    def start(self) -> None:
        """Start the thread that writes behind and judges reservations of the dead."""
        self._behind.start()

    def close(self) -> None:
        """Write what waits, as far as the database takes it."""
        self._behind.stop()

    def waiting(self) -> int:
        """Return how many rows are not written yet."""
        return self._behind.waiting()

    def health(self) -> dict[str, Any]:
        """Return how the writing goes, for /health."""
        waiting = self.waiting()
        return {"status": "degraded" if waiting > BEHIND else "ok", "waiting": waiting}

    def _ask(self, errand: Errand) -> Any:
        try:
            answer = self._turns.do((errand,), self._patience)[0]
        except TimeoutError:
            raise Overloaded("The storage is busy.", retry_after=1.0) from None
        if isinstance(answer, LlmApiError):
            raise answer
        return answer

    def _settle(self, end: Settle) -> None:
        try:
            self._write((end,))
        except Failures as failure:
            log.warning("a row of the ledger waits: %s", failure)
            self._behind.keep(end)

    def _write(self, ends: Sequence[Settle]) -> None:
        self._turns.do(ends, self._patience)

    def _work(self, asked: Sequence[Sequence[Errand]]) -> list[list[Any]]:
        """Do what several threads want in one transaction."""
        errands = [errand for each in asked for errand in each]
        try:
            answers = iter(self._turn(errands, again=False))
        except IntegrityError:  # a row was written before, though nobody heard of it
            answers = iter(self._turn(errands, again=True))
        return [[next(answers) for _ in each] for each in asked]

    def _turn(self, errands: Sequence[Errand], *, again: bool) -> list[Any]:
        with writing(self._engine) as connection:
            done = _done(connection, errands) if again else set()
            turn = Turn(connection, f"{self._name}:{os.getpid()}", self._now())
            answers = turn.do([each for each in errands if id(each) not in done])
            if turn.booked:
                self._sums(connection, book(connection, turn.booked))
            for event in turn.crossed if self._outbox is not None else ():
                self._outbox.add(connection, event.tenant, ALERT, alert(event))  # type: ignore[union-attr]
        self._told(turn.crossed)
        left = iter(answers)
        return [None if id(each) in done else next(left) for each in errands]

    def _told(self, crossed: Sequence[BudgetCrossed]) -> None:
        if crossed and self._outbox is not None:
            self._outbox.wake()
        for event in crossed if self._tell is not None else ():
            self._tell(event)  # type: ignore[misc]


def models_of(event: CallFinished) -> frozenset[str] | None:
    """Return the models a call asked, as budgets name them; None when nobody told which."""
    if not event.attempts:
        return None
    names = {(event.provider, event.model), *((each.provider, each.model) for each in event.attempts)}
    return frozenset(name for provider, model in names for name in (model, f"{provider}/{model}"))


def alert(event: BudgetCrossed) -> dict[str, Any]:
    """Return what a webhook is told of a threshold that was crossed."""
    return {
        "budget": event.budget,
        "level": event.level,
        "name": event.name,
        "threshold": event.threshold,
        "spent": dollars(event.spent),
        "amount": dollars(event.amount),
        "window": rfc3339(event.window),
    }


def _done(connection: Connection, errands: Sequence[Errand]) -> set[int]:
    """Return which ends (by identity) are in the ledger already, or come twice."""
    ends = [each for each in errands if isinstance(each, Settle)]
    seen, found = known(connection, [each.row["entry"] for each in ends]), set()
    for each in ends:
        if each.row["entry"] in seen:
            found.add(id(each))
        seen.add(each.row["entry"])
    return found
