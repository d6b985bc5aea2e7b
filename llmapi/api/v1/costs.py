"""GET /v1/costs: what calls cost and what was saved, by time and by who, what and how."""

from typing import Any

from flask import Response
from flask.views import MethodView

from llmapi.api.ledger_questions import Json, reported
from llmapi.api.parsing import Blueprint
from llmapi.api.schemas.usage import CostReport, UsageQuery
from llmapi.core.money import dollars
from llmapi.costs.usage import Sums

bp = Blueprint("costs", __name__, url_prefix="/v1/costs", description="What was used and what it cost")


@bp.route("")
class Costs(MethodView):
    @bp.arguments(UsageQuery(), location="query")
    @bp.response(200, CostReport())
    def get(self, query: dict[str, Any]) -> Response:
        """Tell what the calls of a range cost, to the nano-dollar; as CSV with `Accept: text/csv`.

        What has no price is counted in `unpriced_requests`, never as 0. Ranges are as those of `/v1/usage`.
        """
        return reported("costs", query, spent, currency="USD")


def spent(sums: Sums) -> Json:
    """Return a sum as money."""
    return {
        "requests": sums.requests,
        "unpriced_requests": sums.unpriced,
        "cost": dollars(sums.cost),
        "saved": dollars(sums.saved),
    }
