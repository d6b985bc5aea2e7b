"""Errors in OpenAI's shape: {"error": {"message", "type", "param", "code"}}; never 422, which its API does not know."""

from collections.abc import Mapping
from typing import Any

import orjson
from flask import Response

from llmapi.api.errors import PROBLEM, Shape, problem, with_hints
from llmapi.core import errors
from llmapi.core.errors import LlmApiError

TYPES: Mapping[int, str] = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    429: "rate_limit_error",
}
# Codes that clients of OpenAI look for; all others are ours.
CODES: Mapping[type[LlmApiError], str] = {
    errors.ContextTooLong: "context_length_exceeded",
    errors.ProviderQuotaSpent: "insufficient_quota",
    errors.ProviderThrottled: "rate_limit_exceeded",
    errors.RateLimited: "rate_limit_exceeded",
    errors.Unauthenticated: "invalid_api_key",
}


def openai_shape(error: LlmApiError) -> Response:
    """Return the answer for an error of ours as OpenAI would write it."""
    status = 400 if error.status == 422 else error.status
    response = Response(orjson.dumps(openai_error(error)), status=status, mimetype="application/json")
    return with_retry(with_hints(response, error), error)


def both_shapes(error: LlmApiError) -> Response:
    """Return the answer for an error at an address both kinds of clients use: a problem with an `error` member."""
    body = orjson.dumps(problem(error) | openai_error(error))
    response = Response(body, status=error.status, mimetype=PROBLEM)
    return with_retry(with_hints(response, error), error)


def with_retry(response: Response, error: LlmApiError) -> Response:
    """Tell the SDK to try again where that helps, for it would not after a status it does not know."""
    if error.retryable:
        response.headers["X-Should-Retry"] = "true"
    return response


def openai_error(error: LlmApiError) -> dict[str, Any]:
    """Return an error's body."""
    usual = "server_error" if error.status >= 500 else "invalid_request_error"
    param = next(iter(error.fields), None)
    return {
        "error": {
            "message": message_of(error),
            "type": TYPES.get(error.status, usual),
            "param": param,
            "code": "model_not_found" if param == "model" else CODES.get(type(error), error.code),
        }
    }


def message_of(error: LlmApiError) -> str:
    """Return what is wrong in one line: OpenAI's shape has no place for a list of fields."""
    told = error.message
    for name, messages in error.fields.items():
        if messages and messages[0] not in told:
            told += f" {name}: {messages[0]}"
    return told[:1000]


SHAPES: Mapping[str, Shape] = {
    "/v1/chat/completions": openai_shape,
    "/v1/responses": openai_shape,
    "/v1/embeddings": openai_shape,
    "/v1/decisions": openai_shape,
    "/v1/files": openai_shape,
    "/v1/batches": openai_shape,
    "/v1/models": both_shapes,
}
