"""When each key was used last: noted in memory, written by one thread once a minute, never on a request's way."""

import logging
import threading
from datetime import datetime

from sqlalchemy import Engine, bindparam, or_, update

from llmapi.core.errors import LlmApiError
from llmapi.db.engine import writing
from llmapi.db.tables.identity import keys

EVERY = 60.0  # seconds

log = logging.getLogger(__name__)


class LastUse:
    """Keeps the last use of each key until it is written; what a killed process did not write is lost."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.seen: dict[str, datetime] = {}  # by key's id; whoever finds a key good writes here
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to write."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="key-use", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write a last time and end."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5.0)
            self._thread = None

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

    def _run(self) -> None:
        while not self._stop.wait(EVERY):
            self.write()
        self.write()
