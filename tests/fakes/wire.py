"""A server that answers with bytes, whatever they are: for what no server that knows HTTP would send."""

import contextlib
import socketserver
import threading
from collections.abc import Mapping


class Wire:
    """Answers every request with `answer` and closes; what the other side makes of it is the test."""

    def __init__(self) -> None:
        self.answer = b""
        self.asked = 0
        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.wire = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "Wire":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(2)
        self._server.server_close()


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    wire: Wire


class Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True
    server: Server

    def handle(self) -> None:
        length = 0
        while (line := self.rfile.readline().strip().lower()):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        self.rfile.read(length)
        self.server.wire.asked += 1
        with contextlib.suppress(OSError):  # who has read enough may leave
            self.wfile.write(self.server.wire.answer)


def http(body: bytes = b"", status: str = "200 OK", headers: Mapping[str, str] | None = None) -> bytes:
    """Return an answer as HTTP writes it; a header of None is left out."""
    lines = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + body
