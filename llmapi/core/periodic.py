"""A thread that does a thing every so often, from the service's start to its stop."""

import logging
import threading
from collections.abc import Callable

from llmapi.core.errors import LlmApiError

log = logging.getLogger(__name__)
STOPPING = 5.0  # seconds an act under way gets to end


class Periodic:
    """Calls `act` every so many seconds in a thread of its own; start it after the fork, any number of times.

    An act that fails is tried again the next time: a database that is away is a warning, a defect is logged whole and
    does not end the thread.

    name: the thread's, as logs show it
    trouble: what a failure means, for the log
    over: set from `stop` on, for acts that take long
    """

    def __init__(self, name: str, act: Callable[[], object], every: float, *, trouble: str) -> None:
        self._name, self._act, self._every, self._trouble = name, act, every, trouble
        self.over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; the first act comes after the first pause."""
        self.over.clear()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, after the act that may be under way."""
        self.over.set()
        if self._thread is not None:
            self._thread.join(STOPPING)
            self._thread = None

    def once(self) -> None:
        """Act now, in the caller's thread, with failures logged."""
        try:
            self._act()
        except LlmApiError as error:
            log.warning("%s: %s", self._trouble, error.message)
        except Exception:
            log.exception("%s", self._trouble)

    def _run(self) -> None:
        while not self.over.wait(self._every):
            self.once()
