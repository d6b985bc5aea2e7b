"""Whether anything about tenants and keys changed, by one number that every change makes larger.

A process reads it once in a while, one thread for all; what it knows of any number of keys stays good as long as the
number does. So a change anywhere reaches everybody soon, and a good key costs the database nothing.
"""

import threading

from sqlalchemy import Connection, Engine, select, update

from llmapi.core.clock import Monotonic, monotonic
from llmapi.core.errors import LlmApiError, Overloaded
from llmapi.db.engine import reading
from llmapi.db.tables.identity import changes

LONGEST = 5.0  # seconds after which nobody is let in on old knowledge, whatever the database does
REST = 0.25  # seconds between two looks at a database that is away
NEVER = float("-inf")


class Changes:
    """The number, never older than `LONGEST`; older than `fresh` only while another thread looks or the look fails."""

    def __init__(self, engine: Engine, *, fresh: float = 2.0, clock: Monotonic = monotonic) -> None:
        self._engine, self._fresh, self._clock = engine, fresh, clock
        self._seen = (-1, NEVER)  # the number, and when it was asked for
        self._failed = (NEVER, "")
        self._lock = threading.Lock()

    def version(self) -> int:
        """Return the number; raises Overloaded when it cannot be known."""
        seen, at = self._seen
        age = self._clock() - at
        if age < self._fresh:
            return seen
        old_is_good = age < LONGEST - 1.0  # a second for the one who looks
        if not self._lock.acquire(blocking=not old_is_good):
            return seen
        try:
            return self._look()
        finally:
            self._lock.release()

    def forget(self) -> None:
        """Look at once the next time: this process changed something."""
        self._seen = (self._seen[0], NEVER)

    def _look(self) -> int:
        begun = self._clock()
        seen, at = self._seen
        if begun - at < self._fresh:  # another thread looked, while this one waited
            return seen
        if begun - self._failed[0] >= REST:
            try:
                with reading(self._engine) as connection:
                    found: int = connection.execute(select(changes.c.version)).scalar_one()
                self._seen = (found, begun)
                return found
            except LlmApiError as error:
                self._failed = (self._clock(), error.message)
        if self._clock() - at < LONGEST:
            return seen
        raise Overloaded(self._failed[1], retry_after=1.0)


def note_change(connection: Connection) -> None:
    """Make the number larger, in the transaction that changes something."""
    connection.execute(update(changes).values(version=changes.c.version + 1))
