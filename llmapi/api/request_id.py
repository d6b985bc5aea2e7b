"""Every request has an id: the caller's when it is a plain one, ours otherwise; in each answer and each log line.

A layer around Flask, so that whatever Flask answers carries the id, and the headers that keep answers private, at the
price of three list entries.
"""

from collections.abc import Callable, Iterable
from typing import Any

import structlog

from llmapi.core.ids import is_good_id, new_id

HEADER = "X-Request-ID"
KEY = "llmapi.request_id"  # in the WSGI environment
HEADERS = "llmapi.headers"  # there too: further headers of the answer

Environ = dict[str, Any]
Start = Callable[..., Any]
Wsgi = Callable[[Environ, Start], Iterable[bytes]]


class RequestId:
    """Gives each request its id before anything else runs; an odd one of the caller's is replaced, not refused."""

    def __init__(self, app: Wsgi) -> None:
        self._app = app

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        told = environ.get("HTTP_X_REQUEST_ID", "")
        own = told if told and is_good_id(told) else new_id("req")
        environ[KEY] = own
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=own)

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            headers += [(HEADER, own), ("X-Content-Type-Options", "nosniff"), *environ.get(HEADERS, ())]
            if not any(name == "Cache-Control" for name, _ in headers):
                headers.append(("Cache-Control", "no-store"))
            return start_response(status, headers, *more)

        return self._app(environ, start)
