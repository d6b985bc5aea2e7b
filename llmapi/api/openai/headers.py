"""What OpenAI's answers say in headers: where the caller stands with his limit; and our own facts, which have no place
in OpenAI's bodies."""

from typing import Any

from flask import Blueprint, Response, request

from llmapi.api.answering import cache_status, cost_header
from llmapi.api.request_id import HEADERS

SAME = {"X-RateLimit-Limit": "x-ratelimit-limit-requests", "X-RateLimit-Remaining": "x-ratelimit-remaining-requests"}


def install(bp: Blueprint) -> None:
    """Tell limits in OpenAI's words at every answer of a blueprint, errors included."""
    bp.after_request(tell_limits)


def tell_limits(response: Response) -> Response:
    """Add OpenAI's names of what api/limits.py has noted for this request."""
    for name, value in request.environ.get(HEADERS, ()):
        if name in SAME:
            response.headers[SAME[name]] = value
        elif name == "RateLimit":
            response.headers["x-ratelimit-reset-requests"] = span(int(value.rpartition("t=")[2]))
    return response


def span(seconds: int) -> str:
    """Return seconds as OpenAI writes them: "59s", "6m0s", "1h0m0s"."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s" if minutes else f"{rest}s"


def facts(told: dict[str, Any]) -> dict[str, str]:
    """Return what a task's answer tells beside its output: cost, cache, times."""
    timing = told["timing"]
    return {
        "Cache-Status": cache_status(told["cache"]),
        "Server-Timing": f"total;dur={timing['total_ms']}, provider;dur={timing['provider_ms']}",
        **cost_header(told["cost"]),
    }
