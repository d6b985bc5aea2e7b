"""One error shape: application/problem+json (RFC 9457) with a stable code, the request id and each wrong field."""

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

log = structlog.get_logger(__name__)


def install(app: Flask) -> None:
    """Show every error in the one shape. Registered after flask-smorest, whose own handler would win otherwise."""
    app.register_error_handler(LlmApiError, show)
    app.register_error_handler(HTTPException, show_http)
    app.register_error_handler(Exception, show_defect)


def show(error: LlmApiError) -> Response:
    """Return the answer for an error of ours."""
    body = orjson.dumps(problem(error))
    response = Response(body, status=error.status, mimetype=PROBLEM)
    if error.retry_after is not None and error.status in (429, 503):
        response.headers["Retry-After"] = str(min(LONGEST_WAIT, max(1, round(error.retry_after + 0.499))))
    if not error.retryable:
        response.headers["X-Should-Retry"] = "false"
    if error.status == errors.Unauthenticated.status:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def show_http(error: HTTPException) -> Response:
    """Return the answer for what Flask and werkzeug raise; their headers (Allow …) survive."""
    kind = BY_STATUS.get(error.code or 500)
    if kind is None:
        odd = errors.MalformedJson("the request cannot be read")
        return show_defect(error) if (error.code or 500) >= 500 else show(odd)
    response = show(kind(DETAILS.get(error.code or 0, kind.title)))
    if allowed := getattr(error, "valid_methods", None):
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


DETAILS = {
    404: "there is nothing at this address",
    405: "this address does not take that method",
    413: "the body is larger than this server takes",
}


def show_defect(error: Exception) -> Response:
    """Answer what nobody foresaw: logged with its trace, told without it."""
    log.error("defect", path=request.path, exc_info=error)
    return show(LlmApiError("this is a defect of the service; its log has the details under this request id"))


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
