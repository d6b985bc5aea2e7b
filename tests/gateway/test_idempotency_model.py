"""The table against a model of a few lines: any order of steps, and workers that die between any two of them."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from llmapi.core.errors import IdempotencyInProgress, IdempotencyKeyReused, IdempotencyOutcomeUnknown
from llmapi.core.errors import ProviderTimeout, ProviderUnavailable
from llmapi.db.engine import open_engine
from llmapi.db.tables import metadata
from llmapi.gateway.idempotency import Keys
from llmapi.gateway.idempotency_held import Held, Name
from llmapi.gateway.idempotency_kept import Kept
from tests.jobs.parts import Clock

LEASE = 10.0


@dataclass
class Work:
    """A claim, as its worker sees it: a worker that died does no step any more."""

    held: Held
    body: str
    until: float
    sent: bool = False


class Table(RuleBasedStateMachine):
    """One key; `calls` is how often a provider was asked and may have been paid."""

    works = Bundle("works")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.engine = open_engine("", folder=Path(self.folder.name))
        metadata.create_all(self.engine)
        self.clock = Clock()
        self.keys = Keys(self.engine, lease=LEASE, keep_for=1e6, now=self.clock)
        self.time = 0.0
        self.holder: Work | None = None  # whose claim the row is
        self.answer: Kept | None = None
        self.unknown = False
        self.calls = 0

    def teardown(self) -> None:
        self.engine.dispose()
        self.folder.cleanup()

    def lapsed(self) -> bool:
        return self.holder is not None and self.holder.until <= self.time

    @rule(target=works, body=st.sampled_from(["body", "body", "other"]))
    def claim(self, body: str) -> Work:
        try:
            found = self.keys.claim(Name("a", "/", "k"), body)
        except IdempotencyKeyReused:
            assert self.holder is not None and self.holder.body != body
            assert self.holder.sent or self.answer or not self.lapsed()
            self.unknown = self.unknown or (self.holder.sent and not self.answer and self.lapsed())
        except IdempotencyInProgress:
            assert self.holder is not None and not (self.lapsed() or self.unknown or self.answer)
        except IdempotencyOutcomeUnknown:
            assert self.holder is not None and self.holder.sent and not self.answer
            assert self.unknown or self.lapsed()
            self.unknown = True
        else:
            if isinstance(found, Kept):
                assert found == self.answer
                return multiple()  # type: ignore[return-value]
            assert self.holder is None or (self.lapsed() and not self.holder.sent and not self.answer)
            self.holder = Work(found, body, self.time + LEASE)
            return self.holder
        return multiple()  # type: ignore[return-value]

    @rule(work=works)
    def send(self, work: Work) -> None:
        try:
            work.held.sending()
        except IdempotencyInProgress:
            assert self.holder is not work
            return
        assert self.holder is work or work.sent
        if not work.sent:
            work.sent, work.until = True, self.time + LEASE
            self.calls += 1

    @rule(work=consumes(works), doubtful=st.booleans())
    def fail(self, work: Work, doubtful: bool) -> None:
        if work.sent:
            work.held.refused(ProviderTimeout("x") if doubtful else ProviderUnavailable("x"))
        fruitful = work.held.paid or (work.sent and doubtful)
        work.held.give_up()
        if self.holder is work and fruitful:
            self.unknown = True
        elif self.holder is work:
            self.calls -= work.sent
            self.holder, self.unknown = None, False

    @rule(work=consumes(works))
    def answer_it(self, work: Work) -> None:
        answer = Kept(200, (), work.held.owner.encode())
        work.held.keep(answer)
        if self.holder is work:
            self.answer, self.unknown = answer, False

    @rule(work=consumes(works))
    def die(self, work: Work) -> None:
        """Its worker is gone: no step of it follows."""

    @rule(seconds=st.sampled_from([LEASE / 2, LEASE]))
    def time_passes(self, seconds: float) -> None:
        self.time += seconds
        self.clock.forward(seconds)

    @invariant()
    def no_more_than_one_asking_was_paid(self) -> None:
        assert self.calls in (0, 1)


Table.TestCase.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestTable = Table.TestCase
