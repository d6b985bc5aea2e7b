"""Runs jobs on threads of this process.

One idle worker at a time looks for work and the others wait behind it, so an idle process asks the database once a
`poll`; a job put here wakes it at once. A watcher keeps the leases of running jobs alive, and ends the lifetime of a
job that was cancelled or lost. Start it after the fork.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from llmapi.core.clock import Monotonic, monotonic
from llmapi.core.errors import LlmApiError, Overloaded, StorageFull
from llmapi.core.ids import new_id
from llmapi.core.lifetime import Lifetime
from llmapi.jobs.job import Claim, Json, described
from llmapi.jobs.registry import Registry

log = logging.getLogger(__name__)
T = TypeVar("T")

UNWIND = 1.0  # seconds that runs ended by `stop` get to leave
TIDY = 60.0  # seconds between deletions of old jobs
REPORTS = 10  # tries to write an outcome while the storage is busy; then the lease ends and the job runs again
UNEXPECTED = described(LlmApiError("Something unexpected happened; the log has it."))


@dataclass(frozen=True, slots=True)
class JobContext:
    """What a run is given. It ends soon after its lifetime does: by deadline, by cancellation, or by shutdown."""

    id: str
    tenant: str
    kind: str
    arguments: Json
    request_id: str
    attempt: int
    lifetime: Lifetime
    progress: Callable[[Json], bool]  # keep how far it is; False: the job is no longer ours


Run = Callable[[JobContext], Mapping[str, Any]]


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
        timeout: float = 600.0,  # seconds a job may take
        keep_for: float = 7 * 86_400.0,  # seconds an ended job can be read
        clock: Monotonic = monotonic,
    ) -> None:
        self._registry = registry
        self._kinds = run
        self._size = workers
        self._lease = lease
        self._poll = poll
        self._timeout = timeout
        self._keep_for = keep_for
        self._clock = clock
        self._owner = ""
        self._workers: list[threading.Thread] = []
        self._watcher = threading.Thread(target=self._watch, name="jobs-watch", daemon=True)
        self._search = threading.Lock()  # held by the one worker that looks for work
        self._news = threading.Event()  # there may be work, or it is time to stop
        self._stopping = threading.Event()  # no new claims
        self._leaving = threading.Event()  # what still runs is handed back
        self._over = threading.Event()  # nothing runs any more
        self._lock = threading.Lock()
        self._running: dict[tuple[str, int], tuple[Claim, Lifetime]] = {}  # by job id and claim: both may run

    def start(self) -> None:
        """Begin to work; once, and after the fork."""
        self._owner = new_id("worker")
        self._registry.on_work(self._news.set)
        self._workers = [
            threading.Thread(target=self._work, name=f"jobs-{number}", daemon=True) for number in range(self._size)
        ]
        for thread in (*self._workers, self._watcher):
            thread.start()

    def health(self) -> dict[str, Any]:
        """Return {"status", "workers", "running"}: ok, degraded (a thread is lost), down (all are), or unknown."""
        alive = sum(thread.is_alive() for thread in self._workers)
        status = "ok" if alive == self._size else "degraded" if alive else "down"
        if not self._owner or self._stopping.is_set():
            status = "unknown"
        return {"status": status, "workers": alive, "running": len(self._running)}

    def stop(self, grace: float) -> None:
        """Claim no more, let running jobs finish for `grace` seconds, hand back the rest.

        A second call, also during the first, shortens its grace.
        """
        self._stopping.set()
        self._news.set()
        self._join(grace)
        self._leaving.set()
        for _, lifetime in self._snapshot():
            lifetime.end()
        self._join(UNWIND)
        for claim, _ in self._snapshot():  # a run that does not heed its lifetime; what it says later is ignored
            _safely(partial(self._registry.hand_back, claim))
        self._over.set()
        if self._watcher.is_alive():
            self._watcher.join()

    def _join(self, seconds: float) -> None:
        deadline = self._clock() + seconds
        for thread in self._workers:
            thread.join(max(0.0, deadline - self._clock()))

    def _work(self) -> None:
        while (claim := self._next()) is not None:
            lifetime = self._enter(claim)
            try:
                self._report(self._outcome(claim, lifetime), claim)
            finally:
                self._leave(claim)

    def _next(self) -> Claim | None:
        with self._search:
            while not self._stopping.is_set():
                self._news.clear()  # before the look: what comes during it is seen by the next
                claim = _safely(partial(self._registry.claim, self._owner, self._lease))
                if claim is not None:
                    return claim
                if not self._stopping.is_set():
                    self._news.wait(self._poll)
        return None

    def _enter(self, claim: Claim) -> Lifetime:
        lifetime = Lifetime(self._timeout, self._clock)
        with self._lock:
            self._running[claim.job.id, claim.number] = (claim, lifetime)
        if self._leaving.is_set():  # claimed in the instant of the stop
            lifetime.end()
        return lifetime

    def _leave(self, claim: Claim) -> None:
        with self._lock:
            del self._running[claim.job.id, claim.number]

    def _snapshot(self) -> list[tuple[Claim, Lifetime]]:
        with self._lock:
            return list(self._running.values())

    def _outcome(self, claim: Claim, lifetime: Lifetime) -> Callable[[], bool]:
        """Run the job and return what there is to report."""
        try:
            return partial(self._registry.succeed, claim, self._run(claim, lifetime))
        except LlmApiError as error:
            told = described(error)
        except Exception:  # whatever a run does, the worker stays and the caller is told
            log.exception("job %s (%s) broke", claim.job.id, claim.job.kind)
            told = UNEXPECTED
        if lifetime.ended and self._leaving.is_set():
            return partial(self._registry.hand_back, claim)
        return partial(self._registry.fail, claim, told)

    def _run(self, claim: Claim, lifetime: Lifetime) -> Mapping[str, Any]:
        job = claim.job
        if job.kind not in self._kinds:
            raise LlmApiError(f"No worker knows jobs of the kind {job.kind}.")
        progress = partial(self._registry.progress, claim)
        context = JobContext(
            job.id, job.tenant, job.kind, job.arguments or {}, job.request_id, job.attempts, lifetime, progress
        )
        return self._kinds[job.kind](context)

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
                _safely(self._beat)
            elif self._running:
                _safely(self._cancel)
            if now - tidied >= TIDY:
                tidied = now
                _safely(partial(self._registry.expire_old, self._keep_for))

    def _beat(self) -> None:
        for claim, lifetime in self._snapshot():
            if self._registry.heartbeat(claim) != "held":
                lifetime.end()

    def _cancel(self) -> None:
        asked = self._registry.asked_to_cancel(self._owner)
        for claim, lifetime in self._snapshot():
            if claim.job.id in asked:
                lifetime.end()


def _safely(act: Callable[[], T]) -> T | None:
    """Act; what fails is logged and tried again at the next round."""
    try:
        return act()
    except LlmApiError as error:
        log.warning("the job registry is not available: %s", error)
    except Exception:
        log.exception("the job registry failed")
    return None
