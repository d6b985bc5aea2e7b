"""Runs claimed jobs and reports what became of them, whatever engine brings the claims.

A watcher keeps the leases of running jobs alive, and ends the lifetime of a job that was cancelled or lost. Start it
after the fork.
"""

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, TypeVar

from llmapi.core.clock import Monotonic, monotonic
from llmapi.core.errors import LlmApiError, Overloaded, StorageFull
from llmapi.core.ids import new_id
from llmapi.core.lifetime import Lifetime
from llmapi.jobs.job import Claim, Job, described
from llmapi.jobs.registry import Registry
from llmapi.jobs.running import Backoff, JobContext, Progress, Run, may_help

log = logging.getLogger(__name__)
T = TypeVar("T")

TIDY = 60.0  # seconds between deletions of old jobs
REPORTS = 10  # tries to write an outcome while the storage is busy; then the lease ends and the job runs again
UNEXPECTED = described(LlmApiError("Something unexpected happened; the log has it."))


class Runner:
    """Takes jobs and runs each in the thread that asks it to."""

    def __init__(
        self,
        registry: Registry,
        kinds: Mapping[str, Run],
        *,
        lease: float = 30.0,  # seconds after which another process takes up the jobs of this one, should it die
        poll: float = 0.5,  # seconds between two looks for what other processes cancelled
        timeout: float = 600.0,  # seconds an attempt may take at most
        keep_for: float = 7 * 86_400.0,  # seconds an ended job can be read
        backoff: Backoff = Backoff(),
        clock: Monotonic = monotonic,
    ) -> None:
        self._registry = registry
        self._kinds = kinds
        self._lease = lease
        self._poll = poll
        self._timeout = timeout
        self._keep_for = keep_for
        self._backoff = backoff
        self._clock = clock
        self.owner = ""
        self._watcher = threading.Thread(target=self._watch, name="jobs-watch", daemon=True)
        self._leaving = threading.Event()  # what still runs is handed back
        self._over = threading.Event()  # nothing runs any more
        self._forget: Callable[[], object] = bool
        self._lock = threading.Lock()
        self._running: dict[tuple[str, int], tuple[Claim, Lifetime]] = {}  # by job id and claim: both may run

    def start(self) -> None:
        """Begin to watch; once, and after the fork."""
        self.owner = new_id("worker")
        self._forget = self._registry.on_change(self._heard)
        self._watcher.start()

    def take(self, id: str | None = None) -> Claim | None:
        """Claim the job whose turn it is, or this very one; None also while the registry is not available."""
        if id is None:
            return safely(partial(self._registry.claim, self.owner, self._lease))
        return safely(partial(self._registry.claim_this, id, self.owner, self._lease))

    def run(self, claim: Claim) -> None:
        """Run a job taken by `take` and report its outcome; never raises."""
        lifetime = self._enter(claim)
        try:
            self._report(self._outcome(claim, lifetime), claim)
        finally:
            with self._lock:
                del self._running[claim.job.id, claim.number]

    @property
    def running(self) -> int:
        """Return how many jobs run."""
        return len(self._running)

    def end_all(self) -> None:
        """End what runs; it is handed back, as is what may still come."""
        self._leaving.set()
        for _, lifetime in self._snapshot():
            lifetime.end()

    def stop(self) -> None:
        """Hand back what did not heed its end, whose late outcome is ignored, and watch no more."""
        for claim, _ in self._snapshot():
            safely(partial(self._registry.hand_back, claim))
        self._over.set()
        self._forget()
        if self._watcher.is_alive():
            self._watcher.join()

    def _enter(self, claim: Claim) -> Lifetime:
        lifetime = Lifetime(min(claim.job.timeout or self._timeout, self._timeout), self._clock)
        with self._lock:
            self._running[claim.job.id, claim.number] = (claim, lifetime)
        if self._leaving.is_set():  # claimed in the instant of the stop
            lifetime.end()
        return lifetime

    def _snapshot(self) -> list[tuple[Claim, Lifetime]]:
        with self._lock:
            return list(self._running.values())

    def _outcome(self, claim: Claim, lifetime: Lifetime) -> Callable[[], bool]:
        """Run the job and return what there is to report."""
        again = None
        try:
            return partial(self._registry.succeed, claim, self._run(claim, lifetime))
        except LlmApiError as error:
            told = described(error)
            if may_help(error, lifetime):
                again = self._backoff.seconds(claim.job.attempts, error)
        except Exception:  # whatever a run does, the worker stays and the caller is told
            log.exception("job %s (%s) broke", claim.job.id, claim.job.kind)
            told = UNEXPECTED
        if lifetime.ended and self._leaving.is_set():
            return partial(self._registry.hand_back, claim)
        return partial(self._registry.fail, claim, told, again)

    def _run(self, claim: Claim, lifetime: Lifetime) -> Mapping[str, Any]:
        job = claim.job
        if job.kind not in self._kinds:
            raise LlmApiError(f"No worker knows jobs of the kind {job.kind}.")
        progress = Progress(self._registry, claim, self._clock)
        arguments = job.arguments or {}
        who = job.id, job.tenant, job.kind
        return self._kinds[job.kind](
            JobContext(*who, arguments, job.request_id, job.attempts, lifetime, progress, job.priority)
        )

    def _report(self, report: Callable[[], bool], claim: Claim) -> None:
        for _ in range(REPORTS):
            try:
                if not report():
                    log.warning("job %s was taken by another worker; this outcome is dropped", claim.job.id)
                return
            except (Overloaded, StorageFull) as error:
                log.warning("job %s has an outcome that cannot be kept yet: %s", claim.job.id, error)
                self._over.wait(self._poll)
            except LlmApiError as error:  # a result that cannot be kept
                report = partial(self._registry.fail, claim, described(error))
            except Exception:  # a mistake of ours must not cost the worker
                log.exception("the outcome of job %s cannot be kept", claim.job.id)
                return
        log.error("job %s has an outcome that could not be kept; it runs again when its lease ends", claim.job.id)

    def _watch(self) -> None:
        beaten = tidied = self._clock()
        while not self._over.wait(min(self._poll, self._lease / 3)):
            now = self._clock()
            if now - beaten >= self._lease / 3:
                beaten = now
                safely(self._beat)
            elif self._running:
                safely(self._cancel)
            if now - tidied >= TIDY:
                tidied = now
                safely(partial(self._registry.expire_old, self._keep_for))

    def _beat(self) -> None:
        for claim, lifetime in self._snapshot():
            if self._registry.heartbeat(claim) != "held":
                lifetime.end()

    def _cancel(self) -> None:
        self._end(self._registry.asked_to_cancel(self.owner))

    def _heard(self, job: Job) -> None:
        """A change made in this process: a cancellation need not wait for the next look."""
        if job.cancel_asked and job.status == "running":
            self._end({job.id})

    def _end(self, ids: Collection[str]) -> None:
        for claim, lifetime in self._snapshot():
            if claim.job.id in ids:
                lifetime.end()


def safely(act: Callable[[], T]) -> T | None:
    """Act; what fails is logged, for the next round to try again."""
    try:
        return act()
    except LlmApiError as error:
        log.warning("the job registry is not available: %s", error)
    except Exception:
        log.exception("the job registry failed")
    return None
