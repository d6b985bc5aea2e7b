"""Sockets that keep a call's time: each operation gets what is left of it, and an early end wakes whoever waits.

A timeout per operation is no total: a peer that drips a byte a second passes any of them. So the time left is worked
out anew before each single read, below http.client and TLS, where headers and bodies are read alike.
"""

import socket
import ssl
import threading
import time
from contextvars import ContextVar
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NameResolutionError, NewConnectionError

from llmapi.core.lifetime import Lifetime


class Grip:
    """One request's hold on the socket that serves it, so that the end of its call can cut it, and no other."""

    def __init__(self, lifetime: Lifetime) -> None:
        self.lifetime = lifetime
        self._socket: TimedSocket | None = None
        self._forget = lifetime.on_end(self._cut)

    def take(self, sock: "TimedSocket") -> None:
        """Make this socket work for this request from now on."""
        sock.serve(self)
        self._socket = sock
        if self.lifetime.ended:  # it ended before `_socket` was set
            self._cut()

    def release(self) -> None:
        """Let go: the end of the call no longer concerns the socket."""
        self._forget()
        self._socket = None

    def _cut(self) -> None:
        if (sock := self._socket) is not None:
            sock.cut(self)


holder: ContextVar[Grip | None] = ContextVar("holder", default=None)  # of the request being sent by this thread


class TimedSocket(socket.socket):
    """A socket whose reads and writes end with the call it serves."""

    _gate: threading.Lock  # keeps `cut` from meeting a file descriptor that somebody else already has
    _grip: Grip | None

    def __new__(cls, *args: Any, **kwargs: Any) -> "TimedSocket":
        made = super().__new__(cls, *args, **kwargs)  # here, for ssl makes its sockets without calling our __init__
        made._gate = threading.Lock()
        made._grip = None
        return made

    def serve(self, grip: Grip) -> None:
        with self._gate:
            self._grip = grip

    def cut(self, grip: Grip) -> None:
        """Wake the thread that waits on this socket, if it still serves that request."""
        with self._gate:
            if self._grip is grip and self.fileno() >= 0:
                try:
                    socket.socket.shutdown(self, socket.SHUT_RDWR)  # ssl's own would drop the TLS state under a reader
                except OSError:
                    pass  # the peer was quicker

    def close(self) -> None:
        with self._gate:
            super().close()

    def keep_time(self, limit: float | None = None) -> None:
        """Give the next operation what is left of the call; raises TimeoutError when nothing is."""
        if (grip := self._grip) is None:
            return
        left = grip.lifetime.remaining()
        if left <= 0.0:
            raise TimeoutError("the time of the call is over")
        self.settimeout(left if limit is None else min(left, limit))

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.keep_time()
        count = super().recv_into(*args, **kwargs)
        if count == 0 and (grip := self._grip) is not None and grip.lifetime.ended:
            raise TimeoutError("the call was ended")  # our own cut must not look like the end of the answer
        return count

    def send(self, *args: Any) -> int:
        self.keep_time()
        return super().send(*args)

    def sendall(self, *args: Any) -> None:
        self.keep_time()
        super().sendall(*args)


class TimedTlsSocket(TimedSocket, ssl.SSLSocket):
    """The same under TLS. ssl makes it out of a TimedSocket whose descriptor it takes over."""

    def do_handshake(self, block: bool = False) -> None:
        if (grip := holder.get()) is not None:
            grip.take(self)
            self.keep_time()  # of the whole handshake: OpenSSL's wrapper counts it as one operation
        super().do_handshake(block)


def connected(host: str, port: int, options: Any, connect_time: float) -> TimedSocket:
    """Return a socket connected to the first address that accepts within `connect_time`; raises OSError.

    Resolving a name cannot be given a time limit: the system's resolver has its own.
    """
    failure: OSError = OSError("the name has no address")
    grip = holder.get()
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = TimedSocket(family, kind, protocol)
        try:
            if grip is not None:
                grip.take(sock)
            for option in options or ():
                sock.setsockopt(*option)
            sock.keep_time(connect_time)
            sock.connect(address)
            return sock
        except OSError as error:
            sock.close()
            failure = error
    raise failure


class TimedConnection(HTTPConnection):
    """urllib3's connection over sockets that keep time.

    connect_time: seconds an address gets to accept; who takes longer is not there
    idle_time: seconds since its last request after which it is not trusted any more, for routers forget in silence
    """

    def __init__(self, *args: Any, connect_time: float, idle_time: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connect_time = connect_time
        self._idle_time = idle_time
        self._asked_at = 0.0

    def _new_conn(self) -> socket.socket:
        try:
            return connected(self._dns_host.strip("[]"), self.port, self.socket_options, self._connect_time)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except OSError as error:
            raise NewConnectionError(self, "no connection") from error

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._asked_at = time.monotonic()
        grip, sock = holder.get(), self.sock
        if grip is not None and isinstance(sock, TimedSocket):
            grip.take(sock)
        super().request(*args, **kwargs)

    @property
    def is_connected(self) -> bool:
        """Asked by urllib3 before a kept connection is used again."""
        return time.monotonic() - self._asked_at < self._idle_time and super().is_connected


class TimedTlsConnection(TimedConnection, HTTPSConnection):
    """The same under TLS."""
