"""Answers about who may what: no cache keeps them, neither good ones nor errors."""

from typing import Any

import orjson
from flask import Response

from llmapi.api.parsing import Blueprint


def never_kept(bp: Blueprint) -> None:
    """Mark every answer of a blueprint."""

    def mark(response: Response) -> Response:
        response.headers["Cache-Control"] = "no-store"
        return response

    bp.after_request(mark)


def as_json(told: dict[str, Any], status: int = 200, location: str = "") -> Response:
    """Return a JSON answer; `location`: of what was made."""
    headers = {"Location": location} if location else {}
    return Response(orjson.dumps(told), status, headers, mimetype="application/json")
