"""Is it alive, is it ready, how is everything it leans on, and the numbers for Prometheus."""

from typing import Any

import orjson
from flask import Response
from flask.views import MethodView

from llmapi.api.context import services
from llmapi.api.parsing import Blueprint
from llmapi.api.schemas.models import Alive, Health
from llmapi.core.errors import Overloaded

bp = Blueprint("operations", __name__, description="Health and metrics")
probes = Blueprint("probes", __name__, description="For load balancers; never limited, never asked for a key")


@probes.route("/livez")
class Livez(MethodView):
    @probes.doc(security=[])
    @probes.response(200, Alive())
    def get(self) -> dict[str, str]:
        """Say that the process runs."""
        return {"status": "ok"}


@probes.route("/readyz")
class Readyz(MethodView):
    @probes.doc(security=[])
    @probes.response(200, Alive())
    def get(self) -> dict[str, str]:
        """Say whether requests may be sent here now; 503 while starting or stopping."""
        if not services().ready():
            raise Overloaded("not ready yet", retry_after=1.0)
        return {"status": "ok"}


@bp.route("/health")
class HealthOf(MethodView):
    @bp.response(200, Health())
    @bp.alt_response(503, schema=Health(), description="A dependency without which nothing works is down")
    def get(self) -> Response:
        """Tell how every dependency is, from what is already known: no provider is asked."""
        told: dict[str, Any] = services().health()
        status = 503 if told["status"] == "down" else 200
        return Response(orjson.dumps(told), status=status, mimetype="application/json")


@bp.route("/metrics")
class Metrics(MethodView):
    @bp.response(200, {"type": "string"}, content_type="text/plain")
    def get(self) -> Response:
        """Return all metrics in Prometheus' text format."""
        body, content_type = services().metrics.render()
        return Response(body, content_type=content_type)
