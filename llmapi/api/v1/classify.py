"""POST /v1/classify."""

from typing import Any

from flask import Response
from flask.views import MethodView

from llmapi.api.answering import answer
from llmapi.api.openapi import task_docs
from llmapi.api.parsing import Blueprint
from llmapi.api.schemas.classify import ClassifyAnswer, ClassifyRequest

bp = Blueprint("classify", __name__, url_prefix="/v1/classify", description="Text classification")


@bp.route("")
class Classify(MethodView):
    @task_docs(bp, "classify", ClassifyRequest(), ClassifyAnswer(), streams=False)
    def post(self, wanted: dict[str, Any]) -> Response:
        """Choose the label that fits a text best, with a probability per label and the evidence it rests on."""
        return answer("classify", wanted)
