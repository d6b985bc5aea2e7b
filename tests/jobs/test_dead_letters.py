"""Jobs that were given up."""

import pytest
from sqlalchemy import Engine

from llmapi.core.errors import LlmApiError, NotFound, Overloaded
from llmapi.db.deleting import STEPS
from llmapi.jobs import statements
from llmapi.jobs.job import described
from llmapi.jobs.registry import Bounds, Registry
from tests.jobs.parts import Clock, Heard, claimed, put

BROKEN = described(LlmApiError("broken"))


@pytest.fixture
def registry(engine: Engine, heard: Heard, clock: Clock) -> Registry:
    return Registry(engine, heard, now=clock, max_attempts=1)


def died(registry: Registry, tenant: str = "a") -> str:
    id = put(registry, tenant=tenant)
    assert registry.fail(claimed(registry), BROKEN, retry_in=1)
    return id


def test_a_dead_job_is_listed_with_its_reason_and_its_last_error(registry: Registry, clock: Clock) -> None:
    spent, lost = died(registry), put(registry)
    claimed(registry, lease=10)
    clock.forward(10)
    registry.claim("w", 10)
    found = {job.id: (job.reason, (job.error or {})["code"]) for job in registry.list("a", status="dead").jobs}
    assert found == {spent: ("attempts_spent", "internal_error"), lost: ("worker_lost", "internal_error")}


def test_a_redriven_job_has_all_its_attempts_again(registry: Registry, heard: Heard) -> None:
    id = died(registry)
    job = registry.dead.redrive(id, "a")
    assert (job.status, job.attempts, job.error, job.reason, job.finished) == ("queued", 0, None, None, None)
    assert heard.statuses()[-1] == "queued"
    assert registry.succeed(claimed(registry), {})


def test_only_a_tenants_own_dead_jobs_are_redriven_or_purged(registry: Registry) -> None:
    foreign, failed = died(registry, "b"), put(registry)
    registry.fail(claimed(registry), BROKEN)
    for act in (registry.dead.redrive, registry.dead.purge):
        for id in (foreign, failed, "job_unknown"):
            with pytest.raises(NotFound):
                act(id, "a")
    assert (registry.get(failed, "a").status, registry.get(foreign, "b").status) == ("failed", "dead")


def test_a_full_queue_takes_no_dead_job_back(engine: Engine, heard: Heard) -> None:
    registry = Registry(engine, heard, max_attempts=1, bounds=Bounds(queued_per_tenant=1))
    id = died(registry)
    put(registry)
    with pytest.raises(Overloaded):
        registry.dead.redrive(id, "a")
    assert registry.get(id, "a").status == "dead"


def test_purging_deletes_the_dead_of_one_tenant_and_nothing_else(registry: Registry) -> None:
    one, *_ = [died(registry) for _ in range(3)]
    foreign, waiting = died(registry, "b"), put(registry)
    registry.dead.purge(one, "a")
    assert registry.dead.purge_all("a") == 2
    assert [job.id for job in registry.list("a").jobs] == [waiting]
    assert registry.get(foreign, "b").status == "dead"


def test_one_purge_deletes_as_many_as_may_be_dead() -> None:
    assert STEPS * statements.AT_ONCE >= Bounds().queued
