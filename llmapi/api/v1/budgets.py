"""/v1/budgets: how much a tenant, project, key, user or model may spend, and what is left of it."""

from typing import Any

from flask import Response
from flask.views import MethodView

from llmapi.api.context import identity, services
from llmapi.api.openapi import LOCATION, examples_of
from llmapi.api.parsing import Blueprint
from llmapi.api.private import as_json, never_kept
from llmapi.api.schemas.budgets import Budget, BudgetChange, BudgetList, BudgetQuery, BudgetRequest
from llmapi.core.clock import rfc3339
from llmapi.core.money import dollars
from llmapi.costs.budgets import Standing

Json = dict[str, Any]
OURS = {"rolling_s": "seconds", "kind": "hard"}  # and what it is inside

bp = Blueprint("budgets", __name__, url_prefix="/v1/budgets", description="What may be spent, and what is left")
never_kept(bp)


@bp.route("")
class Budgets(MethodView):
    @bp.arguments(BudgetRequest(), examples=examples_of("budgets"))
    @bp.response(201, Budget(), headers=LOCATION)
    def post(self, wanted: Json) -> Response:
        """Set a budget. It counts from its first call on; every process obeys it within two seconds."""
        budget = services().budgets.create(identity().tenant, **inside(wanted))
        return as_json(standing(budget.id), 201, f"/v1/budgets/{budget.id}")

    @bp.arguments(BudgetQuery(), location="query")
    @bp.response(200, BudgetList())
    def get(self, query: Json) -> Response:
        """List the budgets and how they stand, the oldest first."""
        limit = query.pop("limit")
        found = services().budgets.standings(identity().tenant, limit=limit + 1, **query)
        following = found[limit - 1].budget.id if len(found) > limit else None
        return as_json({"data": [shown(each) for each in found[:limit]], "next": following})


@bp.route("/<string:budget_id>")
class OneBudget(MethodView):
    @bp.response(200, Budget())
    def get(self, budget_id: str) -> Response:
        """Tell how a budget stands."""
        return as_json(standing(budget_id))

    @bp.arguments(BudgetChange(), examples=examples_of("budget_changes"))
    @bp.response(200, Budget())
    def patch(self, wanted: Json, budget_id: str) -> Response:
        """Change a budget; what is not named stays, and what was spent counts on."""
        services().budgets.update(budget_id, identity().tenant, **inside(wanted))
        return as_json(standing(budget_id))

    @bp.response(204)
    def delete(self, budget_id: str) -> Response:
        """Delete a budget. The ledger keeps what was spent."""
        services().budgets.delete(budget_id, identity().tenant)
        return Response(status=204)


def inside(wanted: Json) -> Json:
    """Return a request in the words of the budgets."""
    told = {OURS.get(name, name): value for name, value in wanted.items()}
    return told | {"hard": told["hard"] == "hard"} if "hard" in told else told


def standing(budget_id: str) -> Json:
    """Return how a budget of the caller's tenant stands; raises NotFound."""
    return shown(services().budgets.status(budget_id, identity().tenant))


def shown(found: Standing) -> Json:
    """Return a budget as its tenant sees it."""
    budget = found.budget
    return {
        "id": budget.id,
        "level": budget.level,
        "name": budget.name,
        "amount": dollars(budget.amount),
        "window": budget.window,
        "rolling_s": budget.seconds or None,
        "kind": "hard" if budget.hard else "soft",
        "active": budget.active,
        "thresholds": budget.thresholds,
        "created": rfc3339(budget.created),
        "spent": dollars(found.spent),
        "held": dollars(found.held),
        "left": dollars(found.left),
        "current": {"start": rfc3339(found.begins), "end": rfc3339(found.ends)},
    }
