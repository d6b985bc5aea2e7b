"""Celery brings messages; the registry decides what runs. With its broker in memory, and with a real one."""

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event

from llmapi.core.clock import utc_now
from llmapi.core.errors import BadSetting
from llmapi.jobs.celery_app import QUEUE
from llmapi.jobs.engines import JobEngine, Pace, open_engine
from llmapi.jobs.overview import due
from llmapi.jobs.priorities import Rules
from llmapi.jobs.registry import Registry
from llmapi.jobs.running import JobContext, Run
from tests.jobs.parts import Heard, Held
from tests.servers.valkey import Valkey

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
Start = Callable[..., JobEngine]


@pytest.fixture
def registry(engine: Engine, heard: Heard) -> Registry:
    return Registry(engine, heard)


@pytest.fixture
def start(registry: Registry, engine: Engine) -> Iterator[Start]:
    """Start an engine that runs the given kinds; what a test left running is stopped."""
    started: list[JobEngine] = []

    def begin(
        url: str = "memory://", jobs: Registry = registry, workers: int = 2, lease: float = 30.0, **kinds: Run
    ) -> JobEngine:
        made = open_engine(url, jobs, engine, kinds, Pace(workers=workers, lease=lease, poll=0.05))
        made.start()
        started.append(made)
        return made

    yield begin
    for made in started:
        made.stop(0)


def put(registry: Registry, tenant: str = "a", **more: Any) -> str:
    return registry.put("echo", {"text": "hello"}, tenant=tenant, **more)


def messages(valkey: Valkey) -> int:
    """Return how many messages wait in the broker."""
    return int(valkey.client().llen(QUEUE))


def test_a_job_is_run_and_its_result_is_in_the_registry(registry: Registry, heard: Heard, start: Start) -> None:
    start(echo=lambda context: {"said": context.arguments["text"]})
    id = put(registry)
    heard.wait("succeeded")
    assert registry.get(id, "a").result == {"said": "hello"}
    assert heard.statuses() == ["queued", "running", "succeeded"]


def test_what_another_process_put_is_found_by_the_sweep(engine: Engine, heard: Heard, start: Start) -> None:
    start(echo=lambda context: {})
    threading.Event().wait(0.2)  # the first sweep is over
    put(Registry(engine, Heard()))
    heard.wait("succeeded")


def test_a_job_for_later_is_run_when_its_time_comes(registry: Registry, heard: Heard, start: Start) -> None:
    start(echo=lambda context: {})
    due = utc_now() + timedelta(seconds=0.3)
    put(registry, run_at=due)
    heard.wait("succeeded")
    assert utc_now() >= due


def test_the_job_of_a_lost_worker_is_taken_up(registry: Registry, heard: Heard, start: Start) -> None:
    id = put(registry)
    assert registry.claim("lost", 0.2) is not None
    start(echo=lambda context: {})
    heard.wait("succeeded")
    assert registry.get(id, "a").attempts == 2


def test_the_highest_priority_goes_first_whatever_came_first(registry: Registry, heard: Heard, start: Start) -> None:
    order: list[str] = []

    def run(context: JobContext) -> dict[str, Any]:
        order.append(context.id)
        return {}

    ids = [put(registry, priority=priority) for priority in (1, 5, 9)]
    start(workers=1, echo=run)
    heard.wait("succeeded", 3)
    assert order == ids[::-1]


def test_a_tenants_limit_holds_and_the_rest_follows(engine: Engine, heard: Heard, start: Start) -> None:
    registry = Registry(engine, heard, rules=Rules(running_per_tenant=1))
    at_once, most = [0], [0]

    def run(context: JobContext) -> dict[str, Any]:
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        threading.Event().wait(0.005)
        at_once[0] -= 1
        return {}

    start(jobs=registry, workers=4, echo=run)
    for _ in range(12):
        put(registry)
    heard.wait("succeeded", 12)
    assert most == [1]


def test_a_cancelled_job_ends_soon(registry: Registry, heard: Heard, start: Start) -> None:
    held = Held()
    start(echo=held)
    id = put(registry)
    assert held.began.wait(10)
    registry.cancel(id, "a")
    assert held.let_go.wait(2)


def test_a_stop_hands_back_what_does_not_finish(registry: Registry, start: Start) -> None:
    held = Held()
    engine = start(echo=held)
    id = put(registry)
    assert held.began.wait(10)
    engine.stop(0)
    assert (registry.get(id, "a").status, registry.get(id, "a").attempts) == ("queued", 0)
    assert engine.health()["status"] == "unknown"


def test_a_stop_lets_running_jobs_finish(registry: Registry, heard: Heard, start: Start) -> None:
    held = Held()
    engine = start(echo=held)
    put(registry)
    assert held.began.wait(10)
    threading.Timer(0.1, held.let_go.set).start()
    engine.stop(10)
    assert heard.statuses() == ["queued", "running", "succeeded"]


def test_health_says_what_runs(registry: Registry, start: Start) -> None:
    held = Held()
    engine = start(echo=held)
    put(registry)
    assert held.began.wait(10)
    assert engine.health() == {"status": "ok", "broker": "ok", "running": 1}
    held.let_go.set()


def test_a_message_carries_no_more_than_a_jobs_id(registry: Registry, start: Start, valkey: Valkey) -> None:
    start(valkey.url, echo=lambda context: {})
    id = put(registry)
    valkey.until(lambda: messages(valkey) == 1)
    raw = valkey.client().lindex(QUEUE, 0)
    assert id in valkey.body(raw)
    assert "hello" not in valkey.body(raw)


def test_sweeps_send_no_more_than_there_is_to_do(
    registry: Registry, engine: Engine, start: Start, valkey: Valkey
) -> None:
    for _ in range(5):
        put(registry)
    sweeps: list[object] = []
    event.listen(engine, "begin", sweeps.append)
    for _ in range(3):
        start(valkey.url, echo=lambda context: {})
    valkey.until(lambda: len(sweeps) > 9)  # so three at least are over, of each
    assert 5 <= messages(valkey) <= 15


def test_a_broker_that_is_away_costs_callers_nothing_and_loses_nothing(
    registry: Registry, start: Start, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    valkey.kill()
    engine = start(valkey.url, echo=lambda context: {})
    valkey.until(lambda: engine.health()["broker"] == "down")
    id = put(registry)
    assert engine.health()["status"] == "degraded"
    valkey.start()
    valkey.until(lambda: messages(valkey) == 1)
    valkey.until(lambda: engine.health() == {"status": "ok", "broker": "ok", "running": 0})
    assert id in valkey.body(valkey.client().lindex(QUEUE, 0))
    told = [record for record in caplog.records if "broker is not available" in record.message]
    assert [record.levelno for record in told] == [logging.WARNING]


def test_what_is_due_is_what_waits_and_what_was_left_behind(registry: Registry, engine: Engine) -> None:
    ids = [put(registry) for _ in range(3)]
    put(registry, run_at=utc_now() + timedelta(hours=1))
    registry.claim_this(ids[0], "alive", 60)
    registry.claim_this(ids[1], "lost", 0)
    assert due(engine, utc_now(), 10) == ids[1:]
    assert len(due(engine, utc_now(), 1)) == 1


@pytest.mark.parametrize("url", ["", "kafka://x", "threads"])
def test_an_engine_nobody_knows_stops_the_start(registry: Registry, engine: Engine, url: str) -> None:
    with pytest.raises(BadSetting, match="jobs_url"):
        open_engine(url, registry, engine, {})
