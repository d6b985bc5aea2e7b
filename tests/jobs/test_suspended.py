"""Jobs of a suspended tenant wait, whoever asks for work, and run once it is resumed."""

import pytest
from sqlalchemy import Engine

from llmapi.jobs.engines import Pace, open_engine
from llmapi.jobs.overview import due
from llmapi.jobs.registry import Registry
from llmapi.tenants.tenants import Tenants
from tests.jobs.parts import Clock, Heard, claimed, put


@pytest.fixture
def tenants(engine: Engine) -> Tenants:
    """Two tenants, of whom `idle` is suspended; `a` of these tests has no row, so nobody can suspend it."""
    made = Tenants(engine)
    made.create("idle")
    made.create("active")
    made.suspend("idle")
    return made


def test_turns_pass_over_a_suspended_tenant_until_it_is_resumed(registry: Registry, tenants: Tenants) -> None:
    id = put(registry, tenant="idle", priority=9)
    put(registry, tenant="active", priority=0)
    put(registry, tenant="a", priority=1)
    assert [claimed(registry).job.tenant for _ in range(2)] == ["a", "active"]
    assert registry.claim("w", 30) is None
    assert registry.claim_this(id, "w", 30) is None
    tenants.resume("idle")
    assert claimed(registry).job.id == id


def test_a_job_can_be_claimed_by_its_id_once_its_tenant_is_resumed(registry: Registry, tenants: Tenants) -> None:
    id = put(registry, tenant="idle")
    tenants.resume("idle")
    assert registry.claim_this(id, "w", 30) is not None


def test_what_may_not_run_makes_nobody_look_or_wait(
    registry: Registry, tenants: Tenants, engine: Engine, clock: Clock
) -> None:
    id = put(registry, tenant="idle")
    clock.forward(100)
    depths = registry.depths()
    assert (depths.queued, depths.oldest, due(engine, clock.now, 9)) == (1, 0.0, [])
    assert not registry.should_make_way("active")
    tenants.resume("idle")
    assert (registry.depths().oldest, due(engine, clock.now, 9)) == (100.0, [id])
    assert registry.should_make_way("active")


def test_a_long_job_makes_way_when_its_tenant_is_suspended(registry: Registry, tenants: Tenants) -> None:
    assert (registry.should_make_way("idle"), registry.should_make_way("active")) == (True, False)


@pytest.mark.parametrize("url", ["threads://", "memory://"])
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_each_engine_runs_them_after_all_once_the_tenant_is_resumed(
    engine: Engine, heard: Heard, tenants: Tenants, url: str
) -> None:
    registry = Registry(engine, heard)
    held, other = put(registry, tenant="idle", priority=9), put(registry, tenant="active")
    jobs = open_engine(url, registry, engine, {"echo": lambda context: {}}, Pace(workers=1, poll=0.05))
    jobs.start()
    try:
        assert heard.wait("succeeded").job_id == other
        assert registry.get(held, "idle").status == "queued"
        tenants.resume("idle")
        assert heard.wait("succeeded", 2).job_id == held
    finally:
        jobs.stop(5.0)
