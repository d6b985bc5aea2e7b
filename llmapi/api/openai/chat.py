"""POST /v1/chat/completions: OpenAI's words in, the chat task, OpenAI's words out."""

import time
from typing import Any

import orjson
from flask import Response, request
from flask.views import MethodView

from llmapi.api.answering import streamed, with_cache_control
from llmapi.api.context import caller, request_id, services
from llmapi.api.openai import headers
from llmapi.api.openai.chat_stream import Chunks
from llmapi.api.openai.docs import openai_docs
from llmapi.api.openai.words import FINISHES, logprobs_of, usage_of
from llmapi.api.parsing import Blueprint
from llmapi.api.schemas.openai_chat import ChatCompletion, ChatCompletionRequest

Json = dict[str, Any]
SAME = frozenset(
    "model messages temperature top_p max_tokens stop seed tools tool_choice parallel_tool_calls response_format"
    " logprobs top_logprobs".split()
)

bp = Blueprint("chat_completions", __name__, url_prefix="/v1/chat/completions", description="OpenAI's chat completions")
headers.install(bp)


@bp.route("")
class ChatCompletions(MethodView):
    @openai_docs(bp, "chat_completions", ChatCompletionRequest(), ChatCompletion(), streams=True)
    def post(self, asked: Json) -> Response:
        """Say the next turn of a conversation, as OpenAI's API does."""
        wanted = with_cache_control(task_request(asked), request.headers.get("Cache-Control", ""))
        if asked.get("stream"):
            usage = asked.get("stream_options", {}).get("include_usage", False)
            return streamed("chat", wanted, Chunks(request_id(), asked["model"], usage=usage))
        told = services().tasks.answer("chat", wanted, caller())
        body = orjson.dumps(completion(told))
        return Response(body, headers=headers.facts(told), content_type="application/json")


def task_request(asked: Json) -> Json:
    """Return a request in the words of the chat task."""
    wanted = {name: value for name, value in asked.items() if name in SAME}
    if "max_completion_tokens" in asked:
        wanted["max_tokens"] = asked["max_completion_tokens"]
    return wanted


def completion(told: Json) -> Json:
    """Return the chat task's answer as a chat.completion."""
    output = told["output"]
    message = {"role": "assistant", "content": output["message"]["content"], "refusal": None}
    if calls := output["message"]["tool_calls"]:
        message["tool_calls"] = calls
    choice = {
        "index": 0,
        "message": message,
        "logprobs": logprobs_of(output),
        "finish_reason": FINISHES.get(output["finish_reason"], "stop"),
    }
    return {
        "id": f"chatcmpl-{told['id']}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": told["model"],
        "choices": [choice],
        "usage": usage_of(told["usage"]),
        "system_fingerprint": None,
    }
