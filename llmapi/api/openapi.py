"""The OpenAPI document: one description of every task route, errors as problem+json, examples, security."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flask_smorest
from apispec import APISpec
from flask import Flask
from marshmallow import Schema

from llmapi import __version__
from llmapi.api.parsing import Blueprint
from llmapi.api.schemas.common import Problem
from llmapi.api.schemas.jobs import Accepted

EXAMPLES = Path(__file__).resolve().parents[2] / "openapi" / "examples"
DESCRIPTION = """Text generation, code generation and classification by language models, behind one contract.

Send `stream: true` for server-sent events, `Prefer: respond-async` for a job, `dry_run: true` to see the cost first.
Errors are `application/problem+json` with a stable `code`."""
SETTINGS = {
    "API_TITLE": "llmapi",
    "API_VERSION": __version__,
    "OPENAPI_VERSION": "3.1.0",
    "API_SPEC_OPTIONS": {
        "info": {"description": DESCRIPTION},
        "security": [{"bearer": []}, {"header": []}, {}],
        "servers": [{"url": "/"}],
    },
}
CACHE_STATUS = {"schema": {"type": "string"}, "description": "What the cache did (RFC 9211)"}
LOCATION = {"Location": {"schema": {"type": "string"}, "description": "Where to look for the result"}}
TASK_HEADERS = [
    ("Prefer", "`respond-async`: answer 202 and a job; `wait=N`: wait N seconds for the same request under way"),
    ("Idempotency-Key", "Do this once: a repeat under the same key gets the same answer, and costs nothing"),
    ("X-Request-Timeout", "Most seconds to wait for the answer; the task's own limit stays"),
    ("X-Provider-Key", "Your own key for the provider: used for this request, never kept"),
    ("Cache-Control", "`no-store`, `no-cache`, `only-if-cached` or `max-age=N`: the `cache` field by other names"),
]


class Api(flask_smorest.Api):
    """flask-smorest's Api with errors documented as the problem+json they are."""

    ERROR_SCHEMA = Problem
    DEFAULT_RESPONSE_CONTENT_TYPE: str = "application/json"

    def __init__(self, app: Flask) -> None:
        self._lock = threading.Lock()
        self._undocumented: list[flask_smorest.Blueprint] = []
        super().__init__(app)

    def register_blueprint(self, blp: flask_smorest.Blueprint, **options: Any) -> None:
        """Register views now; they are documented when the document is first asked for, which is half of a start."""
        self._app.extensions["flask-smorest"]["blp_name_to_api"][blp.name] = self
        self._app.register_blueprint(blp, **options)
        self._undocumented.append(blp)

    def document(self) -> APISpec:
        """Return the document of all views registered so far."""
        with self._lock:
            for blp in self._undocumented:
                blp.register_views_in_doc(self, self._app, self.spec, name=blp.name, parameters=None)
                self.spec.tag({"name": blp.name, "description": blp.description})
            self._undocumented.clear()
        spec: APISpec = self.spec
        return spec

    def _register_responses(self) -> None:
        self.DEFAULT_RESPONSE_CONTENT_TYPE = "application/problem+json"  # read by super() for the errors alone
        super()._register_responses()
        self.DEFAULT_RESPONSE_CONTENT_TYPE = "application/json"


def new_api(app: Flask) -> Api:
    """Return the document-keeping Api of an application."""
    api = Api(app)
    spec: APISpec = api.spec
    spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer"})
    spec.components.security_scheme("header", {"type": "apiKey", "in": "header", "name": "X-API-Key"})
    return api


def task_docs(bp: Blueprint, task: str, asked: Schema, told: Schema, streams: bool = True) -> Callable[..., Any]:
    """Return the decorator of a task's view: what it takes, what it answers, and in which other ways."""
    examples = examples_of(task)
    stream = {200: {"content": {"text/event-stream": {"schema": {"type": "object"}}}}}
    parameters = [
        {"in": "header", "name": name, "schema": {"type": "string"}, "description": said} for name, said in TASK_HEADERS
    ]

    def decorate(view: Callable[..., Any]) -> Any:
        view = bp.alt_response(202, schema=Accepted(), success=True, headers=LOCATION)(view)
        view = bp.response(200, told, headers={"Cache-Status": CACHE_STATUS})(view)
        view = bp.doc(parameters=parameters, **({"responses": stream} if streams else {}))(view)
        return bp.arguments(asked, examples=examples)(view)

    return decorate


def examples_of(task: str) -> dict[str, Any]:
    """Return the request examples kept in openapi/examples, in OpenAPI's form."""
    found: dict[str, Any] = json.loads((EXAMPLES / f"{task}.json").read_text(encoding="utf-8"))
    return {name: {"summary": row["summary"], "value": row["value"]} for name, row in found.items()}
