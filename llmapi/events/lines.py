"""Writes log lines a moment later, many at once.

A write hands the interpreter to another thread, and getting it back under load took longer than all of a cached answer:
with sixteen clients every third sample of the process stood there. What still waits at a `kill -9` is lost, at most
`delay` seconds of it; an orderly end, and any line above `info`, writes everything at once.
"""

import atexit
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import BinaryIO


class LineWriter:
    """Writes whole lines, given without their ends, in the order they came.

    delay: seconds a line may wait; 0: every line is written at once
    """

    def __init__(self, out: BinaryIO, delay: float = 0.0) -> None:
        self._out, self._delay = out, delay
        self._lines: deque[bytes] = deque()
        self._thread: threading.Thread | None = None
        self._after_fork()
        own = weakref.ref(self)
        atexit.register(_call, own, LineWriter.flush)
        os.register_at_fork(
            before=partial(_call, own, LineWriter.flush), after_in_child=partial(_call, own, LineWriter._after_fork)
        )

    def soon(self, line: bytes) -> None:
        """Write a line soon."""
        self._lines.append(line)
        if not self._delay:
            self.flush()
        elif not self._some.is_set():
            self._wake()

    def now(self, line: bytes) -> None:
        """Write a line, and all that waited, now."""
        self._lines.append(line)
        self.flush()

    def flush(self) -> None:
        """Write what waits. A full disk, or a reader that left, costs these lines and never what they tell of."""
        with self._writing, suppress(OSError):
            waiting = [self._lines.popleft() for _ in range(len(self._lines))]
            if waiting:
                self._out.write(b"\n".join(waiting) + b"\n")
                self._out.flush()

    def _wake(self) -> None:
        self._some.set()
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_later, name="log", daemon=True)
                self._thread.start()

    def _write_later(self) -> None:
        while self._some.wait():
            time.sleep(self._delay)
            self._some.clear()  # before the writing: a line that comes meanwhile wakes it again
            self.flush()

    def _after_fork(self) -> None:
        """Begin anew: the thread stayed with the parent, and nobody holds these locks here."""
        self._writing, self._starting = threading.Lock(), threading.Lock()
        self._some = threading.Event()
        self._thread = None


def _call(writer: "weakref.ref[LineWriter]", method: Callable[[LineWriter], None]) -> None:
    """Call a method if the writer still lives: what is registered for forks can never be taken back."""
    if (alive := writer()) is not None:
        method(alive)


class NamedWriter:
    """A writer as structlog calls it: a method for each level, under a logger's name."""

    def __init__(self, writer: LineWriter, name: str | None = None) -> None:
        self.name = name
        self.debug = self.info = self.msg = self.log = writer.soon
        self.warning = self.warn = self.error = self.err = writer.now
        self.critical = self.fatal = self.exception = self.failure = writer.now
