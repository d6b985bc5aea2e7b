"""One WebSocket on the wire: frames in and out, pings, and the reasons for which it is closed.

A closing frame says why: 1000 the client wished it, 1001 the service stops or nothing happened for long, 1003 bytes
instead of text, 1008 too many messages or no answer to a ping, 1009 a message too big.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

GOING_AWAY, NOT_TEXT, POLICY, TOO_BIG = 1001, 1003, 1008, 1009


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a socket may take; spans in seconds, sizes in bytes."""

    message: int = 1_048_576
    unsent: int = 4 * 1_048_576  # waiting for a client that does not read
    messages: int = 100  # a second
    ping: float = 25.0
    idle: float = 600.0  # without a message, a call or a subscription
    farewell: float = 2.0  # for the client's half of the closing


class Session(Protocol):
    """What is said over a socket; called on the loop's thread, so it must be quick."""

    def heard(self, text: str) -> None: ...

    def busy(self) -> bool:
        """Say whether a call or a subscription is under way."""
        ...

    def working(self) -> bool:
        """Say whether a call is under way."""
        ...

    def gone(self) -> None: ...


class Line(asyncio.Protocol):
    """A socket that was accepted; everything happens on the loop's thread, `send` may be called from any.

    opening: the answer to the upgrade
    lost: told once when it is over
    """

    def __init__(self, opening: bytes, session: Session, bounds: Bounds, lost: Callable[["Line"], None]) -> None:
        self._opening, self._session, self._bounds, self._lost = opening, session, bounds, lost
        self._ws = Connection(ConnectionType.SERVER)
        self._loop = asyncio.get_running_loop()
        self._parts: list[str] = []
        self._size = 0
        self._answered = True  # the last ping
        self._spoke = self._loop.time()
        self._second, self._messages = 0, 0
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answer the upgrade."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._transport.write(self._opening)
        self._opening = b""
        self._timer = self._loop.call_later(self._bounds.ping, self._tick)

    def data_received(self, data: bytes) -> None:
        """Take what came apart."""
        if self._ws.state is ConnectionState.CLOSED:
            return
        self._ws.receive_data(data)
        for event in self._ws.events():
            self._happened(event)

    def connection_lost(self, _: Exception | None) -> None:
        """Tell everybody."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._session.gone()
        self._lost(self)

    def send(self, text: str) -> None:
        """Send a message; from any thread. One that cannot be sent any more is dropped."""
        with suppress(RuntimeError):  # the loop has ended, and with it the socket
            self._loop.call_soon_threadsafe(self._say, TextMessage(text))

    def close(self, code: int, reason: str = "") -> None:
        """Say why and hang up; who does not say goodbye in time is cut off."""
        if self._ws.state is ConnectionState.OPEN:
            self._write(CloseConnection(code, reason))
            self._loop.call_later(self._bounds.farewell, self._abort)

    def leave(self, *, at_once: bool) -> None:
        """The service stops: close, if it may be with the last call only."""
        if at_once or not self._session.working():
            self.close(GOING_AWAY, "the service stops")

    def _say(self, event: Event) -> None:
        if self._ws.state is ConnectionState.OPEN:  # nothing is said after a goodbye
            self._write(event)

    def _write(self, event: Event) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._ws.send(event))
            if self._transport.get_write_buffer_size() > self._bounds.unsent:
                self._abort()  # a closing frame would have to wait behind all that

    def _happened(self, event: Event) -> None:
        if isinstance(event, TextMessage | BytesMessage):
            self._message(event)
        elif isinstance(event, Ping):
            self._say(event.response())
        elif isinstance(event, Pong):
            self._answered = True
        elif isinstance(event, CloseConnection):
            if self._ws.state is ConnectionState.REMOTE_CLOSING:
                self._write(event.response())
            elif self._ws.state is ConnectionState.OPEN:  # what came was no frame; the event says what is wrong
                self._write(event)
            if self._transport is not None:
                self._transport.close()

    def _message(self, event: TextMessage | BytesMessage) -> None:
        if self._ws.state is not ConnectionState.OPEN:
            return
        if isinstance(event, BytesMessage):
            return self.close(NOT_TEXT, "send text")
        piece = str(event.data)
        self._size += len(piece.encode())
        if self._size > self._bounds.message:
            return self.close(TOO_BIG, f"a message may have {self._bounds.message} bytes")
        if piece:  # frames without anything could go on for ever
            self._parts.append(piece)
        if event.message_finished:
            text, self._parts, self._size = "".join(self._parts), [], 0
            self._whole(text)

    def _whole(self, text: str) -> None:
        self._spoke = self._loop.time()
        if (second := int(self._spoke)) != self._second:
            self._second, self._messages = second, 0
        self._messages += 1
        if self._messages > self._bounds.messages:
            return self.close(POLICY, f"{self._bounds.messages} messages a second are the most")
        self._session.heard(text)

    def _tick(self) -> None:
        """Ping, and close a line on which nobody answers or nothing happens."""
        silent = self._loop.time() - self._spoke
        if not self._answered:
            return self.close(POLICY, "no answer to a ping")
        if silent >= self._bounds.idle and not self._session.busy():
            return self.close(GOING_AWAY, "nothing happened for long")
        self._answered = False
        self._say(Ping())
        self._timer = self._loop.call_later(self._bounds.ping, self._tick)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
