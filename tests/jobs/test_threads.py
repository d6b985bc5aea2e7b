import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from llmapi.core.errors import JobNotCancellable, ProviderTimeout
from llmapi.db.engine import writing
from llmapi.jobs.registry import Bounds, Registry
from llmapi.jobs.threads import JobContext, Run, Threads
from tests.jobs.parts import Clock, Heard, Held
from tests.servers.databases import Database

Start = Callable[..., Threads]
BEAT = "UPDATE jobs SET lease_until"


@pytest.fixture
def registry(engine: Engine, heard: Heard) -> Registry:
    return Registry(engine, heard)


@pytest.fixture
def start(registry: Registry) -> Iterator[Start]:
    """Start threads that run the given kinds; what a test left running is stopped."""
    started: list[Threads] = []

    def begin(registry: Registry = registry, poll: float = 0.02, lease: float = 30.0, **kinds: Run) -> Threads:
        threads = Threads(registry, kinds, workers=2, lease=lease, poll=poll)
        threads.start()
        started.append(threads)
        return threads

    yield begin
    for threads in started:
        threads.stop(0)


def put(registry: Registry, kind: str = "echo") -> str:
    return registry.put(kind, {"text": "hello"}, tenant="a", request_id="r1")


def test_a_job_is_run_with_what_it_was_put_with(registry: Registry, heard: Heard, start: Start) -> None:
    seen: list[JobContext] = []

    def echo(context: JobContext) -> Mapping[str, Any]:
        seen.append(context)
        context.progress({"done": 1})
        return {"said": context.arguments["text"]}

    start(echo=echo)
    id = put(registry)
    heard.wait("succeeded")
    job = registry.get(id, "a")
    assert (job.result, job.progress) == ({"said": "hello"}, {"done": 1, "from": 1})
    assert (seen[0].id, seen[0].tenant, seen[0].kind, seen[0].request_id, seen[0].attempt) == (id, "a", "echo", "r1", 1)
    assert 0 < seen[0].lifetime.remaining() <= 600


def test_a_job_put_here_does_not_wait_for_the_poll(registry: Registry, heard: Heard, start: Start) -> None:
    start(poll=60.0, echo=lambda context: {})
    for number in range(3):
        put(registry)
        heard.wait("succeeded", number + 1)


def test_a_job_put_by_another_process_is_found_by_the_poll(engine: Engine, heard: Heard, start: Start) -> None:
    start(echo=lambda context: {})
    threading.Event().wait(0.2)  # the first look is over
    put(Registry(engine, Heard()))
    heard.wait("succeeded")


def test_who_has_nothing_to_do_leaves_the_database_alone(
    engine: Engine, registry: Registry, heard: Heard, start: Start
) -> None:
    start(poll=60.0, echo=lambda context: {})
    put(registry)
    heard.wait("succeeded")
    asked: list[object] = []
    event.listen(engine, "begin", asked.append)
    threading.Event().wait(0.2)
    assert len(asked) <= 2  # one look by each worker at most


def test_as_many_jobs_run_at_once_as_there_are_workers(registry: Registry, heard: Heard, start: Start) -> None:
    together = threading.Barrier(2)
    start(poll=60.0, echo=lambda context: {"place": together.wait(10)})
    put(registry), put(registry)
    heard.wait("succeeded", 2)


def test_an_error_of_ours_is_kept_with_its_code(registry: Registry, heard: Heard, start: Start) -> None:
    def run(context: JobContext) -> Mapping[str, Any]:
        raise ProviderTimeout("The provider took too long.")

    start(echo=run)
    id = put(registry)
    heard.wait("failed")
    error = registry.get(id, "a").error
    assert error is not None
    assert (error["code"], error["message"]) == ("provider_timeout", "The provider took too long.")


@pytest.mark.parametrize("kind", ["echo", "unknown"])
def test_what_breaks_is_an_internal_error_and_the_worker_stays(
    kind: str, registry: Registry, heard: Heard, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    def run(context: JobContext) -> Mapping[str, Any]:
        raise RuntimeError("secret detail")

    start(echo=run, good=lambda context: {})
    broken = [put(registry, kind) for _ in range(3)]
    put(registry, "good")
    heard.wait("succeeded")
    heard.wait("failed", 3)
    error = registry.get(broken[0], "a").error
    assert error is not None
    assert error["code"] == "internal_error"
    assert "secret" not in error["message"]
    assert ("secret detail" in caplog.text) == (kind == "echo")


@pytest.mark.parametrize("result, code", [({"x": "y" * 200}, "payload_too_large"), ({"x": {1}}, "validation_error")])
def test_a_result_that_cannot_be_kept_fails_the_job(
    engine: Engine, heard: Heard, start: Start, result: dict[str, Any], code: str
) -> None:
    registry = Registry(engine, heard, bounds=Bounds(result=100))
    start(registry, echo=lambda context: result)
    id = put(registry)
    heard.wait("failed")
    error = registry.get(id, "a").error
    assert error is not None
    assert error["code"] == code


def test_a_running_job_that_is_cancelled_ends_soon(registry: Registry, heard: Heard, start: Start) -> None:
    held = Held()
    start(echo=held)
    id = put(registry)
    assert held.began.wait(10)
    registry.cancel(id, "a")
    assert held.left.wait(2)
    heard.wait("cancelled")
    with pytest.raises(JobNotCancellable):
        registry.cancel(id, "a")


def test_a_long_job_keeps_its_lease(engine: Engine, heard: Heard, clock: Clock, start: Start) -> None:
    registry, held, beat = Registry(engine, heard, now=clock), Held(), threading.Event()
    start(registry, echo=held, lease=0.3)
    put(registry)
    assert held.began.wait(10)
    event.listen(engine, "after_cursor_execute", lambda *told: told[2].startswith(BEAT) and beat.set())
    for _ in range(3):
        clock.forward(0.2)  # three times is twice the lease
        for _ in range(2):  # the first may have begun before
            beat.clear()
            assert beat.wait(10)
    assert not held.left.is_set()
    assert registry.claim("another", 1.0) is None
    held.let_go.set()
    heard.wait("succeeded")


def test_a_job_taken_by_another_ends_here_and_writes_nothing(engine: Engine, registry: Registry, start: Start) -> None:
    held = Held()
    start(echo=held, lease=1.0)
    id = put(registry)
    assert held.began.wait(10)
    with writing(engine) as connection:
        connection.execute(text("UPDATE jobs SET lease_owner = 'another', claims = 2"))
    assert held.left.wait(5)
    assert registry.get(id, "a").status == "running"


def test_a_stop_lets_running_jobs_finish(registry: Registry, heard: Heard, start: Start) -> None:
    held = Held()
    threads = start(echo=held)
    put(registry)
    assert held.began.wait(10)
    threading.Timer(0.1, held.let_go.set).start()
    threads.stop(10)
    assert heard.statuses() == ["queued", "running", "succeeded"]


@pytest.mark.parametrize("heeds", [True, False])
def test_a_stop_hands_back_what_does_not_finish(heeds: bool, registry: Registry, start: Start) -> None:
    held = Held(heeds)
    threads = start(echo=held)
    id = put(registry)
    assert held.began.wait(10)
    threads.stop(0)
    job = registry.get(id, "a")
    assert (job.status, job.attempts) == ("queued", 0)
    held.let_go.set()


def test_a_second_stop_cuts_the_grace_of_the_first_short(registry: Registry, start: Start) -> None:
    held = Held()
    threads = start(echo=held)
    id = put(registry)
    assert held.began.wait(10)
    first = threading.Thread(target=threads.stop, args=(60,))
    first.start()
    threads.stop(0)
    first.join(5)
    assert not first.is_alive()
    assert registry.get(id, "a").status == "queued"


def test_health_says_how_many_work(registry: Registry, start: Start) -> None:
    held = Held()
    assert Threads(registry, {}).health()["status"] == "unknown"
    threads = start(echo=held)
    put(registry)
    assert held.began.wait(10)
    assert threads.health() == {"status": "ok", "workers": 2, "running": 1}
    threads.stop(0)
    assert threads.health()["workers"] == 0


def test_after_a_stop_nothing_is_claimed_and_no_thread_is_left(registry: Registry, start: Start) -> None:
    threads = start(echo=lambda context: {})
    threads.stop(1)
    id = put(registry)
    assert registry.get(id, "a").status == "queued"
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("jobs-")] == []


class Warned(logging.Handler):
    """Says when a message was logged."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self.seen = threading.Event()
        self._part = part

    def emit(self, record: logging.LogRecord) -> None:
        if self._part in record.getMessage():
            self.seen.set()


def test_an_outcome_waits_for_the_storage(database: Database, heard: Heard, start: Start) -> None:
    impatient = database.open(patience=0.02)
    registry, held, warned = Registry(impatient, heard), Held(), Warned("cannot be kept yet")
    logging.getLogger("llmapi.jobs").addHandler(warned)
    start(registry, echo=held)
    put(Registry(database.open(), heard))  # which waits while the others look
    assert held.began.wait(10)
    with database.held_up("jobs"):
        held.let_go.set()
        assert warned.seen.wait(10)
    heard.wait("succeeded")
    logging.getLogger("llmapi.jobs").removeHandler(warned)
