"""A vendor's API on a loopback socket: it does what the test scripted and keeps what it was asked."""

import contextlib
import json
import select
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.fakes.behaviours import Answer, Close, Drip, Hang, Raw, Reset, Status, StreamError

LOOK = 0.02  # seconds between two looks at whether the other side has left


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    path: str
    headers: dict[str, str]  # names in lower case
    body: Any  # parsed JSON, or None


class Gone(Exception):
    """The other side closed its connection, or the fake is being stopped."""


class Upstream:
    """A server that speaks nobody's format yet; tests/fakes/gemini.py and openai.py do.

    script: what to do with the next requests, first one first; when it is empty, `default`
    behaviour: what to do with a request, decided by a function of it; used while the script is empty
    """

    def __init__(self, default: Any = "Fine.", *, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.script: list[Any] = []
        self.behaviour: Callable[[Asked], Any] | None = None
        self.default = default
        self.asked: list[Asked] = []
        self.aborted = threading.Event()  # a client left before its answer was over
        self.faults: list[Any] = []  # of the fake itself
        self.most_in_flight = 0
        self.connections = 0
        self.stopping = threading.Event()
        self._lock = threading.Condition()
        self._in_flight = 0
        self._server = Server(self, port, tls)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_port}"

    def start(self) -> "Upstream":
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop within two seconds, whatever is being asked."""
        self.stopping.set()
        self._server.shutdown()
        self._thread.join(2)
        self._server.close_all(2.0)
        self._server.server_close()
        assert self.faults == []

    def __enter__(self) -> "Upstream":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def bodies(self) -> list[Any]:
        return [each.body for each in self.asked]

    def wait_asked(self, count: int = 1, seconds: float = 20.0) -> None:
        """Wait until that many requests have come; fails when they do not."""
        with self._lock:
            assert self._lock.wait_for(lambda: len(self.asked) >= count, seconds), "nobody asked"

    def drop_idle(self) -> None:
        """Close every connection, as a server does with those it thinks idle."""
        self._server.close_all(2.0)

    @contextlib.contextmanager
    def counted(self, asked: Asked) -> Iterator[Any]:
        """Note the request and give out what to do with it."""
        with self._lock:
            self.asked.append(asked)
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
            self._lock.notify_all()
            wanted = self.script.pop(0) if self.script else None
        try:
            if wanted is None:
                wanted = self.behaviour(asked) if self.behaviour else self.default
            yield wanted
        finally:
            with self._lock:
                self._in_flight -= 1

    # What a format says: bodies, events and errors in the vendor's words.

    def streamed(self, asked: Asked) -> bool:
        """Say whether a stream is asked for."""
        return False

    def whole(self, asked: Asked, wanted: Any) -> Any:
        """Return the JSON of a plain answer."""
        return {"text": getattr(wanted, "text", "")}

    def events(self, asked: Asked, wanted: Any) -> list[Any]:
        """Return the JSON values (or str) of a stream's events."""
        return [self.whole(asked, wanted)]

    def framed(self, event: Any) -> str:
        """Return one event of a stream as server-sent events write it."""
        return f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n"

    def wrong(self, wanted: Status) -> Any:
        """Return the JSON of an error."""
        return {"error": {"code": wanted.code, "message": wanted.message}}


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, upstream: Upstream, port: int, tls: ssl.SSLContext | None) -> None:
        self.upstream = upstream
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(("127.0.0.1", port), Handler)

    def get_request(self) -> tuple[Any, Any]:
        request, address = super().get_request()
        if self._tls is not None:  # the handshake comes with the first read, in the request's own thread
            request = self._tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        return request, address

    def process_request(self, request: Any, client_address: Any) -> None:
        self.upstream.connections += 1
        with self._changed:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._changed:
            self._open.discard(request)
            self._changed.notify_all()

    def close_all(self, patience: float) -> None:
        with self._changed:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._open, patience)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep what is the fake's own fault; clients that leave are what many tests are about."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            self.upstream.faults.append(error)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        raw = self.rfile.read(length)
        if len(raw) < length:  # cut while it was asking
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.path, headers, json.loads(raw) if raw else None)
        try:
            with self.server.upstream.counted(asked) as wanted:
                self._play(asked, wanted)
        except (Gone, ConnectionError):
            self.close_connection = True
            self.server.upstream.aborted.set()

    do_GET = do_POST

    def _play(self, asked: Asked, wanted: Any) -> None:
        upstream = self.server.upstream
        if isinstance(wanted, str):
            wanted = Answer(wanted)
        if isinstance(wanted, int):
            wanted = Status(wanted)
        if isinstance(wanted, Reset | Close | Hang | Drip):
            self._misbehave(wanted)
        elif isinstance(wanted, Status):
            self._send(json.dumps(upstream.wrong(wanted)).encode(), wanted.code, headers=dict(wanted.headers))
        elif isinstance(wanted, Raw):
            self._send(wanted.body, wanted.status, wanted.kind, dict(wanted.headers))
        elif upstream.streamed(asked):
            self._stream(upstream.events(asked, wanted), wanted)
        else:
            self._plain(json.dumps(upstream.whole(asked, wanted)).encode(), wanted)

    def _plain(self, body: bytes, wanted: Any) -> None:
        self._wait(getattr(wanted, "delay", 0.0))
        cut = getattr(wanted, "cut_after", None)
        self._send(body, cut=cut)
        self.close_connection = self.close_connection or cut is not None

    def _send(
        self,
        body: bytes,
        status: int = 200,
        kind: str = "application/json",
        headers: dict[str, str] | None = None,
        cut: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:cut])

    def _stream(self, events: list[Any], wanted: Any) -> None:
        self._wait(getattr(wanted, "delay", 0.0))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        gate, gap, cut = (getattr(wanted, name, None) for name in ("gate", "gap", "cut_after"))
        for number, event in enumerate(events):
            if number == cut:
                self.close_connection = True
                return
            self._pass(gate, gap if number else 0.0)
            self._chunk(self.server.upstream.framed(event).encode())
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _misbehave(self, wanted: Any) -> None:
        self.close_connection = True
        if isinstance(wanted, Reset):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()  # for real once the handler has closed its files
        elif isinstance(wanted, Hang):
            self._wait(float("inf"))
        elif isinstance(wanted, Drip):
            self._drip(wanted)

    def _drip(self, wanted: Drip) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n"
        self.wfile.write(head + (b"X-Slow: " if wanted.where == "headers" else b"\r\n"))
        while True:
            self.wfile.write(b" ")
            self._wait(wanted.gap)

    def _pass(self, gate: threading.Semaphore | None, gap: float | None) -> None:
        while gate is not None and not gate.acquire(timeout=LOOK):
            self._wait(0.0)
        self._wait(gap or 0.0)

    def _wait(self, seconds: float) -> None:
        """Wait, but not for somebody who has left, nor when the fake is being stopped."""
        while True:
            step = min(LOOK, seconds)
            if select.select([self.connection], [], [], step)[0] and not self._peek():
                raise Gone
            seconds -= step
            if self.server.upstream.stopping.is_set():
                raise Gone
            if seconds <= 0.0:
                return

    def _peek(self) -> bytes:
        try:
            return socket.socket.recv(self.connection, 1, socket.MSG_PEEK)  # under TLS too
        except OSError:
            return b""


__all__ = ["Answer", "Asked", "Close", "Drip", "Hang", "Raw", "Reset", "Status", "StreamError", "Upstream"]
