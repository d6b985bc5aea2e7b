"""GET /v1/models."""

from typing import Any

from flask.views import MethodView

from llmapi.api.context import services
from llmapi.api.parsing import Blueprint
from llmapi.api.schemas.models import ModelList

bp = Blueprint("models", __name__, url_prefix="/v1/models", description="Models and their names")


@bp.route("")
class Models(MethodView):
    @bp.response(200, ModelList())
    def get(self) -> dict[str, Any]:
        """List the aliases and the models that can be asked, and what each can do."""
        return {"data": services().models.listing()}
