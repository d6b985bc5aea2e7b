"""/docs: Swagger UI from files of our own server (flask-swagger-ui ships them) under a strict CSP; /openapi.json."""

import hashlib
import importlib.util
import json
from collections.abc import Callable
from functools import cache
from os.path import isfile
from pathlib import Path
from typing import Any

import orjson
from flask import Flask, Response, current_app, redirect, render_template, request, send_from_directory
from flask import Blueprint as PlainBlueprint
from flask.views import MethodView
from werkzeug.wrappers import Response as AnyResponse

from llmapi import __version__
from llmapi.api.parsing import Blueprint
from llmapi.api.schemas.legacy import Welcome

bp = PlainBlueprint("docs", __name__)
front = Blueprint("front", __name__, description="The front door; never limited, never asked for a key")
CSP = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # Swagger UI sets style attributes from its script
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def assets_folder() -> Path:
    """Return the folder of Swagger UI's files inside the package that ships them."""
    spec = importlib.util.find_spec("flask_swagger_ui")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("flask-swagger-ui is not installed")
    return Path(spec.origin).parent / "dist"


@front.route("/")
class Root(MethodView):
    @front.doc(security=[])
    @front.response(200, Welcome())
    @front.alt_response(302, description="A browser is sent to the documentation", success=True)
    def get(self) -> AnyResponse:
        """Say that the service runs; a browser is sent to the documentation."""
        shown = bp.name in current_app.blueprints
        if shown and request.accept_mimetypes.best_match(("application/json", "text/html")) == "text/html":
            answer = redirect("/docs")
        else:
            told = {"status": "ok", "service": "llmapi", "version": __version__, "docs": "/docs" if shown else None}
            answer = Response(orjson.dumps(told), mimetype="application/json")
        answer.headers["Vary"] = "Accept"
        return answer


@bp.get("/docs")
def page() -> Response:
    """Show Swagger UI."""
    return Response(render_template("docs.html"), headers=HEADERS, mimetype="text/html")


@bp.get("/docs/<path:name>")
def assets(name: str) -> Response:
    """Serve Swagger UI's files, and the few lines that start it."""
    own = Path(__file__).parent / "static"
    response = send_from_directory(own if isfile(own / name) else assets_folder(), name, max_age=3600)
    response.headers.update(HEADERS)
    return response


@bp.get("/openapi.json")
def document() -> AnyResponse:
    """Serve the OpenAPI document; it is the same until the next start."""
    body, etag = current_app.extensions["llmapi-openapi"]()
    response = Response(body, mimetype="application/json")
    response.set_etag(etag)
    response.headers["Cache-Control"] = "no-cache"
    return response.make_conditional(request)


def install(app: Flask, document: Callable[[], Any]) -> None:
    """Serve the docs of an application whose views are all registered."""

    @cache
    def written() -> tuple[bytes, str]:  # when first asked for: it takes a tenth of the start
        body = as_json(document())
        return body, hashlib.sha256(body).hexdigest()[:32]

    app.extensions["llmapi-openapi"] = written
    app.register_blueprint(bp)


def as_json(spec: Any) -> bytes:
    """Return the document as it is committed: readable, in the order it was written."""
    return (json.dumps(spec.to_dict(), indent=2, ensure_ascii=False) + "\n").encode()
