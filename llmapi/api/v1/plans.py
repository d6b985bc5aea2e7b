"""/v1/plans: named sets of limits that tenants and keys refer to."""

from typing import Any

from flask import Response
from flask.views import MethodView

from llmapi.api.context import services
from llmapi.api.openapi import LOCATION, examples_of
from llmapi.api.parsing import Blueprint
from llmapi.api.private import as_json, never_kept
from llmapi.api.schemas.plans import Plan, PlanChange, PlanList, PlanQuery, PlanRequest
from llmapi.core.clock import rfc3339
from llmapi.tenants import plans

bp = Blueprint("plans", __name__, url_prefix="/v1/plans", description="Named sets of limits")
never_kept(bp)


@bp.route("")
class Plans(MethodView):
    @bp.arguments(PlanRequest(), examples=examples_of("plans"))
    @bp.response(201, Plan(), headers=LOCATION)
    def post(self, wanted: dict[str, Any]) -> Response:
        """Make a plan; tenants and keys are put under it by its name."""
        plan = services().plans.create(**wanted)
        return as_json(shown(plan), 201, f"/v1/plans/{plan.name}")

    @bp.arguments(PlanQuery(), location="query")
    @bp.response(200, PlanList())
    def get(self, query: dict[str, Any]) -> Response:
        """List the plans by name."""
        page = services().plans.list(**query)
        return as_json({"data": [shown(plan) for plan in page.plans], "next": page.after})


@bp.route("/<string:name>")
class OnePlan(MethodView):
    @bp.response(200, Plan())
    def get(self, name: str) -> Response:
        """Tell about a plan."""
        return as_json(shown(services().plans.find(name)))

    @bp.arguments(PlanChange(), examples=examples_of("plan_changes"))
    @bp.response(200, Plan())
    def patch(self, wanted: dict[str, Any], name: str) -> Response:
        """Change a plan; every process obeys it within five seconds. What is not named stays, `limits` is replaced."""
        return as_json(shown(services().plans.update(name, **wanted)))

    @bp.response(204)
    def delete(self, name: str) -> Response:
        """Delete a plan that no tenant and no key is under."""
        services().plans.delete(name)
        return Response(status=204)


def shown(plan: plans.Plan) -> dict[str, Any]:
    """Return a plan as it was written."""
    return {
        "name": plan.name,
        "description": plan.description,
        "limits": plan.limits(),
        "created": rfc3339(plan.created),
        "changed": rfc3339(plan.changed),
    }
