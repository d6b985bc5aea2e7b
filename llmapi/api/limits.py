"""How often a caller may ask: one row of settings a route group, counted by flask-limiter, told in headers.

The `RateLimit` pair follows draft-ietf-httpapi-ratelimit-headers; the older X-RateLimit-* come beside it.
"""

import time
from collections.abc import Iterable, Mapping

from flask import Blueprint, Flask, Response, g, request
from flask_limiter import Limiter

from llmapi.core.errors import BadSetting


def install(app: Flask, blueprints: Iterable[Blueprint], rules: Mapping[str, str], storage: str) -> None:
    """Give each blueprint the limit set for it; one without a limit stops the start."""
    limiter = Limiter(
        key_func=who,
        storage_uri=storage,
        strategy="fixed-window",
        headers_enabled=False,  # its own puts Retry-After on good answers; ours are below
        in_memory_fallback_enabled=True,  # an unusable file must not refuse everybody
    )
    for blueprint in blueprints:
        if blueprint.name not in rules:
            raise BadSetting(f"no rate limit is set for {blueprint.name}")
        limiter.limit(rules[blueprint.name])(blueprint)
    limiter.init_app(app)
    app.after_request(lambda response: show_limit(limiter, response))


def who() -> str:
    """Return who is counted: the caller's key; an address only where nobody is asked for a key."""
    known = g.get("identity")
    return known.name if known else request.remote_addr or "unknown"


def show_limit(limiter: Limiter, response: Response) -> Response:
    """Tell the caller where it stands."""
    current = limiter.current_limit
    if current is None:
        return response
    window = current.window
    allowed, left = current.limit.amount, max(0, window.remaining)
    seconds = max(0, round(window.reset_time - time.time() + 0.499))
    name = request.blueprint or "route"
    response.headers["RateLimit-Policy"] = f'"{name}";q={allowed};w={current.limit.get_expiry()}'
    response.headers["RateLimit"] = f'"{name}";r={left};t={seconds}'
    response.headers["X-RateLimit-Limit"] = str(allowed)
    response.headers["X-RateLimit-Remaining"] = str(left)
    response.headers["X-RateLimit-Reset"] = str(round(window.reset_time + 0.499))
    if current.breached:
        response.headers["Retry-After"] = str(min(120, max(1, seconds)))
    return response
