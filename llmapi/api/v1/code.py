"""POST /v1/code/generate."""

from typing import Any

from flask import Response
from flask.views import MethodView

from llmapi.api.answering import answer
from llmapi.api.openapi import task_docs
from llmapi.api.parsing import Blueprint
from llmapi.api.schemas.code import CodeAnswer, CodeRequest

bp = Blueprint("code", __name__, url_prefix="/v1/code", description="Code generation")


@bp.route("/generate")
class GenerateCode(MethodView):
    @task_docs(bp, "code", CodeRequest(), CodeAnswer())
    def post(self, wanted: dict[str, Any]) -> Response:
        """Write code, parse it, and say how it was checked."""
        return answer("code", wanted)
