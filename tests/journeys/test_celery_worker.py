"""Jobs put here, run by Celery workers in processes of their own, over a real Valkey; some are killed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmapi.bootstrap import build
from llmapi.jobs.celery_app import QUEUE
from llmapi.jobs.job import Job
from llmapi.services import Services
from llmapi.settings import Settings
from tests.fakes.behaviours import Answer, Hang
from tests.fakes.gemini import FakeGemini
from tests.journeys.conftest import on
from tests.servers.databases import Database
from tests.servers.valkey import Valkey
from tests.servers.worker import CELERY, FLASK, Worker

ON_SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
Hire = Callable[..., Worker]
until = Valkey.until
PATIENCE = 60.0  # seconds: a worker has a lot to load


@pytest.fixture
def services(database: Database, valkey: Valkey) -> Iterator[Services]:
    """The side that takes jobs in."""
    made = build(Settings(data_dir=database.folder, database_url=database.url, jobs_url=valkey.url, local=False))
    made.job_engine.start()
    yield made
    made.close()


@pytest.fixture
def hire(database: Database, valkey: Valkey, upstream: FakeGemini, tmp_path: Path) -> Iterator[Hire]:
    """Start workers; those a test left running are killed."""
    hired: list[Worker] = []
    settings = {
        "LLMAPI_DATA_DIR": str(database.folder),
        "LLMAPI_JOBS_URL": valkey.url,
        "LLMAPI_JOB_LEASE": "3",  # seconds: who lives but is late must not be taken for dead
        "LLMAPI_GRACE": "1",
        "LLMAPI_RETRY_ATTEMPTS": "1",
    }
    if database.url:
        settings["DATABASE_URL"] = database.url

    def start(command: tuple[str, ...] = FLASK, **more: str) -> Worker:
        folder = tmp_path / f"worker{len(hired)}"
        folder.mkdir()
        hired.append(Worker(folder, on(upstream, **{**settings, **more}), command))
        return hired[-1]

    yield start
    for worker in hired:
        with worker:
            pass


def put(services: Services, prompt: str = "hello") -> str:
    return services.jobs.put("task", {"task": "text", "request": {"prompt": prompt}}, tenant="a")


def ended(services: Services, *ids: str) -> list[Job]:
    """Wait until jobs have ended."""
    until(lambda: all(services.jobs.look(id, "a").finished for id in ids), PATIENCE)
    return [services.jobs.get(id, "a") for id in ids]


@ON_POSTGRESQL
def test_the_job_of_a_killed_worker_is_done_by_another(services: Services, hire: Hire, upstream: FakeGemini) -> None:
    upstream.script = [Hang(), "Here."]
    first = hire()
    id = put(services)
    until(lambda: upstream.asked, PATIENCE)
    second = hire()
    until(second.is_ready, PATIENCE)
    assert services.jobs.look(id, "a").status == "running"
    first.kill()
    (job,) = ended(services, id)
    assert (job.status, job.attempts, len(upstream.asked)) == ("succeeded", 2, 2)
    assert job.result is not None and job.result["output"]["text"] == "Here."


@ON_SQLITE
def test_a_worker_that_is_stopped_finishes_what_it_can_and_hands_back_the_rest(
    services: Services, hire: Hire, upstream: FakeGemini
) -> None:
    upstream.behaviour = lambda asked: Hang() if "long" in str(asked.body) else Answer(delay=0.4)
    worker = hire()
    short, long = put(services, "short"), put(services, "long")
    until(lambda: len(upstream.asked) == 2, PATIENCE)
    assert worker.stop() == 0, worker.told()
    assert services.jobs.look(short, "a").status == "succeeded"
    assert (services.jobs.look(long, "a").status, services.jobs.look(long, "a").attempts) == ("queued", 0)


@ON_SQLITE
def test_a_message_that_comes_often_runs_and_bills_its_job_once(
    services: Services, hire: Hire, upstream: FakeGemini, valkey: Valkey
) -> None:
    upstream.default = Answer(delay=0.3)
    id = put(services)
    until(lambda: valkey.client().llen(QUEUE))
    valkey.client().lpush(QUEUE, *[valkey.client().lindex(QUEUE, 0)] * 20)
    workers = [hire(FLASK), hire(CELERY)]
    until(lambda: all(worker.is_ready() for worker in workers), PATIENCE)
    (job,) = ended(services, id)
    until(lambda: not valkey.client().llen(QUEUE))
    assert (job.status, job.attempts, len(upstream.asked)) == ("succeeded", 1, 1)
    assert workers[1].stop() == 0, workers[1].told()


@ON_SQLITE
def test_jobs_whose_messages_a_broker_lost_are_run_all_the_same(
    services: Services, hire: Hire, upstream: FakeGemini, valkey: Valkey
) -> None:
    ids = [put(services, f"question {number}") for number in range(10)]
    until(lambda: valkey.client().llen(QUEUE) >= 10)
    valkey.kill()
    worker = hire()
    valkey.start()
    assert {job.status for job in ended(services, *ids)} == {"succeeded"}
    assert len(upstream.asked) == 10
    assert "Traceback" not in worker.told()


@ON_SQLITE
def test_without_a_broker_a_worker_runs_jobs_of_the_database_on_threads(
    services: Services, hire: Hire, upstream: FakeGemini
) -> None:
    worker = hire(LLMAPI_JOBS_URL="threads://")
    id = put(services)
    (job,) = ended(services, id)
    assert (job.status, len(upstream.asked)) == ("succeeded", 1)
    assert worker.stop() == 0, worker.told()


@ON_SQLITE
def test_a_worker_started_by_celery_works_on_batches_too(services: Services, hire: Hire, upstream: FakeGemini) -> None:
    upstream.default = Answer("good")
    desk = services.batches.desk
    wanted = {"text": "I love it", "labels": ["good", "bad"], "cache": {"mode": "bypass"}}
    file = desk.written("a", "/v1/classify", [{"custom_id": f"c{number}", "body": wanted} for number in range(3)])
    batch = desk.create("a", "/v1/classify", file.id)
    hire(CELERY)
    until(lambda: desk.get(batch.id, "a").status == "completed", PATIENCE)
    assert desk.get(batch.id, "a").completed == 3
