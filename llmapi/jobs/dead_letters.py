"""Jobs that were given up: tried as often as they may be, or their worker was lost each time."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine

from llmapi.core.clock import Wall
from llmapi.core.errors import NotFound
from llmapi.db.deleting import in_steps
from llmapi.db.engine import writing
from llmapi.jobs import statements
from llmapi.jobs.changes import Changes
from llmapi.jobs.job import Job

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

        def some() -> int:
            with writing(self._engine) as connection:
                return connection.execute(statements.purge(tenant)).rowcount

        return in_steps(some, statements.AT_ONCE)
