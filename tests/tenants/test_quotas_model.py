"""Quotas against a model of a few lines: any order of steps, on two workers, each of which may die between any two."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import Engine

from llmapi.core.errors import QuotaExceeded, RateLimited
from llmapi.core.ids import new_id
from llmapi.db.engine import open_engine, writing
from llmapi.db.tables import metadata
from llmapi.db.tables.limits import counts, holds
from llmapi.tenants import quota_rows
from llmapi.tenants.quotas import Demand, Hold, Quotas
from llmapi.tenants.windows import MONTH, SLICES, Limit
from tests.jobs.parts import Clock
from tests.servers.databases import Database

N, LEASE = 100, 30.0
HOUR = Limit("key:k", "tokens", 3600, 2 * N)
LIMITS = (Limit("tenant", "tokens", 60, N), HOUR, Limit("tenant", "tokens", MONTH, 5 * N))


@dataclass
class Use:
    """One call that was let in, as somebody with a perfect memory sees it."""

    hold: Hold
    at: float
    month: int
    amount: int
    until: float
    open: bool = True


class Died(BaseException):
    pass


class Table(RuleBasedStateMachine):
    """Two workers, one tenant."""

    uses = Bundle("uses")
    engine: Engine

    def __init__(self) -> None:
        super().__init__()
        self.open()
        self.clock = Clock()
        self.workers = [Quotas(self.engine, now=self.clock), Quotas(self.engine, now=self.clock)]
        self.time = 0.0
        self.known: list[Use] = []

    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.engine = open_engine("", folder=Path(self.folder.name))
        metadata.create_all(self.engine, tables=[counts, holds])

    def teardown(self) -> None:
        self.engine.dispose()
        self.folder.cleanup()

    def used(self, limit: Limit, *, slack: float) -> int:
        """Return what was used in the last window; slack: parts of it that are looked back further."""
        if limit.window == MONTH:
            return sum(use.amount for use in self.known if use.month == self.clock().month)
        since = self.time - limit.window * (1 + slack)
        return sum(use.amount for use in self.known if use.at > since)

    @rule(target=uses, worker=st.sampled_from([0, 1]), amount=st.integers(1, N))
    def hold(self, worker: int, amount: int) -> Any:
        try:
            hold = self.workers[worker].hold(new_id("e"), "t", [Demand(limit, amount) for limit in LIMITS], LEASE)
        except (RateLimited, QuotaExceeded):
            full = [limit for limit in LIMITS if self.used(limit, slack=1 / SLICES) + amount > limit.most]
            assert full, "it was refused although it fits"
            return multiple()
        use = Use(hold, self.time, self.clock().month, amount, self.time + LEASE)
        self.known.append(use)
        return use

    @rule(use=consumes(uses), worker=st.sampled_from([0, 1]), share=st.floats(0, 1))
    def settle(self, use: Use, worker: int, share: float) -> None:
        if use.until <= self.time:
            return  # too late: by the lease it is nobody's any more
        use.open, use.amount = False, int(use.amount * share)
        self.workers[worker].settle(use.hold, {"tokens": use.amount})

    @rule(use=consumes(uses))
    def die(self, use: Use) -> None:
        """Its worker is gone: no step of it follows."""

    @rule(amount=st.integers(1, N))
    def die_while_it_is_written(self, amount: int) -> None:
        """What a transaction did that never ended did not happen."""
        names = sorted(("t", limit.name) for limit in LIMITS)
        with pytest.raises(Died), writing(self.engine) as connection:
            locked = quota_rows.lock(connection, names)
            for count in locked.values():
                count.slices[0] = amount
            quota_rows.save(connection, locked)
            raise Died

    @rule(seconds=st.sampled_from([1.0, 7.3, LEASE, 59.5, 61.0, 3600.0, 3 * 86_400.0]))
    def time_passes(self, seconds: float) -> None:
        self.time += seconds
        self.clock.forward(seconds)
        for use in self.known:
            if use.open and use.until <= self.time:
                use.open, use.amount = False, 0

    @rule()
    def clean_up(self) -> None:
        self.workers[0].reclaim()
        quota_rows.purge(self.engine, self.clock())

    @invariant()
    def never_more_than_the_limit_in_any_window(self) -> None:
        for limit in LIMITS:
            assert self.used(limit, slack=0) <= limit.most


RULES = settings(
    max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
Table.TestCase.settings = RULES
TestTable = Table.TestCase


def test_the_same_on_postgresql(postgres: Any, templates: Any, tmp_path: Path) -> None:
    made: Database = templates.postgres(postgres, tmp_path)
    engine = made.open()

    class Shared(Table):
        def open(self) -> None:
            self.engine = engine
            with writing(engine) as connection:
                connection.execute(counts.delete())
                connection.execute(holds.delete())

        def teardown(self) -> None:
            pass

    run_state_machine_as_test(Shared, settings=settings(RULES, max_examples=12))
    made.close()
    postgres.drop(made.url)
