"""GET /v1/usage: requests and tokens, by time and by who, what and how."""

from typing import Any

from flask import Response
from flask.views import MethodView

from llmapi.api.ledger_questions import Json, reported
from llmapi.api.parsing import Blueprint
from llmapi.api.schemas.usage import UsageQuery, UsageReport
from llmapi.costs.usage import Sums

bp = Blueprint("usage", __name__, url_prefix="/v1/usage", description="What was used and what it cost")


@bp.route("")
class UsageOf(MethodView):
    @bp.arguments(UsageQuery(), location="query")
    @bp.response(200, UsageReport())
    def get(self, query: dict[str, Any]) -> Response:
        """Tell requests and tokens of a range, exact for any two instants; as CSV with `Accept: text/csv`.

        A user together with anything but the project, and hours of one key, are read from the ledger itself: of at most
        31 days, and as long as it is kept. All else is answered from sums, which stay.
        """
        return reported("usage", query, used)


def used(sums: Sums) -> Json:
    """Return a sum as use."""
    return {
        "requests": sums.requests,
        "failures": sums.failures,
        "kept": sums.kept,
        "input_tokens": sums.input_tokens,
        "output_tokens": sums.output_tokens,
        "cached_tokens": sums.cached_tokens,
        "reasoning_tokens": sums.reasoning_tokens,
        "total_tokens": sums.input_tokens + sums.output_tokens,
        "duration_s": round(sums.duration, 3),
    }
