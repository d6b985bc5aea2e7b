"""An answer whose time is over is renewed behind the caller who got the old one: once, and nobody waits for it."""

import logging
import threading
from dataclasses import replace
from typing import Protocol

from llmapi.core.calls import Call, nothing
from llmapi.core.errors import LlmApiError
from llmapi.core.lifetime import Lifetime
from llmapi.core.reply import Handler

MOST = 8  # answers a process renews at once; the others stay stale a little longer
SPAN = 60.0  # seconds one asking may take
REST = 5.0  # seconds until another process may try what this one has begun

log = logging.getLogger(__name__)


class Claims(Protocol):
    """Keeps the other processes from renewing the same (cache/leases.py)."""

    def claimed(self, key: str, seconds: float) -> bool: ...


class Refresher:
    """Ask a call's question anew in a thread of its own, through the whole gateway: it is told and booked as a call."""

    def __init__(self, claims: Claims | None = None, most: int = MOST, span: float = SPAN) -> None:
        self._claims, self._most, self._span = claims, most, span
        self._lock = threading.Lock()
        self._under_way: set[str] = set()
        self._handler: Handler | None = None

    def through(self, handler: Handler) -> Handler:
        """Ask through this handler from now on; returns it."""
        self._handler = handler
        return handler

    def __call__(self, key: str, call: Call) -> None:
        """Renew the answer of a call, unless that is being done."""
        with self._lock:
            if key in self._under_way or len(self._under_way) >= self._most:
                return
            self._under_way.add(key)
        threading.Thread(target=self._renew, args=(key, call), name="cache-refresh", daemon=True).start()

    def under_way(self) -> int:
        """Return how many answers are being renewed."""
        return len(self._under_way)

    def _renew(self, key: str, call: Call) -> None:
        try:
            if self._handler is not None and (self._claims is None or self._claims.claimed(key, REST)):
                self._handler(renewing(call, self._span)).completion()
        except LlmApiError as error:
            log.info("an answer was not renewed: %s", error.code)
        finally:
            with self._lock:
                self._under_way.discard(key)


def renewing(call: Call, span: float) -> Call:
    """Return the call that asks anew, which nobody waits for and no request hears of."""
    return replace(
        call,
        lifetime=Lifetime(span),
        cache=replace(call.cache, mode="refresh"),
        stream=False,
        again=False,
        sending=nothing,
        refused=nothing,
    )
