"""The registry against a model of a few lines, over any order of events."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from llmapi.core.errors import JobNotCancellable
from llmapi.db.engine import open_engine
from llmapi.db.tables import metadata
from llmapi.jobs.job import Claim
from llmapi.jobs.registry import Registry
from tests.jobs.parts import Clock, Heard

LEASE = 10.0
TRIES = 2
ENDED = {"succeeded", "failed", "cancelled", "dead"}


@dataclass
class Model:
    """What a job should be."""

    id: str
    priority: int
    run_at: float
    status: str = "queued"
    attempts: int = 0
    holder: Claim | None = None
    until: float = 0.0
    cancel_asked: bool = False

    def end(self, status: str) -> None:
        self.status, self.holder = status, None

    def turn(self) -> tuple[int, float, str]:
        return -self.priority, self.run_at, self.id


class Jobs(RuleBasedStateMachine):
    ids = Bundle("ids")
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.engine = open_engine("", folder=Path(self.folder.name))
        metadata.create_all(self.engine)
        self.clock = Clock()
        self.heard = Heard()
        self.registry = Registry(self.engine, self.heard, now=self.clock, max_attempts=TRIES)
        self.time = 0.0
        self.jobs: dict[str, Model] = {}

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

    @rule(target=ids, priority=st.integers(3, 6))
    def put(self, priority: int) -> str:
        id = self.registry.put("echo", {}, tenant="a", priority=priority)
        self.jobs[id] = Model(id, priority, self.time)
        return id

    @rule(target=claims, owner=st.sampled_from("xy"))
    def claim(self, owner: str) -> Claim:
        claim = self.registry.claim(owner, LEASE)
        self.take_back()
        ready = [job for job in self.jobs.values() if job.status == "queued" and job.run_at <= self.time]
        if claim is None:
            assert ready == []
            return multiple()  # type: ignore[return-value]
        job = min(ready, key=Model.turn)
        assert (claim.job.id, claim.job.attempts) == (job.id, job.attempts + 1)
        job.status, job.attempts, job.holder, job.until = "running", job.attempts + 1, claim, self.time + LEASE
        return claim

    @rule(seconds=st.sampled_from([0.5, LEASE / 2, LEASE, 3 * LEASE]))
    def time_passes(self, seconds: float) -> None:
        self.time += seconds
        self.clock.forward(seconds)

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
        elif retry_in is None or job.attempts >= TRIES:
            job.end("failed")
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
                self.registry.cancel(id, "a")
            return
        if job.status == "running" and job.until > self.time:
            job.cancel_asked = True
        else:
            job.end("cancelled")
        assert self.registry.cancel(id, "a").status == job.status

    @invariant()
    def nothing_is_lost_and_all_is_as_it_should_be(self) -> None:
        found = {job.id: (job.status, job.attempts) for job in self.registry.list("a", limit=1000).jobs}
        assert found == {job.id: (job.status, job.attempts) for job in self.jobs.values()}

    @invariant()
    def every_end_was_told_once(self) -> None:
        told = sorted((event.job_id, event.status) for event in self.heard.events if event.status in ENDED)
        assert told == sorted((job.id, job.status) for job in self.jobs.values() if job.status in ENDED)


Jobs.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestJobs = Jobs.TestCase
