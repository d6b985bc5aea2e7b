"""When each key was used last: noted in memory, written by one thread once a minute, never on a request's way."""

import logging
from datetime import datetime

from sqlalchemy import Engine, bindparam, or_, update

from llmapi.core.errors import LlmApiError
from llmapi.core.periodic import Periodic
from llmapi.db.engine import writing
from llmapi.db.tables.identity import keys

EVERY = 60.0  # seconds

log = logging.getLogger(__name__)


class LastUse:
    """Keeps the last use of each key until it is written; what a killed process did not write is lost."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.seen: dict[str, datetime] = {}  # by key's id; whoever finds a key good writes here
        self._periodic = Periodic("key-use", self.write, EVERY, trouble="the last use of keys was not written")

    def start(self) -> None:
        """Begin to write."""
        self._periodic.start()

    def stop(self) -> None:
        """Write a last time and end."""
        self._periodic.stop()
        self.write()

    def write(self) -> None:
        """Write what was seen since the last time; a newer use that another process wrote stays."""
        seen, self.seen = self.seen, {}
        rows = [{"key": id, "at": at} for id, at in sorted(seen.copy().items())]  # sorted: no deadlock among workers
        if not rows:
            return
        older = or_(keys.c.last_used.is_(None), keys.c.last_used < bindparam("at", type_=keys.c.last_used.type))
        at = bindparam("at", type_=keys.c.last_used.type)
        try:
            with writing(self._engine) as connection:
                connection.execute(update(keys).where(keys.c.id == bindparam("key"), older).values(last_used=at), rows)
        except LlmApiError as error:
            log.warning("the last use of %d keys was not written: %s", len(rows), error.message)
