"""POST /v1/decisions: questions about an input, answered with probabilities, in OpenAI's words."""

from typing import Any

import orjson
from flask import Response, request
from flask.views import MethodView

from llmapi.api.answering import with_cache_control
from llmapi.api.context import caller, services
from llmapi.api.openai import headers
from llmapi.api.openai.docs import openai_docs
from llmapi.api.openai.response_shapes import usage_of
from llmapi.api.parsing import Blueprint
from llmapi.api.schemas.openai_decisions import DecisionsAnswer, DecisionsRequest

bp = Blueprint("decisions", __name__, url_prefix="/v1/decisions", description="OpenAI's decisions")
headers.install(bp)


@bp.route("")
class Decisions(MethodView):
    @openai_docs(bp, "decisions", DecisionsRequest(), DecisionsAnswer())
    def post(self, asked: dict[str, Any]) -> Response:
        """Answer predicates, choices and scores about an input, each with the probabilities behind it.

        The numbers are the model's token probabilities, else shares of votes, else nearness of embeddings: `evidence`
        says which. Embeddings know what a text is about, and neither questions nor negations.
        """
        wanted = {"questions": asked["questions"], **asked["input"]}
        if "model" in asked:
            wanted["model"] = asked["model"]
        if directives := request.headers.get("Cache-Control"):
            wanted = with_cache_control(wanted, directives)
        told = services().tasks.answer("decisions", wanted, caller())
        body = orjson.dumps({**told["output"], "model": told["model"], "usage": usage_of(told["usage"])})
        return Response(body, headers=headers.facts(told), content_type="application/json")
