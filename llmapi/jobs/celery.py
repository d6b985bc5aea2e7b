"""Celery as the transport of jobs: it brings messages to workers, the registry keeps everything else."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from celery import Celery, bootsteps  # type: ignore[import-untyped]

from llmapi.core.ids import new_id
from llmapi.jobs.celery_app import TASK, tell_warnings_only
from llmapi.jobs.celery_sender import Sender
from llmapi.jobs.celery_work import Work

log = logging.getLogger(__name__)

ALONE = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True}  # workers need not know each other


class CeleryJobs:
    """Has jobs run by Celery workers: by one within this process if the broker is its memory, else by others.

    A worker process takes the same object: it prepares `app` and starts a Celery worker on it.
    """

    def __init__(self, app: Celery, sender: Sender, work: Work, *, here: bool) -> None:
        self.app = app
        self._sender = sender
        self._work = work
        self.here = here
        self._started = False
        self._stopping = threading.Event()
        self._worker: Any = None
        app.task(self._run, name=TASK, shared=False)

    def start(self) -> None:
        """Begin to send, and with a broker in memory to work; once, and after the fork."""
        self._started = True
        self._sender.start()
        if self.here:
            tell_warnings_only()
            self._work.start()
            self.app.set_default()  # threads of Celery's pool look for their application here
            self._worker = self.app.WorkController(pool_cls="threads", hostname=new_id("worker"), **ALONE)
            threading.Thread(target=self._worker.start, name="jobs-celery", daemon=True).start()

    def stop(self, grace: float) -> None:
        """Send no more and take no more, let running jobs finish for `grace` seconds, hand back the rest.

        A second call, also during the first, shortens its grace.
        """
        again = self._stopping.is_set()
        self._stopping.set()
        self._sender.stop()
        if self._worker is None:
            return
        self._work.stop(grace)
        if not again:
            self._worker.stop()  # its thread notices within two seconds; nothing waits for that

    def health(self) -> dict[str, Any]:
        """Return {"status", "broker", "running"}: degraded while the broker is away, for jobs then wait."""
        broker = "ok" if self._sender.reachable else "down"
        status = "degraded" if broker == "down" else "ok"
        if not self._sender.alive:
            status = "down" if self._started and not self._stopping.is_set() else "unknown"
        return {"status": status, "broker": broker, "running": self._work.running}

    def prepare(
        self,
        begin: Callable[[], object],
        end: Callable[[], object],
        *,
        drain: Callable[[], object],
        grace: float,
    ) -> Celery:
        """Return the application for a worker process; its worker calls `begin` before the first message.

        When it is to stop, it calls `drain`, finishes or hands back its jobs, and calls `end`.
        """
        work, leave = self._work, self.stop

        class Jobs(bootsteps.StartStopStep):  # type: ignore[misc]
            requires = {"celery.worker.components:Pool"}  # so the consumer starts after it and ends before it

            def start(self, _: Any) -> None:
                tell_warnings_only()
                begin()
                work.start()

            def stop(self, _: Any) -> None:
                drain()
                work.stop(grace)
                leave(0.0)
                end()

            terminate = stop

        self.app.steps["worker"].add(Jobs)
        return self.app

    def _run(self, id: str) -> None:
        log.debug("job %s was announced", id)
        self._work.run()
