"""Sends a message for each job that may run: at once for those put here, and by a sweep for all the others.

Everything happens in one thread, so no caller ever waits for the broker. A broker that is away loses no job: jobs are
in the registry, and the sweep sends as many messages as the queue lacks. So it heals whatever was lost: messages,
workers that died, jobs whose time came.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from celery import Celery  # type: ignore[import-untyped]
from kombu.exceptions import KombuError

from llmapi.core.clock import Monotonic, Wall, monotonic, utc_now
from llmapi.core.errors import LlmApiError
from llmapi.jobs.celery_app import TASK
from llmapi.jobs.job import Job
from llmapi.jobs.registry import Registry

log = logging.getLogger(__name__)

Due = Callable[[int], list[str]]  # the ids of jobs that might run now, so many at most

REMEMBERED = 10_000  # ids that wait for being sent; the sweep finds what is beyond
COUNTED = 1000  # due jobs a sweep looks at
SENT_AT_ONCE = 100  # messages a sweep sends at most
LONGEST = 30.0  # seconds between two sweeps that send for the very same jobs


class Sender:
    """Tells workers elsewhere that there is work."""

    def __init__(
        self,
        app: Celery,
        registry: Registry,
        due: Due,
        *,
        poll: float = 1.0,  # seconds between two sweeps
        clock: Monotonic = monotonic,
        now: Wall = utc_now,
    ) -> None:
        self._app = app
        self._registry = registry
        self._due = due
        self._poll = poll
        self._clock = clock
        self._now = now
        self._ids: deque[str] = deque(maxlen=REMEMBERED)
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="jobs-sender", daemon=True)
        self._forget: Callable[[], object] = bool
        self._producer: Any = None
        self._connection: Any = None
        self._swept: list[str] = []  # the jobs the last sweep sent for
        self._pause = 0.0
        self._again_at = 0.0
        self.reachable = True

    def start(self) -> None:
        """Begin to send; once, and after the fork."""
        self._forget = self._registry.on_change(self._heard)
        self._thread.start()

    def stop(self) -> None:
        """Send no more; what was not sent is found by somebody's sweep."""
        self._forget()
        self._stopping.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join(1.0)

    @property
    def alive(self) -> bool:
        """Say whether it works."""
        return self._thread.is_alive()

    def _heard(self, job: Job) -> None:
        if job.status == "queued" and job.run_at <= self._now():
            self._ids.append(job.id)
            self._news.set()

    def _work(self) -> None:
        next_sweep = 0.0
        while not self._stopping.is_set():
            self._safely(self._deliver)
            if self._clock() >= next_sweep:
                self._safely(self._sweep)
                next_sweep = self._clock() + self._poll
            self._news.wait(max(0.0, next_sweep - self._clock()))
            self._news.clear()
        self._disconnect()

    def _safely(self, act: Callable[[], object]) -> None:
        """Act; a broker or a storage that is away is told once, and tried again at the next round."""
        try:
            act()
        except LlmApiError as error:
            log.warning("the job registry is not available: %s", error)
        except self._failures() as error:
            if self.reachable:
                log.warning("the broker is not available, jobs wait in the database: %s", error)
            self.reachable = False
            self._ids.clear()
            self._disconnect()
        else:
            if not self.reachable and self._producer is not None:
                log.warning("the broker is available again")
                self.reachable = True

    def _deliver(self) -> None:
        while self._ids and not self._stopping.is_set():
            self._send(self._ids[0])
            self._ids.popleft()

    def _sweep(self) -> None:
        """Send what the queue lacks; ever more seldom while the same jobs cannot run, as for a tenant's limit."""
        due = self._due(COUNTED)
        missing = len(due) - self._waiting()
        if missing <= 0:
            return
        if due != self._swept:
            self._pause = 0.0
        elif self._clock() < self._again_at:
            return
        self._swept = due
        self._pause = min(LONGEST, self._pause * 2 or self._poll)
        self._again_at = self._clock() + self._pause
        for id in due[: min(missing, SENT_AT_ONCE)]:
            self._send(id)

    def _send(self, id: str) -> None:
        self._app.send_task(TASK, args=(id,), producer=self._connected(), retry=False)

    def _waiting(self) -> int:
        """Return how many messages nobody has taken."""
        queue = self._app.conf.task_default_queue
        declared = self._connected().channel.queue_declare(queue, durable=True, auto_delete=False)
        return int(declared.message_count)

    def _connected(self) -> Any:
        if self._producer is None:
            self._connection = self._app.connection_for_write()
            self._producer = self._app.amqp.Producer(self._connection)
        return self._producer

    def _disconnect(self) -> None:
        self._producer, connection, self._connection = None, self._connection, None
        if connection is not None:
            try:
                connection.release()
            except self._failures():
                log.debug("the broker did not say goodbye")

    def _failures(self) -> tuple[type[BaseException], ...]:
        """Return what a broker that is away raises; which that is, its library knows."""
        connection = self._app.connection_for_write()
        return (KombuError, OSError, *connection.connection_errors, *connection.channel_errors)
