"""The parts that do work later."""

from typing import NamedTuple

from llmapi.events.webhook_outbox import WebhookOutbox
from llmapi.jobs import engines
from llmapi.jobs.engines import JobEngine, Pace
from llmapi.jobs.job import ENDED
from llmapi.jobs.priorities import NO_LIMIT, Rules
from llmapi.jobs.registry import Registry
from llmapi.jobs.running import Backoff
from llmapi.parts.base import Base
from llmapi.parts.calling import Calling
from llmapi.settings import Settings
from llmapi.tasks import batches, warming
from llmapi.tasks.later import KIND, TaskJob
from llmapi.tasks.lookup import Lookup
from llmapi.tasks.warm_questions import Questions


class Working(NamedTuple):
    """Jobs, what runs them, batches and warm-ups."""

    jobs: Registry
    job_engine: JobEngine
    batches: batches.Batches
    warming: warming.WarmJob


def open_working(base: Base, calling: Calling, lookup: Lookup, outbox: WebhookOutbox) -> Working:
    """Return them; the application tells batches which endpoints there are. Raises BadSetting."""
    settings, tasks = base.settings, calling.tasks
    jobs = open_jobs(base, outbox)
    many = batches.open_batches(
        base.engine,
        jobs,
        tasks,
        outbox=outbox,
        concurrency=settings.batch_concurrency,
        largest=settings.max_file,
        keep_for=settings.files_kept,
        sleep=base.sleep,
    )
    warm = warming.WarmJob(
        tasks, lookup, Questions(many.files, calling.asked), concurrency=settings.batch_concurrency, sleep=base.sleep
    )
    kinds: engines.Kinds = {KIND: TaskJob(tasks), batches.KIND: many.job, warming.KIND: warm}
    engine = engines.open_engine(settings.jobs_url, jobs, base.engine, kinds, pace_of(settings))
    return Working(jobs, engine, many, warm)


def open_jobs(base: Base, outbox: WebhookOutbox) -> Registry:
    """Return the jobs; whoever asked to hear of their ends is told without delay."""
    settings = base.settings
    rules = Rules(settings.job_ageing, settings.job_tenant_running or NO_LIMIT)
    jobs = Registry(base.engine, base.bus, outbox=outbox, max_attempts=settings.job_attempts, rules=rules)
    jobs.on_change(lambda job: outbox.wake() if job.status in ENDED else None)
    return jobs


def pace_of(settings: Settings) -> Pace:
    """Return how jobs are run."""
    return Pace(
        workers=settings.job_workers,
        lease=settings.job_lease,
        timeout=settings.job_timeout,
        keep_for=settings.jobs_kept,
        backoff=Backoff(settings.job_backoff),
    )
