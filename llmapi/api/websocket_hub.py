"""All WebSockets of a process on one thread: a socket that says nothing costs some kilobytes and no thread."""

import asyncio
import os
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from llmapi.api.websocket_line import Bounds, Line, Session
from llmapi.core.errors import LlmApiError, Overloaded

MOST = 4096  # sockets a process holds
MOST_OF_ONE = 1024  # of one tenant
MARGIN = 1.0  # seconds before the end of the grace at which the last ones are closed
Opened = Callable[[Callable[[str], None]], Session]


class Hub:
    """Takes sockets over and serves them until they end; its thread begins with the first one."""

    def __init__(self, bounds: Bounds, *, most: int = MOST, most_of_one: int = MOST_OF_ONE) -> None:
        self._bounds, self._most, self._most_of_one = bounds, most, most_of_one
        self._lock = threading.Lock()
        self._tenants: Counter[str] = Counter()
        self._lines: dict[Line, str] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._last_moment = 0.0
        self.stopping = False

    def adopt(self, connection: socket.socket, opening: bytes, tenant: str, opened: Opened) -> None:
        """Take a socket from the server's hands; `opened` is given the way to send and returns the session.

        raises: Overloaded
        """
        if isinstance(connection, ssl.SSLSocket):
            raise LlmApiError("WebSockets need the TLS to end at the proxy")
        with self._lock:
            if self.stopping or self._tenants.total() >= self._most or self._tenants[tenant] >= self._most_of_one:
                raise Overloaded("There are too many sockets, or the service stops.", retry_after=5.0)
            self._tenants[tenant] += 1
            loop = self._running()
        try:
            ours = taken_over(connection)
        except OSError as error:  # no more files, for one
            self._left(tenant)
            raise Overloaded("This socket cannot be taken over now.", retry_after=5.0) from error
        asyncio.run_coroutine_threadsafe(self._accept(ours, opening, tenant, opened), loop)

    def call(self, work: Callable[..., Any], *arguments: Any) -> None:
        """Do something on the thread of the sockets."""
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(work, *arguments)

    def drain(self, grace: float) -> None:
        """The service stops: close what is quiet now, the rest with its last call or when the grace is over."""
        self.stopping = True
        self._last_moment = time.monotonic() + max(0.0, grace - MARGIN)
        self.call(self._leave)

    def close(self) -> None:
        """Wait until every socket is closed, no longer than the grace lasts."""
        if not self.stopping:
            self.drain(0.0)
        if self._thread is not None:
            self._thread.join(max(0.0, self._last_moment - time.monotonic()) + MARGIN)

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._run, args=(self._loop,), name="sockets", daemon=True)
            self._thread.start()
        return self._loop

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.run_forever()
        loop.run_until_complete(last_tasks())
        loop.close()

    async def _accept(self, connection: socket.socket, opening: bytes, tenant: str, opened: Opened) -> None:
        def line() -> Line:
            session = opened(lambda text: made.send(text))
            made = Line(opening, session, self._bounds, self._lost)
            self._lines[made] = tenant
            return made

        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(line, connection)

    def _lost(self, line: Line) -> None:
        self._left(self._lines.pop(line))

    def _left(self, tenant: str) -> None:
        with self._lock:
            self._tenants[tenant] -= 1
            if not self._tenants[tenant]:
                del self._tenants[tenant]

    def _leave(self) -> None:
        loop = asyncio.get_running_loop()
        if not self._tenants:  # nor is one on its way here
            return loop.stop()
        at_once = time.monotonic() >= self._last_moment
        for line in list(self._lines):
            line.leave(at_once=at_once)
        loop.call_later(0.05, self._leave)


async def last_tasks() -> None:
    """Wait for what is not ours: libraries close their clients on whichever loop runs where these are collected."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        await asyncio.wait(left, timeout=MARGIN)


def taken_over(connection: socket.socket) -> socket.socket:
    """Return the same connection as a socket of our own; the server is left with one that is closed already.

    The server will shut down what it believes to be the connection once its view returns, which must not end ours.
    """
    ours = socket.socket(fileno=os.dup(connection.fileno()))
    dead, end = socket.socketpair()
    os.dup2(dead.fileno(), connection.fileno(), inheritable=False)
    dead.close()
    end.close()
    ours.setblocking(False)
    return ours
