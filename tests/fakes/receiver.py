"""Somebody's webhook receiver on a loopback socket: it answers as scripted and keeps what it was sent."""

import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

RESET = "reset"  # instead of a status: hang up without an answer
DRIP = "drip"  # a header without end, a byte at a time


@dataclass(frozen=True)
class Sent:
    """One webhook as it came."""

    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> Any:
        """Return the payload; raises WebhookVerificationError."""
        return Webhook(secret).verify(self.body, self.headers)


class Receiver:
    """Answers with the statuses of `script`, then with `default`; (status, headers, body) says more than a status,
    and bytes are the whole answer as they are.

    behaviour: decides by a function while the script is empty; gate: while it is not set, answers wait
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.script: list[Any] = []
        self.default: Any = 200
        self.behaviour: Callable[[Sent], Any] | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.stopping = threading.Event()
        self.sent: list[Sent] = []
        self.connections = 0
        self.most_at_once = 0
        self.most_of_one = 0  # attempts of one message at the same time
        self._now: Counter[str] = Counter()
        self._came = threading.Condition()
        self._server = Server(self, tls)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self.port = self._server.server_port
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/hook"

    def __enter__(self) -> "Receiver":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self.stopping.set()
        self._server.shutdown()
        self._thread.join(2)
        self._server.server_close()

    @property
    def ids(self) -> list[str]:
        return [each.id for each in self.sent]

    def wait(self, count: int = 1, seconds: float = 20.0) -> list[Sent]:
        """Return what was sent once there are `count` of it."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.sent) >= count, seconds), f"{len(self.sent)} of {count} came"
            return list(self.sent)

    def enter(self, sent: Sent) -> Any:
        with self._came:
            self.sent.append(sent)
            self._now[sent.headers.get("webhook-id", "")] += 1
            self.most_at_once = max(self.most_at_once, self._now.total())
            self.most_of_one = max(self.most_of_one, *self._now.values())
            self._came.notify_all()
            if self.script:
                return self.script.pop(0)
        return self.behaviour(sent) if self.behaviour else self.default

    def leave(self, sent: Sent) -> None:
        with self._came:
            self._now[sent.headers.get("webhook-id", "")] -= 1


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, receiver: Receiver, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.receiver = receiver
        self.tls = tls

    def get_request(self) -> Any:
        plain, address = super().get_request()
        self.receiver.connections += 1
        return plain, address

    def finish_request(self, request: Any, client_address: Any) -> None:
        try:
            if self.tls is not None:
                request = self.tls.wrap_socket(request, server_side=True)
            super().finish_request(request, client_address)
        except (OSError, ValueError):
            pass  # the other side left
        finally:
            request.close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_POST(self) -> None:
        receiver = self.server.receiver
        headers = {name.lower(): value for name, value in self.headers.items()}
        sent = Sent(self.path, headers, self.rfile.read(int(headers.get("content-length", 0))))
        wanted = receiver.enter(sent)
        receiver.gate.wait(20)
        receiver.leave(sent)  # before the answer: once it is out, the next attempt may come
        self._answer(wanted)

    do_GET = do_PUT = do_POST

    def _answer(self, wanted: Any) -> None:
        self.close_connection = True
        if wanted == RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        if wanted == DRIP:
            return self._drip()
        if isinstance(wanted, bytes):
            self.wfile.write(wanted)
            return
        status, headers, body = wanted if isinstance(wanted, tuple) else (wanted, {}, b"ok")
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _drip(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        for _ in range(1000):  # until the other side has left
            self.wfile.write(b".")
            self.server.receiver.stopping.wait(0.02)

    def log_message(self, *_: Any) -> None:
        pass
