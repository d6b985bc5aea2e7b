"""/docs: Swagger UI from files of our own server (flask-swagger-ui ships them) under a strict CSP; /openapi.json."""

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

from flask import Flask, Response, current_app, redirect, render_template, request, send_from_directory
from flask import Blueprint as PlainBlueprint
from werkzeug.wrappers import Response as AnyResponse

bp = PlainBlueprint("docs", __name__)
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


@bp.get("/")
def root() -> AnyResponse:
    """Send a browser that came to the front door to the documentation."""
    return redirect("/docs")


@bp.get("/docs")
def page() -> Response:
    """Show Swagger UI."""
    return Response(render_template("docs.html"), headers=HEADERS, mimetype="text/html")


@bp.get("/docs/<path:name>")
def assets(name: str) -> Response:
    """Serve Swagger UI's files, and the few lines that start it."""
    own = Path(__file__).parent / "static"
    response = send_from_directory(own if (own / name).is_file() else assets_folder(), name, max_age=3600)
    response.headers.update(HEADERS)
    return response


@bp.get("/openapi.json")
def document() -> AnyResponse:
    """Serve the OpenAPI document; it is the same until the next start."""
    body, etag = current_app.extensions["llmapi-openapi"]
    response = Response(body, mimetype="application/json")
    response.set_etag(etag)
    response.headers["Cache-Control"] = "no-cache"
    return response.make_conditional(request)


def install(app: Flask, spec: Any) -> None:
    """Serve the docs of an application whose views are all registered."""
    body = as_json(spec)
    app.extensions["llmapi-openapi"] = (body, hashlib.sha256(body).hexdigest()[:32])
    app.register_blueprint(bp)


def as_json(spec: Any) -> bytes:
    """Return the document as it is committed: readable, in the order it was written."""
    return (json.dumps(spec.to_dict(), indent=2, ensure_ascii=False) + "\n").encode()
