"""POST /v1/embeddings: texts in, vectors out, in OpenAI's words."""

from typing import Any

import orjson
from flask import Response, request
from flask.views import MethodView

from llmapi.api.answering import with_cache_control
from llmapi.api.context import caller, services
from llmapi.api.openai import headers
from llmapi.api.openai.docs import openai_docs
from llmapi.api.parsing import Blueprint
from llmapi.api.schemas.openai_embeddings import EmbeddingsAnswer, EmbeddingsRequest

bp = Blueprint("embeddings", __name__, url_prefix="/v1/embeddings", description="OpenAI's embeddings")
headers.install(bp)


@bp.route("")
class Embeddings(MethodView):
    @openai_docs(bp, "embeddings", EmbeddingsRequest(), EmbeddingsAnswer())
    def post(self, asked: dict[str, Any]) -> Response:
        """Turn texts into vectors of length 1 whose nearness is that of their meaning.

        All vectors of an answer are of one model: a route's other models do not stand in for its first. The embedded
        model has 384 dimensions and reads the first 256 tokens of a text.
        """
        wanted = with_cache_control(task_request(asked), request.headers.get("Cache-Control", ""))
        told = services().tasks.answer("embed", wanted, caller())
        body = orjson.dumps(listed(told))
        return Response(body, headers=headers.facts(told), content_type="application/json")


def task_request(asked: dict[str, Any]) -> dict[str, Any]:
    """Return a request in the words of the embed task."""
    return {("inputs" if name == "input" else name): value for name, value in asked.items() if name != "user"}


def listed(told: dict[str, Any]) -> dict[str, Any]:
    """Return the embed task's answer as OpenAI's list."""
    vectors = told["output"]["vectors"]
    tokens = told["usage"]["input_tokens"]
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": at, "embedding": each} for at, each in enumerate(vectors)],
        "model": told["model"],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
