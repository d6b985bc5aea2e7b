"""How long a call may live: one total deadline, and a way to end it sooner from another thread."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from llmapi.core.clock import Monotonic, monotonic


class Lifetime:
    """A deadline on the monotonic clock plus an early end; who holds a socket for the call asks to be told.

    The end may come from another thread (the client left) while the call's own thread is blocked in a read, so
    listeners must be quick and must not raise: closing a socket is what they are for.
    """

    def __init__(self, seconds: float, clock: Monotonic = monotonic) -> None:
        self._clock = clock
        self.deadline = clock() + seconds
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self.ended = False

    def remaining(self) -> float:
        """Return the seconds left, never below 0.0; 0.0 once it was ended."""
        return 0.0 if self.ended else max(0.0, self.deadline - self._clock())

    def twin(self) -> "Lifetime":
        """Return another life with the same deadline, which ends early on its own account."""
        other = Lifetime(0.0, self._clock)
        other.deadline = self.deadline
        return other

    @contextmanager
    def part(self, seconds: float) -> "Iterator[Lifetime]":
        """Give a piece of the work a life of its own, of so many seconds at most, which ends with this one."""
        life = Lifetime(min(seconds, self.remaining()), self._clock)
        forget = self.on_end(life.end)
        try:
            yield life
        finally:
            forget()

    def end(self) -> None:
        """End it now: each listener is told once."""
        with self._lock:
            if self.ended:
                return
            self.ended = True
            listeners, self._listeners = self._listeners, []
        for tell in listeners:
            tell()

    def on_end(self, tell: Callable[[], None]) -> Callable[[], None]:
        """Call `tell` when the life is ended early (at once if it already was); returns a function that forgets it."""
        with self._lock:
            if not self.ended:
                self._listeners.append(tell)
                return lambda: self._forget(tell)
        tell()
        return lambda: None

    def _forget(self, tell: Callable[[], None]) -> None:
        with self._lock:
            if tell in self._listeners:
                self._listeners.remove(tell)
