"""What a Celery worker does when a message comes: it runs the job whose turn it is."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from llmapi.core.clock import Monotonic, monotonic
from llmapi.jobs.job import Claim
from llmapi.jobs.runner import Runner

UNWIND = 1.0  # seconds that runs ended by `stop` get to leave
SPARE = 1000  # messages kept that came when nothing was allowed to run


class Work:
    """Runs one job a message, in the thread that brings it.

    A message says that there is work; which job is next is for the registry to say, so priorities, fairness and limits
    are those of every engine. A message that finds nothing (it came twice, or its tenant has enough jobs running) is
    spare: when a job ends here, one is used to look again.
    """

    def __init__(self, runner: Runner, *, clock: Monotonic = monotonic) -> None:
        self._runner = runner
        self._clock = clock
        self._changed = threading.Condition()
        self._busy = 0
        self._spare = 0
        self._ended = 0  # jobs so far
        self._stopping = False

    def start(self) -> None:
        """Begin; once, and after the fork."""
        self._runner.start()

    @property
    def running(self) -> int:
        """Return how many jobs run."""
        return self._runner.running

    def run(self) -> None:
        """Run the next job, and then as many as there are spare messages; never raises."""
        with self._counted():
            claim = self._next_or_spare()
            while claim is not None:
                self._runner.run(claim)
                claim = self._next_or_spare() if self._take_spare() else None

    def stop(self, grace: float) -> None:
        """Claim no more, let running jobs finish for `grace` seconds, hand back the rest. A second call shortens it."""
        self._stopping = True
        self._idle(grace)
        self._runner.end_all()
        self._idle(UNWIND)
        self._runner.stop()

    def _next(self) -> Claim | None:
        return None if self._stopping else self._runner.take()

    def _next_or_spare(self) -> Claim | None:
        """Look until there is a job, or none and no job ended meanwhile: who ended then has found no spare message."""
        while True:
            ended = self._ended
            if (claim := self._next()) is not None:
                return claim
            with self._changed:
                if ended == self._ended:
                    self._spare = min(SPARE, self._spare + 1)
                    return None

    def _take_spare(self) -> bool:
        with self._changed:
            self._ended += 1
            if not self._spare:
                return False
            self._spare -= 1
            return True

    def _idle(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._busy, seconds)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._changed:
            self._busy += 1
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()
