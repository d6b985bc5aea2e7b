"""What each request leaves behind: one log line, two numbers, and headers that keep answers private."""

import time

import structlog
from flask import Flask, Response, g, request

from llmapi.api.context import services

log = structlog.get_logger("llmapi.access")
QUIET = frozenset({"probes.Livez", "probes.Readyz", "operations.Metrics", "docs.assets"})


def install(app: Flask) -> None:
    """Watch every request from first to last."""
    app.before_request(start)
    app.after_request(finish)


def start() -> None:
    """Note when it came."""
    g.started = time.perf_counter()


def finish(response: Response) -> Response:
    """Log and count it; the address is logged without its query string."""
    seconds = time.perf_counter() - g.started
    route = request.url_rule.rule if request.url_rule else "unknown"
    services().metrics.request(route, request.method, response.status_code, seconds)
    if request.endpoint not in QUIET:
        milliseconds = round(seconds * 1000, 2)
        log.info("request", method=request.method, route=route, status=response.status_code, ms=milliseconds)
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response
