"""Rows that are written a moment later, by a thread: those that cost nothing, and those the database did not take."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence

import orjson
from sqlalchemy.exc import SQLAlchemyError

from llmapi.core.clock import monotonic
from llmapi.core.errors import LlmApiError, Overloaded, StorageFull
from llmapi.costs.reservations import Settle

PAUSE = 0.1  # seconds rows gather
MANY = 500  # rows of one transaction
MOST = 10_000  # rows that wait, of each kind
AGAIN = 1.0  # seconds until a database that failed is tried again

log = logging.getLogger(__name__)
Passing = (StorageFull, Overloaded, TimeoutError)  # what another try may cure


class WritingBehind:
    """A thread between `start` and `stop`; without it nothing is taken, and what is kept is tried at the end.

    write: writes rows, or raises
    chore: done now and then by the same thread, `every` so many seconds
    """

    def __init__(self, write: Callable[[Sequence[Settle]], None], chore: Callable[[], int], *, every: float) -> None:
        self._write, self._chore, self._every = write, chore, every
        self._rows: deque[Settle] = deque()
        self._kept: deque[Settle] = deque()
        self._some = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, after what waits was written once more, as far as that is possible."""
        self._stopping.set()
        self._some.set()
        if self._thread is not None:
            self._thread.join(10.0)
            self._thread = None
        self._flush()
        for end in [*self._rows, *self._kept]:
            _lost(end)

    def take(self, end: Settle) -> bool:
        """Write a row that costs nothing soon; False when it must be written by the caller."""
        if self._thread is None or len(self._rows) >= MOST:
            return False
        self._rows.append(end)
        if not self._some.is_set():
            self._some.set()
        return True

    def keep(self, end: Settle) -> None:
        """Keep a row the database did not take; when too many wait the oldest is told to the log instead."""
        if len(self._kept) >= MOST:
            _lost(self._kept.popleft())
        self._kept.append(end)

    def waiting(self) -> int:
        """Return how many rows wait."""
        return len(self._rows) + len(self._kept)

    def _run(self) -> None:
        chore_at = retry_at = monotonic()
        while not self._stopping.is_set():
            self._some.wait(min(self._every, AGAIN) if self.waiting() else self._every)
            if self._some.is_set():
                self._stopping.wait(PAUSE)
                self._some.clear()
            now = monotonic()
            if now >= retry_at and not self._flush():
                retry_at = now + AGAIN
            if now >= chore_at:
                chore_at = now + self._every
                self._do_chore()

    def _do_chore(self) -> None:
        try:
            while self._chore() and not self._stopping.is_set():
                pass  # a step is bounded: more may be left
        except (LlmApiError, SQLAlchemyError) as error:
            log.warning("reservations were not judged: %s", error)

    def _flush(self) -> bool:
        """Write what waits, the oldest first; says whether the database took it."""
        for waiting in (self._kept, self._rows):
            while waiting:
                some = [waiting.popleft() for _ in range(min(MANY, len(waiting)))]
                if not self._written(some):
                    waiting.extendleft(reversed(some))
                    return False
        return True

    def _written(self, ends: Sequence[Settle]) -> bool:
        """Say whether rows need not be tried again; one that no try can write goes to the log."""
        try:
            self._write(ends)
        except Passing as error:
            log.warning("%d rows of the ledger wait: %s", len(ends), error)
            return False
        except (LlmApiError, SQLAlchemyError):
            if len(ends) == 1:
                _lost(ends[0])
                return True
            return all([self._written([end]) for end in ends])
        return True


def _lost(end: Settle) -> None:
    row = {**end.row, "at": end.row["at"].isoformat()}
    log.error("a row of the ledger could not be written: %s", orjson.dumps(row).decode())
