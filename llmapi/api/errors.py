"""How errors are told: application/problem+json (RFC 9457) with a stable code, the request id and each wrong field.

A door that speaks another API's language has its errors in that one's shape: `install` is given them by address.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import orjson
import structlog
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from llmapi.api.context import request_id
from llmapi.core import errors
from llmapi.core.errors import LlmApiError
from llmapi.tasks.answers import attempt_of

PROBLEM = "application/problem+json"
LONGEST_WAIT = 120  # seconds; the official OpenAI SDK gives up on longer hints
BY_STATUS: dict[int, type[LlmApiError]] = {
    400: errors.MalformedJson,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    413: errors.PayloadTooLarge,
    415: errors.UnsupportedMediaType,
    429: errors.RateLimited,
}
DETAILS = {
    404: "there is nothing at this address",
    405: "this address does not take that method",
    413: "the body is larger than this server takes",
}
DEFECT = "this is a defect of the service; its log has the details under this request id"
Shape = Callable[[LlmApiError], Response]

log = structlog.get_logger(__name__)


def install(app: Flask, shapes: Mapping[str, Shape] = MappingProxyType({})) -> None:
    """Show every error. Registered after flask-smorest, whose own handler would win otherwise.

    shapes: by address the shape of all errors at it and below it, whether a view exists there or not
    """
    show = Show(shapes)
    app.register_error_handler(LlmApiError, show)
    app.register_error_handler(HTTPException, show.http)
    app.register_error_handler(Exception, show.defect)


class Show:
    """Turns what was raised into an answer, in the shape its address asks for."""

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        self._shapes = dict(shapes)

    def __call__(self, error: LlmApiError) -> Response:
        """Return the answer for an error of ours."""
        path = request.path
        for address, shape in self._shapes.items():
            if path.startswith(address) and path[len(address) :][:1] in ("", "/"):
                return shape(error)
        return as_problem(error)

    def http(self, error: HTTPException) -> Response:
        """Return the answer for what Flask and werkzeug raise; their headers (Allow …) survive."""
        kind = BY_STATUS.get(error.code or 500)
        if kind is None:
            odd = errors.MalformedJson("the request cannot be read")
            return self.defect(error) if (error.code or 500) >= 500 else self(odd)
        response = self(kind(DETAILS.get(error.code or 0, kind.title)))
        if allowed := getattr(error, "valid_methods", None):
            response.headers["Allow"] = ", ".join(sorted(allowed))
        return response

    def defect(self, error: Exception) -> Response:
        """Answer what nobody foresaw: logged with its trace, told without it."""
        log.error("defect", path=request.path, exc_info=error)
        return self(LlmApiError(DEFECT))


def as_problem(error: LlmApiError) -> Response:
    """Return an error in our own shape."""
    response = Response(orjson.dumps(problem(error)), status=error.status, mimetype=PROBLEM)
    return with_hints(response, error)


def with_hints(response: Response, error: LlmApiError) -> Response:
    """Add the headers that tell a client what to do next; returns the same response."""
    if error.retry_after is not None and error.status in (409, 429, 503):
        response.headers["Retry-After"] = str(min(LONGEST_WAIT, max(1, round(error.retry_after + 0.499))))
    if not error.retryable:
        response.headers["X-Should-Retry"] = "false"
    if error.status == errors.Unauthenticated.status:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def problem(error: LlmApiError, call_id: str = "") -> dict[str, Any]:
    """Return an error as RFC 9457's object."""
    told: dict[str, Any] = {
        "type": f"urn:llmapi:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.message,
        "code": error.code,
        "request_id": call_id or request_id(),
    }
    if error.fields:
        told["errors"] = [
            {"field": name, "message": message} for name, messages in error.fields.items() for message in messages
        ]
    if error.attempts:
        told["attempts"] = [attempt_of(each) for each in error.attempts]
    if error.details:
        told["details"] = error.details
    return told
