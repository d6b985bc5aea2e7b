"""The registry against a model of a few lines, over any order of events, with a crash at any of them."""

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from sqlalchemy import Connection, text

from llmapi.core.errors import JobNotCancellable, NotFound
from llmapi.db.engine import open_engine, reading
from llmapi.db.tables import metadata
from llmapi.jobs.job import ENDED, Claim
from llmapi.jobs.priorities import Rules
from llmapi.jobs.registry import Registry
from tests.jobs.parts import Clock, Heard

LEASE = 10.0
TRIES = 2
AGEING = 5.0
AT_ONCE = 2
TENANTS = ("a", "b", "c")


@dataclass
class Model:
    """What a job should be."""

    id: str
    tenant: str
    priority: int
    run_at: float
    status: str = "queued"
    attempts: int = 0
    holder: Claim | None = None
    until: float = 0.0
    cancel_asked: bool = False
    ends: int = 0

    def end(self, status: str) -> None:
        self.status, self.holder = status, None
        self.ends += status in ENDED


class PowerCut(Exception):
    """The process ends in the middle of a transaction."""


class Noted:
    """An outbox; `cut` ends the process when it is next used."""

    cut = False

    def add(self, connection: Connection, tenant: str, kind: str, data: Mapping[str, Any]) -> None:
        connection.execute(text("INSERT INTO noted VALUES (:id, :kind)"), {"id": data["id"], "kind": kind})
        if self.cut:
            raise PowerCut


class Jobs(RuleBasedStateMachine):
    ids = Bundle("ids")
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.heard = Heard()
        self.outbox = Noted()
        self.time = 0.0
        self.jobs: dict[str, Model] = {}
        self.served: dict[str, int] = {}
        self.open()
        metadata.create_all(self.engine)
        with self.engine.begin() as connection:
            connection.execute(text("CREATE TABLE noted(id TEXT, kind TEXT)"))

    def open(self) -> None:
        self.engine = open_engine("", folder=Path(self.folder.name))
        rules = Rules(AGEING, AT_ONCE)
        self.registry = Registry(
            self.engine, self.heard, now=self.clock, max_attempts=TRIES, rules=rules, outbox=self.outbox
        )

    def teardown(self) -> None:
        self.engine.dispose()
        self.folder.cleanup()

    def take_back(self) -> None:
        for job in self.jobs.values():
            if job.status == "running" and job.until <= self.time:
                spent = "dead" if job.attempts >= TRIES else "queued"
                job.end("cancelled" if job.cancel_asked else spent)

    def holds(self, claim: Claim) -> bool:
        return self.jobs[claim.job.id].holder is claim

    def running(self, tenant: str) -> int:
        return sum(job.tenant == tenant and job.status == "running" for job in self.jobs.values())

    def next(self) -> Model | None:
        """Return whose turn it is: highest level, fewest running, served the longest ago, oldest."""
        ready = [job for job in self.jobs.values() if job.status == "queued" and job.run_at <= self.time]
        ready = [job for job in ready if self.running(job.tenant) < AT_ONCE]
        since = {p: min((job.run_at for job in ready if job.priority == p), default=0.0) for p in range(10)}

        def turn(job: Model) -> tuple[Any, ...]:
            level = min(9, job.priority + (self.time - since[job.priority]) // AGEING)
            rest = (job.run_at, -job.priority, job.tenant, job.id)
            return -level, self.running(job.tenant), self.served.get(job.tenant, 0), *rest

        return min(ready, key=turn, default=None)

    @rule(target=ids, priority=st.sampled_from([0, 4, 5, 9]), tenant=st.sampled_from(TENANTS))
    def put(self, priority: int, tenant: str) -> str:
        id = self.registry.put("echo", {}, tenant=tenant, priority=priority)
        self.jobs[id] = Model(id, tenant, priority, self.time)
        return id

    @rule(target=claims, owner=st.sampled_from("xy"))
    def claim(self, owner: str) -> Claim:
        claim = self.registry.claim(owner, LEASE)
        self.take_back()
        return self.given(claim, self.next())

    @rule(target=claims, id=ids)
    def claim_this(self, id: str) -> Claim:
        claim = self.registry.claim_this(id, "z", LEASE)
        self.take_back()
        job = self.jobs[id]
        free = job.status == "queued" and job.run_at <= self.time and self.running(job.tenant) < AT_ONCE
        return self.given(claim, job if free else None)

    def given(self, claim: Claim | None, job: Model | None) -> Claim:
        if claim is None or job is None:
            assert (claim, job) == (None, None)
            return multiple()  # type: ignore[return-value]
        assert (claim.job.id, claim.job.attempts) == (job.id, job.attempts + 1)
        job.status, job.attempts, job.holder, job.until = "running", job.attempts + 1, claim, self.time + LEASE
        self.served[job.tenant] = max(self.served.values(), default=0) + 1
        return claim

    @rule(seconds=st.sampled_from([0.5, LEASE / 2, LEASE, 3 * LEASE]))
    def time_passes(self, seconds: float) -> None:
        self.time += seconds
        self.clock.forward(seconds)

    @rule()
    def the_process_is_killed(self) -> None:
        self.engine.dispose()
        self.open()

    @rule(claim=claims)
    def the_process_is_killed_while_it_writes_an_end(self, claim: Claim) -> None:
        self.outbox.cut = True
        with suppress(PowerCut):
            assert not self.registry.succeed(claim, {"never": "kept"})
        with suppress(PowerCut):
            assert not self.registry.fail(claim, {"code": "x"})
        self.outbox.cut = False
        self.the_process_is_killed()

    @rule(claim=claims)
    def heartbeat(self, claim: Claim) -> None:
        job = self.jobs[claim.job.id]
        said = self.registry.heartbeat(claim)
        if not self.holds(claim):
            assert said == "lost"
            return
        assert said == ("cancel" if job.cancel_asked else "held")
        job.until = self.time + LEASE

    @rule(claim=claims)
    def succeed(self, claim: Claim) -> None:
        assert self.registry.succeed(claim, {"by": claim.number}) == self.holds(claim)
        if self.holds(claim):
            self.jobs[claim.job.id].end("succeeded")

    @rule(claim=claims, retry_in=st.sampled_from([None, 0.0, LEASE]))
    def fail(self, claim: Claim, retry_in: float | None) -> None:
        assert self.registry.fail(claim, {"code": "x"}, retry_in) == self.holds(claim)
        job = self.jobs[claim.job.id]
        if not self.holds(claim):
            return
        if job.cancel_asked:
            job.end("cancelled")
        elif retry_in is None:
            job.end("failed")
        elif job.attempts >= TRIES:
            job.end("dead")
        else:
            job.end("queued")
            job.run_at = self.time + retry_in

    @rule(claim=consumes(claims))
    def hand_back(self, claim: Claim) -> None:
        job = self.jobs[claim.job.id]
        assert self.registry.hand_back(claim) == self.holds(claim)
        if self.holds(claim):
            job.attempts -= 1
            job.end("cancelled" if job.cancel_asked else "queued")

    @rule(id=ids)
    def cancel(self, id: str) -> None:
        job = self.jobs[id]
        if job.status in ENDED:
            with pytest.raises(JobNotCancellable):
                self.registry.cancel(id, job.tenant)
            return
        if job.status == "running" and job.until > self.time:
            job.cancel_asked = True
        else:
            job.end("cancelled")
        assert self.registry.cancel(id, job.tenant).status == job.status

    @rule(id=ids)
    def redrive(self, id: str) -> None:
        job = self.jobs[id]
        if job.status != "dead":
            with pytest.raises(NotFound):
                self.registry.dead.redrive(id, job.tenant)
            return
        self.registry.dead.redrive(id, job.tenant)
        job.status, job.attempts, job.run_at, job.cancel_asked = "queued", 0, self.time, False

    @invariant()
    def nothing_is_lost_and_all_is_as_it_should_be(self) -> None:
        listed = [job for tenant in TENANTS for job in self.registry.list(tenant, limit=1000).jobs]
        found = {job.id: (job.status, job.attempts) for job in listed}
        assert found == {job.id: (job.status, job.attempts) for job in self.jobs.values()}

    @invariant()
    def every_end_was_told_and_noted_once(self) -> None:
        ends = sorted((job.id, job.ends) for job in self.jobs.values() if job.ends)
        told = [event.job_id for event in self.heard.events if event.status in ENDED]
        with reading(self.engine) as connection:
            noted = list(connection.execute(text("SELECT id FROM noted")).scalars())
        assert sorted((id, told.count(id)) for id in set(told)) == ends
        assert sorted((id, noted.count(id)) for id in set(noted)) == ends


Jobs.TestCase.settings = settings(
    max_examples=45, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestJobs = Jobs.TestCase
