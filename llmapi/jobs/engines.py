"""What runs the jobs, chosen by its URL: threads of this process, or Celery workers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from sqlalchemy import Engine

from llmapi.core.clock import utc_now
from llmapi.core.errors import BadSetting
from llmapi.jobs.overview import due
from llmapi.jobs.registry import Registry
from llmapi.jobs.runner import Runner
from llmapi.jobs.running import Backoff, Run
from llmapi.jobs.threads import Threads


class JobEngine(Protocol):
    """Runs jobs, here or elsewhere."""

    def start(self) -> None:
        """Begin; once, and after the fork."""
        ...

    def stop(self, grace: float) -> None:
        """Claim no more, let running jobs finish for `grace` seconds, hand back the rest; a second call shortens it."""
        ...

    def health(self) -> dict[str, Any]:
        """Return {"status", "running", …}."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How jobs are run; times in seconds, as in Runner."""

    workers: int = 4
    lease: float = 30.0
    timeout: float = 600.0
    keep_for: float = 7 * 86_400.0
    poll: float = 0.5
    backoff: Backoff = Backoff()


Kinds = Mapping[str, Run]
Opener = Callable[[str, Registry, Engine, Kinds, Pace], JobEngine]


def open_engine(url: str, registry: Registry, engine: Engine, kinds: Kinds, pace: Pace = Pace()) -> JobEngine:
    """Return the engine of a URL; nothing runs yet. Raises BadSetting.

    url: threads:// (this process), memory:// (Celery within this process, for trials), redis://host:6379/0 (Celery
    workers elsewhere)
    """
    scheme = urlsplit(url).scheme
    if scheme not in KINDS:
        raise BadSetting(f"jobs_url: no job engine is called {scheme}://; there are {sorted(KINDS)}")
    return KINDS[scheme](url, registry, engine, kinds, pace)


def _open_threads(_: str, registry: Registry, __: Engine, kinds: Kinds, pace: Pace) -> JobEngine:
    return Threads(
        registry,
        kinds,
        workers=pace.workers,
        lease=pace.lease,
        poll=pace.poll,
        timeout=pace.timeout,
        keep_for=pace.keep_for,
        backoff=pace.backoff,
    )


def _open_celery(url: str, registry: Registry, engine: Engine, kinds: Kinds, pace: Pace) -> JobEngine:
    try:
        from llmapi.jobs.celery import CeleryJobs
        from llmapi.jobs.celery_app import open_app
        from llmapi.jobs.celery_sender import Sender
        from llmapi.jobs.celery_work import Work
    except ModuleNotFoundError as error:
        raise BadSetting(f"jobs_url: Celery needs the package {error.name}: pip install 'celery[redis]'") from None
    app = open_app(url, workers=pace.workers)
    sender = Sender(app, registry, lambda most: due(engine, utc_now(), most), poll=max(pace.poll, 0.5))
    runner = Runner(
        registry,
        kinds,
        lease=pace.lease,
        poll=pace.poll,
        timeout=pace.timeout,
        keep_for=pace.keep_for,
        backoff=pace.backoff,
    )
    return CeleryJobs(app, sender, Work(runner), here=urlsplit(url).scheme == "memory")


KINDS: Mapping[str, Opener] = {
    "threads": _open_threads,
    "memory": _open_celery,
    "redis": _open_celery,
    "rediss": _open_celery,
}
