"""POST /v1/chat."""

from typing import Any

from flask import Response
from flask.views import MethodView

from llmapi.api.answering import answer
from llmapi.api.openapi import task_docs
from llmapi.api.parsing import Blueprint
from llmapi.api.schemas.chat import ChatAnswer, ChatRequest

bp = Blueprint("chat", __name__, url_prefix="/v1/chat", description="Conversations")


@bp.route("")
class Chat(MethodView):
    @task_docs(bp, "chat", ChatRequest(), ChatAnswer())
    def post(self, wanted: dict[str, Any]) -> Response:
        """Say the next turn of a conversation, or which tools to call for it."""
        return answer("chat", wanted)
