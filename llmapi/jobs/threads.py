"""Runs jobs on threads of this process.

One idle worker at a time looks for work and the others wait behind it, so an idle process asks the database once a
`poll`; a job put here wakes it at once. Start it after the fork.
"""

import threading
from collections.abc import Mapping
from typing import Any

from llmapi.core.clock import Monotonic, monotonic
from llmapi.jobs.job import Claim
from llmapi.jobs.registry import Registry
from llmapi.jobs.runner import Runner
from llmapi.jobs.running import Backoff, JobContext, Run

__all__ = ["JobContext", "Run", "Threads"]

UNWIND = 1.0  # seconds that runs ended by `stop` get to leave


class Threads:
    """Claims jobs and runs them, a few at a time."""

    def __init__(
        self,
        registry: Registry,
        run: Mapping[str, Run],
        *,
        workers: int = 4,
        lease: float = 30.0,  # seconds after which another process takes up the jobs of this one, should it die
        poll: float = 0.5,  # seconds between two looks for what other processes put or cancelled
        timeout: float = 600.0,  # seconds an attempt may take at most
        keep_for: float = 7 * 86_400.0,  # seconds an ended job can be read
        backoff: Backoff = Backoff(),
        clock: Monotonic = monotonic,
    ) -> None:
        self._registry = registry
        self._size = workers
        self._poll = poll
        self._clock = clock
        self._runner = Runner(
            registry, run, lease=lease, poll=poll, timeout=timeout, keep_for=keep_for, backoff=backoff, clock=clock
        )
        self._workers: list[threading.Thread] = []
        self._search = threading.Lock()  # held by the one worker that looks for work
        self._news = threading.Event()  # there may be work, or it is time to stop
        self._stopping = threading.Event()  # no new claims

    def start(self) -> None:
        """Begin to work; once, and after the fork."""
        self._registry.on_work(self._news.set)
        self._runner.start()
        self._workers = [
            threading.Thread(target=self._work, name=f"jobs-{number}", daemon=True) for number in range(self._size)
        ]
        for thread in self._workers:
            thread.start()

    def health(self) -> dict[str, Any]:
        """Return {"status", "workers", "running"}: ok, degraded (a thread is lost), down (all are), or unknown."""
        alive = sum(thread.is_alive() for thread in self._workers)
        status = "ok" if alive == self._size else "degraded" if alive else "down"
        if not self._runner.owner or self._stopping.is_set():
            status = "unknown"
        return {"status": status, "workers": alive, "running": self._runner.running}

    def stop(self, grace: float) -> None:
        """Claim no more, let running jobs finish for `grace` seconds, hand back the rest.

        A second call, also during the first, shortens its grace.
        """
        self._stopping.set()
        self._news.set()
        self._join(grace)
        self._runner.end_all()
        self._join(UNWIND)
        self._runner.stop()

    def _join(self, seconds: float) -> None:
        deadline = self._clock() + seconds
        for thread in self._workers:
            thread.join(max(0.0, deadline - self._clock()))

    def _work(self) -> None:
        while (claim := self._next()) is not None:
            self._runner.run(claim)

    def _next(self) -> Claim | None:
        with self._search:
            while not self._stopping.is_set():
                self._news.clear()  # before the look: what comes during it is seen by the next
                claim = self._runner.take()
                if claim is not None:
                    return claim
                if not self._stopping.is_set():
                    self._news.wait(self._poll)
        return None
