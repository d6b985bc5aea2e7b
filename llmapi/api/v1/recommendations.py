"""GET /v1/recommendations: what could be cheaper, with the calculation."""

from typing import Any

from flask import Response
from flask.views import MethodView

from llmapi.api.context import identity, services
from llmapi.api.parsing import Blueprint
from llmapi.api.private import as_json, never_kept
from llmapi.api.schemas.recommendations import RecommendationList, RecommendationsQuery
from llmapi.core.clock import rfc3339
from llmapi.core.money import dollars
from llmapi.costs.recommendations import MONTH, Advice

bp = Blueprint(
    "recommendations", __name__, url_prefix="/v1/recommendations", description="What was used and what it cost"
)
never_kept(bp)


@bp.route("")
class RecommendationsOf(MethodView):
    @bp.arguments(RecommendationsQuery(), location="query")
    @bp.response(200, RecommendationList())
    def get(self, query: dict[str, Any]) -> Response:
        """Tell what could be cheaper, each with a calculation that can be redone from the ledger.

        Only models the operator has configured are named, and `assumes` says what was not measured. What saves less
        than a dollar a month is left out.
        """
        looked = services().recommendations.of(identity().tenant, query["days"])
        found = [shown(each, query["days"]) for each in looked.found]
        times = {"from": rfc3339(looked.start), "to": rfc3339(looked.end)}
        return as_json({**times, "currency": "USD", "data": found})


def shown(advice: Advice, days: int) -> dict[str, Any]:
    """Return an advice with its money in dollars."""
    return {
        "kind": advice.kind,
        "what": advice.what,
        "about": dict(advice.about),
        "saves": dollars(advice.saves),
        "saves_monthly": dollars(advice.saves * MONTH // days),
        "calculation": {"formula": advice.formula, "numbers": advice.numbers, "assumes": advice.assumes},
    }
