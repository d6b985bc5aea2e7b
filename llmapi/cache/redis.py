"""A Redis or Valkey server that may be away: who asks it waits a few hundredths of a second at most, and mostly not.

The first failure opens the breaker; from then on nobody asks until a thread of ours has found the server back. So at
most those pay who were asking at that moment, each once.
"""

import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from llmapi.core.clock import Monotonic, monotonic
from llmapi.core.errors import BadSetting

TIMEOUT: Final = 0.04  # seconds, to connect and for each answer
CONNECTIONS: Final = 16  # more only wait for each other: one interpreter works off their answers
RESTS: Final = (0.05, 0.1, 0.25, 0.5, 1.0)  # seconds between probes, the last for ever

HICCUP: Final = 0.1  # seconds after its loss in which a server is likely to have been only busy
SOON: Final = 0.015  # seconds that are waited for it then

T = TypeVar("T")


class Away(Exception):
    """The server did not do it: it is away, slow, or refused."""


class RedisServer:
    """Connections to one server, and whether it can be asked. Safe for threads, and for a fork before start()."""

    def __init__(self, url: str, *, timeout: float = TIMEOUT, clock: Monotonic = monotonic) -> None:
        self._url, self._timeout, self._clock = url, timeout, clock
        try:
            self._client = self._connected()
        except ValueError as error:
            raise BadSetting(f"cache_url: the address of Redis cannot be read: {error}") from None
        self._slots = threading.BoundedSemaphore(CONNECTIONS)
        self._lock = threading.Lock()
        self._lost = threading.Event()
        self._closed = threading.Event()
        self._prober: threading.Thread | None = None
        self._back = threading.Event()
        self._since = 0.0  # when it was lost
        self._again = 0.0  # when one may try without a prober
        self._failures = 0
        self._last_error = ""

    def start(self) -> None:
        """Begin to look for the server whenever it is lost."""
        self._closed.clear()
        self._prober = threading.Thread(target=self._probe, name="cache-probe", daemon=True)
        self._prober.start()

    def close(self) -> None:
        """Stop looking, and close the connections."""
        self._closed.set()
        self._lost.set()
        if self._prober is not None:
            self._prober.join(1.0)
            self._prober = None
        self._client.close()

    @property
    def up(self) -> bool:
        """Say whether it can be asked now."""
        if not self._lost.is_set():
            return True
        return self._prober is None and self._clock() >= self._again

    def up_soon(self) -> bool:
        """Say whether it can be asked now; if it was lost just now, wait a moment for the prober to find it."""
        if self.up:
            return True
        recent = self._prober is not None and self._clock() - self._since < HICCUP
        return recent and self._back.wait(SOON)

    def ask(self, work: Callable[[Any], T]) -> T:
        """Return what `work` gets with a client; raises Away."""
        if not self.up:
            raise Away("it is away")
        if not self._slots.acquire(timeout=self._timeout):
            raise Away("every connection is in use")
        try:
            if not self.up:
                raise Away("it went away meanwhile")
            found = work(self._client)
        except ResponseError as error:  # it is there, but does not do this: out of memory, read only
            self._last_error = type(error).__name__
            raise Away("it refused") from error
        except (RedisError, OSError) as error:
            self._lose(error)
            raise Away("it does not answer") from error
        finally:
            self._slots.release()
        if self._lost.is_set() and self._prober is None:
            self._lost.clear()  # nobody else would notice that it is back
        return found

    def health(self) -> dict[str, Any]:
        """Return how it does, from what is known."""
        told: dict[str, Any] = {"status": "down" if self._lost.is_set() else "ok", "failures": self._failures}
        return told | ({"last_error": self._last_error} if self._last_error else {})

    def _connected(self) -> Any:
        return redis.Redis.from_url(
            self._url,
            socket_connect_timeout=self._timeout,
            socket_timeout=self._timeout,
            retry=Retry(NoBackoff(), 0),
            max_connections=CONNECTIONS + 1,
            protocol=2,
            driver_info=None,  # else each new connection would cost two round trips more
        )

    def _lose(self, error: Exception) -> None:
        with self._lock:
            self._failures += 1
            self._last_error = type(error).__name__
            self._again = self._clock() + RESTS[-1]
            if not self._lost.is_set():
                self._since = self._clock()
            self._back.clear()
        self._lost.set()

    def _probe(self) -> None:
        """Wait until it is lost, then ask until it answers; the thread of start()."""
        while self._lost.wait() and not self._closed.is_set():
            turn = 0
            while not self._there():
                if self._closed.wait(RESTS[min(turn, len(RESTS) - 1)]):
                    return
                turn += 1
            self._lost.clear()
            self._back.set()
            if self._closed.is_set():
                return

    def _there(self) -> bool:
        client = self._connected()
        try:
            return bool(client.ping())
        except (RedisError, OSError):
            return False
        finally:
            client.close()
