"""Looks after what nobody works on: files whose time is over, and batches whose job is gone."""

from datetime import timedelta

from llmapi.core.clock import Wall, utc_now
from llmapi.core.errors import JobNotCancellable, NotFound
from llmapi.core.periodic import Periodic
from llmapi.jobs.registry import Registry
from llmapi.tasks.batch_ending import Ending
from llmapi.tasks.batch_files import Files
from llmapi.tasks.batch_job import put_job
from llmapi.tasks.batch_rows import Batch, Rows

EVERY = 15.0  # seconds between two rounds
STALE = timedelta(seconds=30)  # after which a batch is looked after again


class Keeper:
    """A thread for what is due; start it after the fork."""

    def __init__(self, rows: Rows, files: Files, ending: Ending, jobs: Registry, *, now: Wall = utc_now) -> None:
        self._rows, self._files, self._ending, self._jobs, self._now = rows, files, ending, jobs, now
        self._periodic = Periodic("batches", self.look, EVERY, trouble="batches cannot be looked after")

    def start(self) -> None:
        """Begin."""
        self._periodic.start()

    def stop(self) -> None:
        """End."""
        self._periodic.stop()

    def look(self) -> None:
        """Do what is due; raises StorageFull, Overloaded."""
        while self._files.purge():
            pass
        for batch in self._rows.stale(self._now() - STALE):
            self._look_after(batch)

    def cancel(self, batch: Batch) -> None:
        """End a batch that is to be cancelled, unless a run is about to do it."""
        if self._job_of(batch, cancel=True) != "running":
            self._end(batch, "cancelled")

    def _look_after(self, batch: Batch) -> None:
        status = self._job_of(batch, cancel=batch.status == "cancelling")  # again: who cancelled it may have died
        if status == "running":
            return
        if batch.status == "cancelling" or status == "cancelled":
            self._end(batch, "cancelled")
        elif self._now() >= batch.expires:
            self._job_of(batch, cancel=True)
            self._end(batch, "expired")
        elif status != "queued" and (taken := self._rows.take(batch.id)) and self._rows.release(*_names(taken)):
            put_job(self._jobs, self._rows, batch)

    def _job_of(self, batch: Batch, *, cancel: bool = False) -> str:
        """Return the status of a batch's job, once it was asked to end."""
        if batch.job is None:
            return "none"
        try:
            if cancel:
                return self._jobs.cancel(batch.job, batch.tenant).status
            return self._jobs.get(batch.job, batch.tenant).status
        except JobNotCancellable:
            return "ended"
        except NotFound:
            return "none"

    def _end(self, batch: Batch, status: str) -> None:
        if taken := self._rows.take(batch.id):
            self._ending.end(*taken, status)


def _names(taken: tuple[Batch, str]) -> tuple[str, str]:
    batch, owner = taken
    return batch.id, owner
