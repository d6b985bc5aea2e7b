"""Whose turn it is: by priority that rises with waiting, and inside one fairly among tenants."""

from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from llmapi.jobs.priorities import Rules
from llmapi.jobs.registry import Registry
from tests.jobs.parts import Clock, Heard, claimed, put


def served(registry: Registry, turns: int) -> list[str]:
    """Return the tenants of the next jobs, each done before the next one begins."""
    tenants = []
    for _ in range(turns):
        claim = claimed(registry)
        registry.succeed(claim, {})
        tenants.append(claim.job.tenant)
    return tenants


@pytest.mark.parametrize(("waited", "first"), [(239.9, "new"), (240.0, "old")])
def test_a_waiting_job_rises_by_one_priority_a_minute(
    registry: Registry, clock: Clock, waited: float, first: str
) -> None:
    put(registry, tenant="old", priority=1)
    clock.forward(waited)
    put(registry, tenant="new", priority=5)
    assert served(registry, 1) == [first]


def test_a_low_job_gets_its_turn_however_many_high_ones_come(registry: Registry, clock: Clock) -> None:
    low = put(registry, priority=0)
    for minute in range(9):
        put(registry, priority=9), put(registry, priority=9)
        assert [claimed(registry).job.id for _ in range(2)].count(low) == 0, minute
        clock.forward(60)
    put(registry, priority=9)
    assert claimed(registry).job.id == low


def test_waiting_lifts_nobody_above_the_highest(registry: Registry, clock: Clock) -> None:
    put(registry, tenant="waits", priority=0), put(registry, tenant="waits", priority=0)
    clock.forward(3600)
    put(registry, tenant="urgent", priority=9)
    assert served(registry, 3) == ["waits", "urgent", "waits"]


def test_tenants_take_turns_whoever_has_the_longer_line(registry: Registry, clock: Clock) -> None:
    for _ in range(20):
        put(registry, tenant="much")
    clock.forward(1)
    for _ in range(3):
        put(registry, tenant="little")
    assert Counter(served(registry, 6)) == {"much": 3, "little": 3}


def test_a_newcomer_is_not_held_up_by_a_line_that_has_waited_for_long(registry: Registry, clock: Clock) -> None:
    for _ in range(20):
        put(registry, tenant="much")
    clock.forward(1000)
    served(registry, 2)
    put(registry, tenant="new")
    assert served(registry, 1) == ["new"]


def test_who_was_idle_has_earned_no_credit(registry: Registry) -> None:
    for _ in range(30):
        put(registry, tenant="busy")
    served(registry, 10)
    for _ in range(10):
        put(registry, tenant="idle")
    assert Counter(served(registry, 8)) == {"busy": 4, "idle": 4}


def test_who_has_fewer_jobs_running_goes_first(registry: Registry) -> None:
    for _ in range(4):
        put(registry, tenant="a")
    assert [claimed(registry).job.tenant for _ in range(2)] == ["a", "a"]
    for _ in range(3):
        put(registry, tenant="b")
    assert [claimed(registry).job.tenant for _ in range(4)] == ["b", "b", "a", "b"]


def test_priority_goes_before_fairness(registry: Registry) -> None:
    for _ in range(3):
        put(registry, tenant="urgent", priority=6)
    put(registry, tenant="fair")
    assert served(registry, 4) == ["urgent", "urgent", "urgent", "fair"]


def test_a_tenant_runs_no_more_jobs_at_once_than_it_may(engine: Engine, heard: Heard, clock: Clock) -> None:
    registry = Registry(engine, heard, now=clock, rules=Rules(running_per_tenant=2))
    held = [put(registry, tenant="a", priority=9) for _ in range(3)]
    put(registry, tenant="b", priority=0)
    first, _, other = (claimed(registry) for _ in range(3))
    assert (other.job.tenant, registry.claim("w", 30)) == ("b", None)
    assert registry.claim_this(held[2], "w", 30) is None
    registry.succeed(first, {})
    assert claimed(registry).job.id == held[2]


def test_a_job_can_be_claimed_by_its_id_once_and_not_before_its_time(registry: Registry, clock: Clock) -> None:
    put(registry, priority=9)
    id = put(registry, priority=0, run_at=clock.now + timedelta(seconds=5))
    assert registry.claim_this(id, "w", 30) is None
    clock.forward(5)
    claim = registry.claim_this(id, "w", 30)
    assert claim is not None
    assert (claim.job.id, registry.claim_this(id, "w", 30)) == (id, None)
    assert registry.succeed(claim, {})
    assert registry.claim_this(id, "w", 30) is None


def test_a_job_of_a_dead_worker_can_be_claimed_by_its_id(registry: Registry, clock: Clock) -> None:
    id = put(registry)
    claimed(registry, lease=10)
    clock.forward(10)
    claim = registry.claim_this(id, "w", 30)
    assert claim is not None
    assert claim.job.attempts == 2
