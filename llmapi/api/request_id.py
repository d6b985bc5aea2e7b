"""Every request has an id: the caller's when it is a plain one, ours otherwise; in each answer and each log line."""

import structlog
from flask import Flask, Response, g, request

from llmapi.core.ids import is_good_id, new_id

HEADER = "X-Request-ID"


def install(app: Flask) -> None:
    """Give each request its id before anything else runs, and each answer the header."""
    app.before_request(take_id)
    app.after_request(show_id)


def take_id() -> None:
    """Keep the caller's id if it is one; an odd one is replaced, not refused, for it is only a label."""
    told = request.headers.get(HEADER, "")
    g.request_id = told if is_good_id(told) else new_id("req")
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def show_id(response: Response) -> Response:
    """Name the id on the answer."""
    response.headers[HEADER] = g.request_id
    return response
