"""POST /v1/text/generate."""

from typing import Any

from flask import Response
from flask.views import MethodView

from llmapi.api.answering import answer
from llmapi.api.openapi import task_docs
from llmapi.api.parsing import Blueprint
from llmapi.api.schemas.text import TextAnswer, TextRequest

bp = Blueprint("text", __name__, url_prefix="/v1/text", description="Text generation")


@bp.route("/generate")
class GenerateText(MethodView):
    @task_docs(bp, "text", TextRequest(), TextAnswer())
    def post(self, wanted: dict[str, Any]) -> Response:
        """Write a text, or JSON that follows a schema."""
        return answer("text", wanted)
