"""How jobs change: in one transaction with the outbox, and told once it is committed."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine

from llmapi.core.contracts import Bus, Outbox
from llmapi.core.events import JobChanged
from llmapi.db.engine import writing
from llmapi.jobs.job import ENDED, Job
from llmapi.jobs.statements import Returning

Listener = Callable[[Job], None]
Values = Mapping[str, Any] | None


class Change:
    """One transaction. `enter` is for a new status, which is told on the bus; `touch` for anything less."""

    def __init__(self, connection: Connection, outbox: Outbox | None) -> None:
        self.connection = connection
        self.entered: list[Job] = []
        self.touched: list[Job] = []
        self._outbox = outbox

    def enter(self, change: Returning, values: Values = None) -> tuple[Job, ...]:
        """Return the jobs that entered a status; what ended is put into the outbox."""
        found = self._changed(change, values)
        for job in found:
            if self._outbox is not None and job.status in ENDED:
                self._outbox.add(self.connection, job.tenant, f"job.{job.status}", job.notice())
        self.entered.extend(found)
        return found

    def touch(self, change: Returning, values: Values = None) -> tuple[Job, ...]:
        """Return the jobs that changed within their status."""
        found = self._changed(change, values)
        self.touched.extend(found)
        return found

    def _changed(self, change: Returning, values: Values) -> tuple[Job, ...]:
        return tuple(Job.of(row) for row in self.connection.execute(change, values).mappings())


class Changes:
    """Opens transactions and tells what came of them."""

    def __init__(self, engine: Engine, bus: Bus, outbox: Outbox | None = None) -> None:
        self._engine = engine
        self._bus = bus
        self._outbox = outbox
        self._lock = threading.Lock()
        self._listeners: tuple[Listener, ...] = ()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` after each change made by this process; returns a function that ends it."""

        def leave() -> None:
            with self._lock:
                self._listeners = tuple(known for known in self._listeners if known is not listener)

        with self._lock:
            self._listeners = (*self._listeners, listener)
        return leave

    @contextmanager
    def begin(self) -> Iterator[Change]:
        """Open a transaction; raises StorageFull, Overloaded, and whatever the outbox does: then nothing happened."""
        with writing(self._engine) as connection:
            change = Change(connection, self._outbox)
            yield change
        for job in change.entered:
            self._bus.tell(
                JobChanged(job.id, job.tenant, job.kind, job.status, job.attempts, job.duration, job.request_id)
            )
        for job in (*change.entered, *change.touched):
            for listener in self._listeners:
                listener(job)
