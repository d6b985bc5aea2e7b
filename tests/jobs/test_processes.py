"""Real processes over one database: none of them lost, none of them twice, and one of them killed."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Engine

from llmapi.jobs.registry import Registry
from llmapi.jobs.threads import JobContext, Run, Threads
from tests.jobs.parts import Heard
from tests.servers.databases import Database

FORK = multiprocessing.get_context("fork")


def serve(database: Database, run: Run, wait: Callable[[], Any], lease: float) -> None:
    """Work until `wait` returns: the whole of a child process."""
    engine = database.open()
    threads = Threads(Registry(engine, Heard()), {"echo": run}, workers=2, lease=lease, poll=0.05)
    threads.start()
    wait()
    threads.stop(5)


def test_processes_share_the_jobs_and_none_runs_twice(engine: Engine, database: Database) -> None:
    ran, over = FORK.Queue(), FORK.Event()

    def run(context: JobContext) -> Mapping[str, Any]:
        ran.put(context.id)
        return {"by": os.getpid()}

    children = [FORK.Process(target=serve, args=(database, run, over.wait, 30.0)) for _ in range(3)]
    for child in children:
        child.start()
    registry = Registry(engine, Heard())
    ids = {registry.put("echo", {}, tenant="a") for _ in range(40)}
    seen = [ran.get(timeout=20) for _ in ids]
    over.set()
    for child in children:
        child.join(10)
    assert set(seen) == ids
    assert ran.empty()
    assert {registry.get(id, "a").status for id in ids} == {"succeeded"}


def test_the_job_of_a_killed_process_is_taken_up_by_another(engine: Engine, database: Database) -> None:
    began, never = FORK.Event(), FORK.Event()

    def hang(context: JobContext) -> Mapping[str, Any]:
        began.set()
        never.wait()
        return {}

    child = FORK.Process(target=serve, args=(database, hang, never.wait, 0.5))
    child.start()
    heard = Heard()
    registry = Registry(engine, heard)
    id = registry.put("echo", {"text": "again"}, tenant="a")
    assert began.wait(10)
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join(10)
    threads = Threads(registry, {"echo": lambda context: {"said": context.arguments["text"]}}, poll=0.05)
    threads.start()
    heard.wait("succeeded")
    threads.stop(1)
    job = registry.get(id, "a")
    assert (job.result, job.attempts) == ({"said": "again"}, 2)
