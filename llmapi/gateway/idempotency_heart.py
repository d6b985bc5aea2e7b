"""The one thread of a process that extends the leases of all keys it holds, and now and then deletes old rows."""

import logging
import threading
from collections.abc import Callable

from llmapi.core.errors import LlmApiError

PURGE_EVERY = 60.0  # seconds

log = logging.getLogger(__name__)


class Heart:
    """Beats `every` so many seconds between `start` and `stop`; a database that is away is tried again."""

    def __init__(self, beat: Callable[[], None], purge: Callable[[], int], *, every: float) -> None:
        self._beat, self._purge, self._every = beat, purge, every
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="idempotency", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, after the beat that may be under way."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5.0)
            self._thread = None

    def _run(self) -> None:
        since = 0.0
        while not self._stop.wait(self._every):
            since += self._every
            try:
                self._beat()
                if since >= PURGE_EVERY:
                    since = 0.0
                    self._purge()
            except LlmApiError as error:
                log.warning("the leases of idempotency keys were not extended: %s", error.message)
