"""Reserve, send, settle, crash and recover in any order, against a model of a few lines: to the nano-dollar."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from llmapi.core.errors import BudgetExceeded, Overloaded
from llmapi.core.money import FREE, UNPRICED, Cost
from llmapi.costs.postings import verify
from llmapi.costs.reservations import Hold
from llmapi.db.engine import open_engine
from llmapi.db.tables import metadata
from tests.costs.books import Books, Now, an_end

LIVES = 70.0  # seconds until a reservation is judged
AMOUNTS = (1000, 600)  # of the tenant's budget, and of the key's
HOLDS = st.integers(1, 700)


@dataclass
class Model:
    """One call, as it should be."""

    hold: Hold
    budgets: tuple[int, ...]
    began: float
    held: int
    books: Books
    sent: bool = False
    over: bool = False


class Money(RuleBasedStateMachine):
    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.engine = open_engine("", folder=Path(self.folder.name) / "data")
        metadata.create_all(self.engine)
        self.now, self.clock = Now(), 0.0
        self.books = Books(self.engine, self.now)
        made = [self.books.budgets.create("acme", amount=amount, window="month") for amount in AMOUNTS]
        self.ids = [budget.id for budget in made]
        self.spent, self.models = [0, 0], []

    def teardown(self) -> None:
        assert verify(self.engine) == []
        self.engine.dispose()
        self.folder.cleanup()

    def held(self, budget: int) -> int:
        return sum(model.held for model in self.models if not model.over and budget in model.budgets)

    def fits(self, amount: int, budgets: tuple[int, ...]) -> bool:
        return all(self.spent[each] + self.held(each) + amount <= AMOUNTS[each] for each in budgets)

    def end(self, model: Model, cost: int) -> None:
        model.over = True
        for each in model.budgets:
            self.spent[each] += cost

    @rule(target=calls, amount=HOLDS, budgets=st.sampled_from([(0,), (1,), (0, 1)]))
    def reserve(self, amount: int, budgets: tuple[int, ...]):
        try:
            hold = self.books.hold(amount, *(self.ids[each] for each in budgets))
        except BudgetExceeded:
            assert not self.fits(amount, budgets)
            return multiple()
        assert self.fits(amount, budgets)
        self.models.append(Model(hold, budgets, self.clock, amount, self.books))
        return self.models[-1]

    @rule(model=calls, spare=st.booleans())
    def send(self, model: Model, spare: bool) -> None:
        if model.books is not self.books:
            return  # its process is dead
        model.hold.spare = spare
        extra = model.hold.asking if model.sent and not spare else 0
        try:
            model.books.ledger.send(model.hold)
        except BudgetExceeded:
            assert extra and not self.fits(extra, model.budgets)
        except Overloaded:
            assert model.over
        else:
            assert not extra or model.over or self.fits(extra, model.budgets)
            model.sent, model.held = True, model.held + extra

    @rule(model=consumes(calls), share=st.floats(0, 1))
    def answered(self, model: Model, share: float) -> None:
        self.ends(model, cost := int(model.held * share) if model.sent else 0, cost=Cost(cost, "priced"))

    @rule(model=consumes(calls))
    def left(self, model: Model) -> None:
        model.hold.begun = True
        asked = model.hold.asking if model.sent else 0
        plain = {"status": "abandoned", "cost": UNPRICED}
        self.ends(model, asked, **(plain if asked else {"cache": "coalesced", "cost": FREE}))

    def ends(self, model: Model, booked: int, **said) -> None:
        if model.books is not self.books:
            return
        self.books.ledger(an_end(model.hold.entry, 0, **said))
        if not model.over:
            self.end(model, booked)

    @rule()
    def crash(self) -> None:
        self.books = Books(self.engine, self.now)

    @rule(seconds=st.sampled_from([1.0, 40.0, 80.0]))
    def time_passes(self, seconds: float) -> None:
        self.now.pass_by(seconds)
        self.clock += seconds

    @rule()
    def recover(self) -> None:
        late = [model for model in self.models if not model.over and self.clock - model.began >= LIVES]
        assert self.books.ledger.recover() == len(late)
        for model in late:
            self.end(model, model.held if model.sent else 0)

    @invariant()
    def the_books_are_as_they_should_be(self) -> None:
        for place, id in enumerate(self.ids):
            standing = self.books.budgets.status(id, "acme")
            assert (standing.spent, standing.held) == (self.spent[place], self.held(place))
            assert standing.spent + standing.held <= AMOUNTS[place]


TestMoney = Money.TestCase
TestMoney.settings = settings(
    max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
