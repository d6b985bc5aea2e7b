"""A ledger and budgets on a real database, a clock that stands still, and calls that cost a thousand a token."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, select

from llmapi.core.calls import NOTHING, Attempt, Call, Message, Target, Usage
from llmapi.core.events import CallFinished
from llmapi.core.identity import Payer
from llmapi.core.ids import new_id
from llmapi.core.lifetime import Lifetime
from llmapi.core.money import FREE, UNPRICED, Cost
from llmapi.costs.budgets import Budgets
from llmapi.costs.ledger import Ledger
from llmapi.costs.reservations import Hold
from llmapi.db.engine import reading
from llmapi.db.tables.budgets import reservations
from llmapi.db.tables.ledger import ledger

TOKEN = 1000  # nano-dollars
PAYER = Payer("search", "key_1", "ann")
MODEL = Target("p", "m")


class TokenPrices:
    """A thousand nano-dollars a token; "free" is free, "unknown" is unknown."""

    def cost(self, target: Target, usage: Usage) -> Cost:
        if target.provider == "free":
            return FREE
        return UNPRICED if target.provider == "unknown" else Cost(TOKEN * usage.total_tokens, "priced")

    bound = cost

    def quote(self, target: Target, usage: Usage) -> dict[str, Any] | None:
        return None if target.provider in ("free", "unknown") else {"input": "1", "output": "1", "source": "here"}


@dataclass
class Now:
    """A clock to be turned by hand; a Wednesday."""

    at: datetime = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def pass_by(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass
class Noted:
    """An outbox that keeps what it was given."""

    told: list[tuple[str, str, Mapping[str, Any]]] = field(default_factory=list)
    woken: int = 0

    def add(self, connection: Connection, tenant: str, kind: str, data: Mapping[str, Any]) -> None:
        self.told.append((tenant, kind, data))

    def wake(self) -> None:
        self.woken += 1


class Books:
    """What most tests need of one process."""

    def __init__(self, engine: Engine, now: Now | None = None, **more: Any) -> None:
        self.engine, self.now = engine, now or Now()
        self.outbox, self.heard = Noted(), []
        self.budgets = Budgets(engine, now=self.now)
        self.ledger = Ledger(
            engine, TokenPrices(), outbox=self.outbox, tell=self.heard.append, now=self.now, **{"lease": 10.0, **more}
        )

    def hold(self, amount: int | None, *ids: str, call: Call | None = None) -> Hold:
        """Hold money for a call."""
        return self.ledger.reserve(call or a_call(), ids, amount)

    def end(self, hold: Hold, tokens: int, **more: Any) -> None:
        """End a call that was answered with so many tokens."""
        self.ledger(an_end(hold.entry, tokens, **{"at": self.now(), **more}))

    def spend(self, tokens: int, *ids: str) -> None:
        """Ask and be answered."""
        hold = self.hold(tokens * TOKEN, *ids)
        self.ledger.send(hold)
        self.end(hold, tokens)

    def rows(self) -> list[Any]:
        with reading(self.engine) as connection:
            return list(connection.execute(select(ledger).order_by(ledger.c.id)))

    def held(self) -> int:
        """Return how many reservations there are."""
        with reading(self.engine) as connection:
            return len(connection.execute(select(reservations.c.entry)).all())


def a_call(**said: Any) -> Call:
    """Return a call of a minute, on its way through the gateway."""
    call = Call("req_1", "acme", "text", "m", (MODEL,), Lifetime(60.0), (Message("user", "hello"),), payer=PAYER)
    return replace(call, **{"entry": new_id("entry"), **said})


def an_end(entry: str = "", tokens: int = 10, **said: Any) -> CallFinished:
    """Return the end of a call, answered with so many tokens."""
    usage = Usage(tokens) if tokens else NOTHING
    plain: dict[str, Any] = {
        "call_id": "req_1",
        "tenant": "acme",
        "task": "text",
        "asked_model": "default",
        "provider": "p",
        "model": "m",
        "status": "ok",
        "cache": "miss",
        "usage": usage,
        "cost": Cost(TOKEN * tokens, "priced"),
        "attempts": (Attempt("p", "m", "ok"),),
        "duration": 0.5,
        "provider_time": 0.4,
        "streamed": False,
        "at": datetime(2026, 11, 18, 12, 0, tzinfo=UTC),
        "payer": PAYER,
        "entry": entry or new_id("entry"),
        "question": "acme:" + "a" * 64,
        "max_tokens": 256,
    }
    return CallFinished(**{**plain, **said})
