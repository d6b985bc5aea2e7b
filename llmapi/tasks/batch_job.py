"""A batch as a job: its file is read into lines, its lines are asked a few at a time, its end is written into files.

A run gives its place back when other jobs wait, when the process stops, and before its time is over: the lines under
way are finished, and another job goes on with the rest. So one batch may take several jobs, one after the other.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import datetime
from typing import Any, Protocol

from llmapi.core.clock import Monotonic, Wall, monotonic, utc_now
from llmapi.core.errors import CallEnded, LlmApiError, NotFound, Overloaded, StorageFull
from llmapi.core.lifetime import Lifetime
from llmapi.jobs.registry import Registry
from llmapi.tasks.answers import Json
from llmapi.tasks.batch_asking import Asker, Run
from llmapi.tasks.batch_doors import Doors
from llmapi.tasks.batch_ending import Ending
from llmapi.tasks.batch_files import Files
from llmapi.tasks.batch_lines import Checker, lines_of
from llmapi.tasks.batch_rows import Batch, Line, Rows

KIND = "batch"
PRIORITY = 2
MOST_LINES = 50_000
AT_ONCE = 100  # lines put into the table in one transaction
TURN = 20.0  # seconds a batch works while other jobs wait
SHARE = 0.75  # of a job's time in which lines are begun; the rest is for finishing them
LOOK = 0.5  # seconds between two looks at how far it is


class Context(Protocol):
    """What a job's run is given; jobs/running.py has the whole of it."""

    @property
    def id(self) -> str: ...
    @property
    def tenant(self) -> str: ...
    @property
    def arguments(self) -> Mapping[str, Any]: ...
    @property
    def lifetime(self) -> Lifetime: ...
    @property
    def progress(self) -> Callable[[Mapping[str, Any]], bool]: ...


class Feed:
    """Gives out the lines of a batch that are in one state, each once, to several threads."""

    def __init__(
        self, rows: Rows, batch: str, stop: Callable[[], bool], page: int, state: str = "waiting"
    ) -> None:
        self._rows, self._batch, self._stop, self._size, self._state = rows, batch, stop, page, state
        self._lock = threading.Lock()
        self._page: Iterator[Line] = iter(())
        self._after = 0

    def __iter__(self) -> Iterator[Line]:
        while not self._stop():
            line = self._next()
            if line is None:
                return
            yield line

    def _next(self) -> Line | None:
        with self._lock:
            line = next(self._page, None)
            if line is None:
                self._page = iter(self._rows.page(self._batch, self._after, self._state, self._size))
                line = next(self._page, None)
            if line is not None:
                self._after = line.number
            return line


class BatchJob:
    """Runs `{"batch": id}`. `serve` tells it the endpoints; `drain` lets it begin no more lines."""

    def __init__(
        self,
        rows: Rows,
        files: Files,
        asker: Asker,
        ending: Ending,
        jobs: Registry,
        *,
        concurrency: int = 8,
        turn: float = TURN,
        now: Wall = utc_now,
        clock: Monotonic = monotonic,
    ) -> None:
        self._rows, self._files, self._asker, self._ending, self._jobs = rows, files, asker, ending, jobs
        self._concurrency, self._turn, self._now, self._clock = concurrency, turn, now, clock
        self._draining = threading.Event()
        self._doors: Doors = {}

    def serve(self, doors: Doors) -> None:
        """Know these endpoints from now on."""
        self._doors = doors

    def drain(self) -> None:
        """The process is about to stop: begin no more lines."""
        self._draining.set()

    def __call__(self, job: Context) -> Json:
        """Work on a batch; raises CallEnded when the job was ended, StorageFull, Overloaded."""
        id = str(job.arguments["batch"])
        taken = self._rows.take(id, job.id)
        if taken is None:
            self._rows.forget_ended(id)  # a run killed at the very end has left them
            return {"batch": id, "status": "over"}
        batch, owner = taken
        if batch.endpoint not in self._doors:
            raise LlmApiError(f"No worker knows the endpoint {batch.endpoint}.")
        run = Run(batch, owner, self._doors[batch.endpoint], job.lifetime)
        if batch.status == "validating" and not self._read(run):
            return self._told(id)
        if batch.status != "cancelling" and not self._time_is_over(batch):
            self._work(run, job)
        return self._left(run)

    def _read(self, run: Run) -> bool:
        """Make lines of the file; False: the batch has ended here, or is not ours."""
        batch = run.batch
        self._rows.forget(batch.id, run.owner)
        try:
            total = self._lines(run)
        except NotFound:
            return self._refused(run, "file_not_found", "The input file was deleted before it was read.")
        if run.over():
            return self._rows.get(batch.id) is not None
        if total == 0:
            return self._refused(run, "empty_file", "The input file has no lines.")
        if total > MOST_LINES:
            return self._refused(run, "too_many_lines", f"A batch may have {MOST_LINES} lines.")
        values = {"status": "in_progress", "in_progress_at": self._now(), "total": total}
        self._rows.change(batch.id, run.owner, of=("validating",), **values)
        return True

    def _lines(self, run: Run) -> int:
        """Return how many lines the file has, having kept them; those beyond the most are not looked at."""
        checker, rows, total = Checker(run.batch.id, run.batch.endpoint, run.door), [], 0
        for number, raw in enumerate(lines_of(self._files.content(run.batch.input_file, run.batch.tenant)), 1):
            if (row := checker.row(number, raw)) is None:
                continue
            rows.append(row)
            total += 1
            if len(rows) == AT_ONCE:
                self._rows.add(rows)
                rows = []
            if run.over() or total > MOST_LINES:
                break
        self._rows.add(rows)
        return total

    def _refused(self, run: Run, code: str, message: str) -> bool:
        self._ending.fail(run.batch, run.owner, [{"code": code, "message": message, "param": None, "line": None}])
        return False

    def _work(self, run: Run, job: Context) -> None:
        """Ask the waiting lines, until there are none or somebody else should have the place."""
        stop = self._stop(run)
        feed = Feed(self._rows, run.batch.id, stop, self._concurrency)

        def ask() -> None:
            for line in feed:
                self._asker.ask(run, line)

        with ThreadPoolExecutor(self._concurrency, "batch") as pool:
            asked = [pool.submit(ask) for _ in range(self._concurrency)]
            while wait(asked, LOOK).not_done:
                with suppress(Overloaded, StorageFull):  # what cannot be told now is told at the next look
                    run.lost |= not self._tell(run, job)
        for each in asked:
            each.result()
        run.lost |= not self._tell(run, job)
        doubts = Feed(self._rows, run.batch.id, run.over, self._concurrency, "doubt")
        for line in doubts:
            self._asker.recall(run, line)

    def _stop(self, run: Run) -> Callable[[], bool]:
        """Return what says whether no further line should be begun."""
        begun = self._clock()
        end = begun + SHARE * run.lifetime.remaining()

        def stop() -> bool:
            return (
                run.over()
                or self._draining.is_set()
                or self._clock() >= end
                or self._time_is_over(run.batch)
                or self._clock() - begun >= self._turn
                and self._jobs.should_make_way(run.batch.tenant)
            )

        return stop

    def _tell(self, run: Run, job: Context) -> bool:
        """Tell how far it is; False: the batch or the job is not ours any more."""
        counts = self._rows.counts(run.batch.id)
        done, failed = counts.get("done", 0), counts.get("failed", 0)
        told = {"done": done + failed, "total": sum(counts.values()), "unit": "lines"}
        return self._rows.change(run.batch.id, run.owner, completed=done, failed=failed) and job.progress(told)

    def _left(self, run: Run) -> Json:
        """End the batch or pass it on."""
        batch = self._rows.get(run.batch.id) or run.batch
        if batch.status == "cancelling":
            self._ending.end(batch, run.owner, "cancelled")
        if run.over():
            raise CallEnded("The run was ended before its batch was done.")
        if batch.status != "cancelling" and batch.open:
            waiting = self._rows.page(batch.id, 0, "waiting", 1)
            if waiting and not self._time_is_over(batch):
                return self._passed_on(run)
            self._ending.end(batch, run.owner, "expired" if waiting else "completed")
        return self._told(batch.id)

    def _passed_on(self, run: Run) -> Json:
        if self._rows.release(run.batch.id, run.owner):
            put_job(self._jobs, self._rows, run.batch)
        return self._told(run.batch.id)

    def _told(self, id: str) -> Json:
        batch = self._rows.get(id)
        return {"batch": id, "status": batch.status if batch else "over"}

    def _time_is_over(self, batch: Batch) -> bool:
        now: datetime = self._now()
        return now >= batch.expires


def put_job(jobs: Registry, rows: Rows, batch: Batch, request_id: str = "") -> str:
    """Put the job that works on a batch from now on; raises Overloaded, StorageFull."""
    job = jobs.put(KIND, {"batch": batch.id}, tenant=batch.tenant, request_id=request_id, priority=PRIORITY)
    rows.given(batch.id, job)
    return job
