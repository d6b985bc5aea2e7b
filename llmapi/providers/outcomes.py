"""How a provider has been doing lately: its health, without asking it."""

import threading
from collections.abc import Iterator, Mapping
from typing import Any

from llmapi.core.calls import Chunk
from llmapi.core.clock import Monotonic, monotonic
from llmapi.core.errors import CallEnded, LlmApiError, ProviderBroken, ProviderThrottled, ProviderTimeout
from llmapi.core.errors import ProviderUnavailable

DOWN = 3  # failures in a row
KEY_REFUSED = frozenset({401, 403})  # statuses of a key that is wrong


class Outcomes:
    """Remembers the last outcomes of calls to one provider."""

    def __init__(self, clock: Monotonic = monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._asked = False
        self._failures = 0  # in a row
        self._last_error = ""
        self._failed_at = 0.0

    def good(self) -> None:
        """Note an answer."""
        with self._lock:
            self._asked, self._failures = True, 0

    def bad(self, error: LlmApiError) -> None:
        """Note a failure, for as much as it says about the provider and not about the question."""
        if isinstance(error, CallEnded):
            return
        if not tells_of_provider(error):
            self.good()
            return
        with self._lock:
            self._asked = True
            self._failures += 0 if self._failures and isinstance(error, ProviderThrottled) else 1
            self._last_error, self._failed_at = error.code, self._clock()

    def watch(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        """Yield an answer on, noting how it fails."""
        try:
            yield from chunks
        except LlmApiError as error:
            self.bad(error)
            raise

    def health(self) -> Mapping[str, Any]:
        """Return the status, and the last error with its age in seconds if there was one."""
        with self._lock:
            found: dict[str, Any] = {"status": self._status()}
            if self._last_error:
                ago = round(self._clock() - self._failed_at, 1)
                found |= {"last_error": self._last_error, "seconds_ago": ago}
            return found

    def _status(self) -> str:
        if not self._asked:
            return "unknown"
        if self._failures >= DOWN:
            return "down"
        return "degraded" if self._failures else "ok"


def tells_of_provider(error: LlmApiError) -> bool:
    """Say whether an error is the provider's own: it is away, slow, busy, broken, or does not take our key."""
    if isinstance(error, ProviderThrottled | ProviderUnavailable | ProviderTimeout | ProviderBroken):
        return True
    return error.details.get("provider_status") in KEY_REFUSED
