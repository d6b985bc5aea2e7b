"""GET /v1/models, for our own clients and OpenAI's at once."""

from typing import Any

from flask.views import MethodView

from llmapi.api.context import services
from llmapi.api.openai import headers
from llmapi.api.parsing import Blueprint
from llmapi.api.schemas.models import Model, ModelList, ModelProblem
from llmapi.core.contracts import Models as KnownModels
from llmapi.core.errors import NotFound, ValidationFailed

bp = Blueprint("models", __name__, url_prefix="/v1/models", description="Models and their names")
headers.install(bp)
PROBLEMS = {"application/problem+json": {"schema": ModelProblem()}}
ERRORS = {"default": {"description": "An error in both shapes, ours and OpenAI's", "content": PROBLEMS}}


@bp.route("")
class Models(MethodView):
    @bp.doc(responses=ERRORS)
    @bp.response(200, ModelList())
    def get(self) -> dict[str, Any]:
        """List the aliases and the models that can be asked, and what each can do."""
        return {"object": "list", "data": [shown(row) for row in services().listing()]}


@bp.route("/<path:name>")
class OneModel(MethodView):
    @bp.doc(responses=ERRORS)
    @bp.response(200, Model())
    def get(self, name: str) -> dict[str, Any]:
        """Tell about one model, by any of its names."""
        return shown(row_of(services().models, name))


def row_of(models: KnownModels, name: str) -> dict[str, Any]:
    """Return the row of a model or alias; raises NotFound."""
    rows = {row["id"]: row for row in models.listing()}
    if name in rows:
        return rows[name]
    try:
        target = models.resolve(name).targets[0]
    except ValidationFailed:
        raise NotFound(f"No model is called {name[:128]}.", fields={"model": ["GET /v1/models lists them."]}) from None
    unlisted = {
        "kind": "model",
        "provider": target.provider,
        "abilities": sorted(target.abilities),
        "context": target.context,
        "description": "Not listed, but its provider may know it",
        "available": True,
    }
    return {**rows.get(f"{target.provider}/{target.model}", unlisted), "id": name}


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as clients of OpenAI's API expect it, and what else is known."""
    return {**row, "object": "model", "created": 0, "owned_by": row["provider"]}
