"""flask worker: a process that runs jobs and serves no requests."""

import signal
import threading
from functools import partial
from types import FrameType
from typing import Any

import click
import structlog

from llmapi.cli.parts import Command
from llmapi.cli.parts import services as services_of
from llmapi.core.errors import BadSetting
from llmapi.core.ids import new_id
from llmapi.services import Services

log = structlog.get_logger("llmapi.worker")
SIGNALS = (signal.SIGTERM, signal.SIGINT)


@click.command(cls=Command)
def worker() -> None:
    """Run jobs until SIGTERM, which lets running ones finish for LLMAPI_GRACE seconds and hands back the rest."""
    parts = services_of()
    if parts.settings.jobs_url.startswith("threads:"):
        work_with_threads(parts)
    else:
        raise SystemExit(work_with_celery(parts))


def work_with_threads(services: Services) -> None:
    """Run jobs of the same database on threads, beside the server's own."""
    stop = threading.Event()

    def asked(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in SIGNALS:
        signal.signal(number, asked)
    begin(services)
    stop.wait()
    services.batches.job.drain()
    services.job_engine.stop(services.settings.grace)
    services.close()


def work_with_celery(services: Services) -> int:
    """Run jobs as a Celery worker; returns the exit code."""
    from llmapi.jobs.celery import ALONE

    app = prepared(services)
    running = app.Worker(hostname=new_id("worker"), quiet=True, **ALONE)
    running.start()
    return int(running.exitcode or 0)


def prepared(services: Services) -> Any:
    """Return the Celery application whose workers start these services, and close them; raises BadSetting."""
    from llmapi.jobs.celery import CeleryJobs

    engine, settings = services.job_engine, services.settings
    if not isinstance(engine, CeleryJobs) or engine.here:
        raise BadSetting("a Celery worker needs LLMAPI_JOBS_URL=redis://…; with memory:// the server has its own")
    drain = services.batches.job.drain
    return engine.prepare(partial(begin, services), services.close, drain=drain, grace=settings.grace)


def begin(services: Services) -> None:
    """Start the services of a worker, and tell."""
    services.start()
    log.info("ready for jobs", workers=services.settings.job_workers)
