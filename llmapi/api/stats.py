"""GET /stats: the numbers of /metrics as one JSON object."""

import orjson
from flask import Response
from flask.views import MethodView

from llmapi.api.context import services
from llmapi.api.parsing import Blueprint
from llmapi.api.schemas.stats import Statistics
from llmapi.core.clock import utc_now
from llmapi.events.stats import stats_of

bp = Blueprint("stats", __name__, description="Numbers for people and small tools")


@bp.route("/stats")
class Stats(MethodView):
    @bp.response(200, Statistics())
    def get(self) -> Response:
        """Tell what was asked, what it took and what it cost, of all workers together."""
        metrics = services().metrics
        told = stats_of(metrics.families(), since=metrics.since, now=utc_now())
        return Response(orjson.dumps(told), mimetype="application/json")
