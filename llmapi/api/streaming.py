"""A streamed answer as server-sent events that keeps its promises while the model is silent.

The model is read on a thread of its own; the request's thread writes what came, a comment when nothing came for a
while, and looks once a second whether the client is still there: if not, the call's life is ended and with it the
provider's connection, unless the caller wanted it finished. Each event is recorded, for clients that come back.
"""

import queue
import select
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextvars import copy_context
from typing import Any, Generic, Protocol, TypeVar

import orjson
import structlog

from llmapi.core.errors import LlmApiError
from llmapi.core.lifetime import Lifetime
from llmapi.gateway.recording import Recording
from llmapi.tasks.runner import StreamEvent

GLANCE = 0.5  # seconds between two looks at the client
PING = b": ping\n\n"
END = b"\n\n"  # of an event; JSON has no line breaks of its own

Show = Callable[[LlmApiError], dict[str, Any]]
Said = TypeVar("Said", StreamEvent, bytes)

log = structlog.get_logger(__name__)


class Voice(Protocol):
    """Says a stream's events in a door's words: one or several server-sent events for each."""

    def __call__(self, event: StreamEvent) -> bytes: ...

    def failed(self, error: LlmApiError) -> bytes:
        """Return the last word of a stream that broke; the same when asked again."""
        ...


class Numbered:
    """Says events as the task doors do: numbered from 0."""

    def __init__(self, show: Show) -> None:
        self._show, self._number = show, 0

    def __call__(self, event: StreamEvent) -> bytes:
        self._number += 1
        return framed(self._number - 1, event, self._show)

    def failed(self, error: LlmApiError) -> bytes:
        return framed(self._number, error, self._show)


class Pump(Generic[Said]):
    """Reads a stream on its own thread into a queue; the end of the stream is None."""

    def __init__(self, start: Callable[[], Iterator[Said]], lifetime: Lifetime) -> None:
        self._start: Callable[[], Iterator[Said]] = start
        self._lifetime = lifetime
        self._queue: queue.SimpleQueue[Said | LlmApiError | None] = queue.SimpleQueue()
        threading.Thread(target=copy_context().run, args=(self._run,), name="stream", daemon=True).start()

    def _run(self) -> None:
        for said in safely(self._start):
            self._queue.put(said)
        self._queue.put(None)

    def next(self, seconds: float) -> Said | LlmApiError | None:
        """Return what came next; raises queue.Empty after `seconds` of silence."""
        return self._queue.get(timeout=seconds)

    def stop(self) -> None:
        """Nobody reads any more: end the call."""
        self._lifetime.end()


def safely(start: Callable[[], Iterator[Said]]) -> Iterator[Said | LlmApiError]:
    """Yield what a stream says; its failure is the last thing it says. For the end of a thread: nobody above it could
    tell the client."""
    try:
        yield from start()
    except LlmApiError as error:
        yield error
    except Exception as defect:
        log.error("defect", exc_info=defect)
        yield LlmApiError("this is a defect of the service; its log has the details")


def first_event(pump: Pump[Said], connection: socket.socket | None, patience: float) -> Said | None:
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


def recorded(events: Iterator[StreamEvent], recording: Recording, voice: Voice) -> Iterator[bytes]:
    """Yield a task's events as they are sent; each is recorded before."""
    try:
        for event in events:
            said = voice(event)
            keep(recording, said)
            yield said
        recording.end("done")
    except LlmApiError as error:
        keep(recording, voice.failed(error))
        recording.end("failed")
        raise
    finally:
        recording.end("cut")


def keep(recording: Recording, said: bytes) -> None:
    """Record events one by one, as who reads on counts them."""
    for event in said.split(END)[:-1]:
        recording.append(event + END)


def written(
    pump: Pump[bytes],
    first: bytes | None,
    connection: socket.socket | None,
    *,
    heartbeat: float,
    voice: Voice,
    leave: Callable[[], None],
) -> Iterator[bytes]:
    """Yield a stream's bytes: events, and comments in its silences; `leave` is called at the end, whoever ends it."""
    try:
        yield PING
        for said in heard(pump, first, connection, heartbeat):
            yield PING if said is None else voice.failed(said) if isinstance(said, LlmApiError) else said
    finally:
        leave()


def resumed(
    kept: Generator[list[bytes], None, None],
    number: int,
    connection: socket.socket | None,
    *,
    heartbeat: float,
    show: Show,
) -> Iterator[bytes]:
    """Yield a recorded stream's bytes from an event on, as it was or would have been sent, while the client is there.

    kept: events as they come, nothing every now and then
    """
    yield PING
    spoke = time.monotonic()
    try:
        for frames in kept:
            number += len(frames)
            if not frames and gone(connection):
                return
            if frames or time.monotonic() - spoke >= heartbeat:
                spoke = time.monotonic()
                yield b"".join(frames) or PING
    except LlmApiError as error:
        yield framed(number, error, show)
    finally:
        kept.close()


def heard(
    pump: Pump[Said], first: Said | None, connection: socket.socket | None, heartbeat: float
) -> Iterator[Said | LlmApiError | None]:
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


def framed(number: int, event: StreamEvent | LlmApiError, show: Show) -> bytes:
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
