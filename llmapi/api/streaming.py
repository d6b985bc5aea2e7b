"""A streamed answer as server-sent events that keeps its promises while the model is silent.

The model is read on a thread of its own; the request's thread writes what came, a comment when nothing came for a
while, and looks once a second whether the client is still there: if not, the call's life is ended and with it the
provider's connection.
"""

import queue
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any

import orjson
import structlog

from llmapi.core.errors import LlmApiError
from llmapi.core.lifetime import Lifetime
from llmapi.tasks.runner import StreamEvent

GLANCE = 0.5  # seconds between two looks at the client
PING = b": ping\n\n"

log = structlog.get_logger(__name__)


class Pump:
    """Reads a stream of events on its own thread into a queue; the end of the stream is None."""

    def __init__(self, start: Callable[[], Iterator[StreamEvent]], lifetime: Lifetime) -> None:
        self._start, self._lifetime = start, lifetime
        self._queue: queue.SimpleQueue[StreamEvent | LlmApiError | None] = queue.SimpleQueue()
        threading.Thread(target=copy_context().run, args=(self._run,), name="stream", daemon=True).start()

    def _run(self) -> None:
        try:
            for event in self._start():
                self._queue.put(event)
        except LlmApiError as error:
            self._queue.put(error)
        except Exception as defect:  # the thread's end: nobody above could tell the client
            log.error("defect", exc_info=defect)
            self._queue.put(LlmApiError("this is a defect of the service; its log has the details"))
        self._queue.put(None)

    def next(self, seconds: float) -> StreamEvent | LlmApiError | None:
        """Return what came next; raises queue.Empty after `seconds` of silence."""
        return self._queue.get(timeout=seconds)

    def stop(self) -> None:
        """Nobody reads any more: end the call."""
        self._lifetime.end()


def first_event(pump: Pump, connection: socket.socket | None, patience: float) -> StreamEvent | None:
    """Return the first event, or None when none came in `patience` seconds or the client left.

    raises: what failed before the first event, which thereby becomes an answer with its own status
    """
    patient_until = time.monotonic() + patience
    while time.monotonic() < patient_until and not gone(connection):
        try:
            event = pump.next(GLANCE)
        except queue.Empty:
            continue
        if isinstance(event, LlmApiError):
            raise event
        return event
    return None


def written(
    pump: Pump,
    first: StreamEvent | None,
    connection: socket.socket | None,
    *,
    heartbeat: float,
    show: Callable[[LlmApiError], dict[str, Any]],
) -> Iterator[bytes]:
    """Yield a stream's bytes: events numbered from 0, comments in its silences; leaving it ends the call."""
    try:
        yield PING
        number = 0
        for event in heard(pump, first, connection, heartbeat):
            yield PING if event is None else framed(number, event, show)
            number += event is not None
    finally:
        pump.stop()


def heard(
    pump: Pump, first: StreamEvent | None, connection: socket.socket | None, heartbeat: float
) -> Iterator[StreamEvent | LlmApiError | None]:
    """Yield the events as they come, and None after each `heartbeat` seconds of silence; ends when the client left."""
    if first is not None:
        yield first
    silent_since = time.monotonic()
    while True:
        try:
            event = pump.next(GLANCE)
        except queue.Empty:
            if gone(connection):
                return
            if time.monotonic() - silent_since < heartbeat:
                continue
            yield None
        else:
            if event is None:
                return
            yield event
        silent_since = time.monotonic()


def framed(number: int, event: StreamEvent | LlmApiError, show: Callable[[LlmApiError], dict[str, Any]]) -> bytes:
    """Return one event on the wire."""
    kind, data = ("error", show(event)) if isinstance(event, LlmApiError) else (event.kind, event.data)
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, kind.encode(), orjson.dumps(data))


def gone(connection: socket.socket | None) -> bool:
    """Say whether the client has hung up: its socket is readable and has nothing more to say."""
    if connection is None:
        return False
    try:
        poll = select.poll()
        poll.register(connection, select.POLLIN | select.POLLHUP)
        if not poll.poll(0):
            return False
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except (OSError, ValueError):
        return True
