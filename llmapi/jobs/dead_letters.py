"""Jobs that were given up: tried as often as they may be, or their worker was lost each time."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine

from llmapi.core.clock import Wall
from llmapi.core.errors import NotFound
from llmapi.db.engine import writing
from llmapi.jobs import statements
from llmapi.jobs.changes import Changes
from llmapi.jobs.job import Job

STEPS = 20  # of statements.AT_ONCE rows each, in one call of purge_all

NeedRoom = Callable[[Connection, str], Any]


class DeadLetters:
    """A tenant's dead jobs; they are listed by Registry.list(status="dead")."""

    def __init__(self, engine: Engine, changes: Changes, need_room: NeedRoom, now: Wall) -> None:
        self._engine = engine
        self._changes = changes
        self._need_room = need_room
        self._now = now

    def redrive(self, id: str, tenant: str) -> Job:
        """Let a dead job wait again with all its attempts; raises NotFound, Overloaded when too many wait."""
        with self._changes.begin() as change:
            self._need_room(change.connection, tenant)
            revived = change.enter(statements.redrive(id, tenant, self._now()))
        if not revived:
            raise NotFound("There is no such dead letter.")
        return revived[0]

    def purge(self, id: str, tenant: str) -> None:
        """Delete a dead job; raises NotFound."""
        with writing(self._engine) as connection:
            found = connection.execute(statements.purge(tenant, id)).rowcount
        if not found:
            raise NotFound("There is no such dead letter.")

    def purge_all(self, tenant: str) -> int:
        """Delete a tenant's dead jobs in short transactions and return how many; more than 10,000 take more calls."""
        deleted = 0
        for _ in range(STEPS):
            with writing(self._engine) as connection:
                found = connection.execute(statements.purge(tenant)).rowcount
            deleted += found
            if found < statements.AT_ONCE:
                break
        return deleted
