"""How every vendor's library reaches the network: one pool of connections with a total deadline for each call.

httpx's own pool loses calls once some hundred threads share it, its timeouts are per phase, and some of the libraries
on top ignore them. So both families of httpx get an adapter over urllib3's pool. What fails here is raised as an error
of ours: httpx and google-genai let it pass, openai wraps it, and `failures.classify` finds it in the chain.

A request that was written is never written again, also not when a kept connection turns out to be closed: the other
side may have done the work. urllib3 looks whether the connection was closed before it uses it again.
"""

import http.client
import os
import ssl
import sys
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import urllib3
from urllib3 import exceptions as trouble
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from llmapi.core.errors import CallEnded, LlmApiError, ProviderBroken, ProviderInvalid, ProviderTimeout
from llmapi.core.errors import ProviderHungUp, ProviderUnavailable
from llmapi.core.lifetime import Lifetime
from llmapi.providers.exchange import Exchange, current
from llmapi.providers.sockets import Grip, TimedConnection, TimedTlsConnection, TimedTlsSocket, holder

LARGEST = 16 * 1024 * 1024  # bytes of an answer, after decompression
PIECE = 65_536  # bytes
NETWORK = (trouble.HTTPError, http.client.HTTPException, OSError)


class TimedPool(HTTPConnectionPool):
    """urllib3's pool of connections that keep time."""

    ConnectionCls = TimedConnection


class TimedTlsPool(HTTPSConnectionPool):
    """The same under TLS."""

    ConnectionCls = TimedTlsConnection


class Transport:
    """One pool of connections for every vendor: shared by threads, safe to use on both sides of a fork.

    usual_time: seconds a request may take in all when no call's lifetime is known
    largest: bytes an answer may have
    connections: idle connections kept for one host; more than that many requests may run at once
    connect_time: seconds an address gets to accept
    idle_time: seconds since its last request after which a kept connection is not trusted any more
    tls: how servers are trusted; None: the system's authorities and certifi's
    loading: held by who makes a client, for that loads its vendor's library; one for all transports of a process
    """

    def __init__(
        self,
        *,
        usual_time: float = 60.0,
        largest: int = LARGEST,
        connections: int = 1024,
        connect_time: float = 5.0,
        idle_time: float = 60.0,
        tls: ssl.SSLContext | None = None,
        loading: "threading.Lock | None" = None,
    ) -> None:
        self.usual_time = usual_time
        self.largest = largest
        self._wanted: dict[str, Any] = {"maxsize": connections, "connect_time": connect_time, "idle_time": idle_time}
        self._tls = tls
        self.loading = loading or threading.Lock()
        self._process = os.getpid()
        self._pools: dict[tuple[str, str, int | None], HTTPConnectionPool] = {}  # by scheme, host, port

    def adapter(self) -> Any:
        """Return a transport for an httpx.Client or an httpx2.Client: no subclass of theirs, but all they ask for."""
        return Adapter(self)

    def close(self) -> None:
        """Close what is idle; what is in use closes when it is done."""
        self._pools = {}

    def send(self, method: str, url: Any, headers: dict[str, str], body: bytes) -> "Answer":
        """Send one request and return once the answer's headers are here; `url` is one of httpx's."""
        exchange = current.get() or Exchange(Lifetime(self.usual_time))
        exchange.asked = True
        grip = Grip(exchange.lifetime)
        token = holder.set(grip)
        try:
            left = exchange.lifetime.remaining()
            if left <= 0.0:
                raise TimeoutError("the time of the call is over")
            pool = self._pool(url.scheme, url.host, url.port)
            path = url.raw_path.decode("ascii")
            response = pool.urlopen(
                method, path, body, headers, retries=False, redirect=False, timeout=left, preload_content=False
            )
        except NETWORK as error:
            grip.release()
            raise failure(error, exchange.lifetime, answered=False) from error
        except BaseException:
            grip.release()
            raise
        finally:
            holder.reset(token)
        return Answer(response, grip, exchange, self.largest)

    def _pool(self, scheme: str, host: str, port: int | None) -> HTTPConnectionPool:
        if self._process != os.getpid():  # a fork: the parent's connections stay the parent's
            self._process, self._pools = os.getpid(), {}
        origin = (scheme, host, port)
        return self._pools.get(origin) or self._pools.setdefault(origin, self._open(*origin))

    def _open(self, scheme: str, host: str, port: int | None) -> HTTPConnectionPool:
        if scheme == "http":
            return TimedPool(host, port, **self._wanted)
        if self._tls is None:
            self._tls = trusting()
        self._tls.sslsocket_class = TimedTlsSocket
        return TimedTlsPool(host, port, ssl_context=self._tls, **self._wanted)


def trusting() -> ssl.SSLContext:
    """Return a context that trusts the system's authorities and certifi's: small images often lack the former."""
    import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def failure(error: BaseException, lifetime: Lifetime, *, answered: bool) -> LlmApiError:
    """Return what a network error means; `answered`: the answer had begun."""
    if lifetime.ended:
        return CallEnded("The call was ended while the provider was asked.")
    if isinstance(error, trouble.ReadTimeoutError | TimeoutError) or lifetime.remaining() <= 0.0:
        return ProviderTimeout("The provider did not answer within the time it had.")
    if isinstance(error, trouble.SSLError):
        return ProviderUnavailable("No trusted connection to the provider could be made.")
    if isinstance(error, trouble.NewConnectionError | trouble.ConnectTimeoutError):
        return ProviderUnavailable("The provider cannot be reached.")
    if answered:
        return ProviderBroken("The provider's answer was cut.")
    return ProviderHungUp("The provider closed the connection without an answer.")


class Answer:
    """An answer being read: its body as it comes, at most `largest` bytes of it."""

    def __init__(self, response: urllib3.BaseHTTPResponse, grip: Grip, exchange: Exchange, largest: int) -> None:
        self.status = response.status
        self.headers = [(name, value) for name, value in response.headers.items() if name.lower() not in DECODED]
        self._response = response
        self._grip = grip
        self._exchange = exchange
        self._largest = largest

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        try:
            while piece := self._response.read1(PIECE, decode_content=True):
                size += len(piece)
                if size > self._largest:
                    raise ProviderInvalid("The provider's answer is too large.")
                if size <= self._exchange.keep:
                    self._exchange.body += piece
                yield piece
        except NETWORK as error:
            raise failure(error, self._exchange.lifetime, answered=True) from error
        finally:
            self.close()

    def close(self) -> None:
        """Leave; a connection whose answer was not read to its end is closed, for nobody can use it again."""
        self._response.close()
        self._grip.release()


DECODED = frozenset({"content-encoding", "content-length", "transfer-encoding"})  # no longer true of what we hand on


class Adapter:
    """What httpx.Client and httpx2.Client ask of a transport. Closing it does nothing: a client that is collected
    must not close the pool that others use.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._bodies: dict[str, type[Any]] = {}

    def handle_request(self, request: Any) -> Any:
        """Answer a request of either family in the same family."""
        family = type(request).__module__.partition(".")[0]
        headers = dict(request.headers.items())
        headers["accept-encoding"] = "identity"  # a few kB of JSON are not worth unpacking
        answer = self._transport.send(request.method, request.url, headers, request.read())
        body = self._body(family)(answer)
        return sys.modules[family].Response(answer.status, headers=answer.headers, stream=body)

    def close(self) -> None:
        """Do nothing."""

    def __enter__(self) -> "Adapter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.close()

    def _body(self, family: str) -> type[Any]:
        if family not in self._bodies:
            stream = sys.modules[family].SyncByteStream
            self._bodies[family] = type("Body", (Body, stream), {})
        return self._bodies[family]


class Body:
    """An answer's body as httpx reads it; made a SyncByteStream of its family by the adapter."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._answer)

    def close(self) -> None:
        self._answer.close()
