"""What each request leaves behind: a log line and two numbers."""

import time

import structlog
from flask import Flask, Response, g, request

from llmapi.api.context import services
from llmapi.api.under_way import ASKING

log = structlog.get_logger("llmapi.access")
QUIET = frozenset("probes.Livez probes.Readyz operations.Metrics stats.Stats docs.assets".split())
TOLD = frozenset(ASKING)  # a good call has its line already


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
    if request.endpoint not in QUIET and (request.endpoint not in TOLD or response.status_code != 200):
        milliseconds = round(seconds * 1000, 2)
        log.info("request", method=request.method, route=route, status=response.status_code, ms=milliseconds)
    return response
