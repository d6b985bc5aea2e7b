"""POST /v1/chat."""

from typing import Any

from marshmallow import Schema, fields, validates_schema

from llmapi.api.schemas.common import TaskAnswer, TaskRequest
from llmapi.api.schemas.fields import choice, flag, part, whole
from llmapi.api.schemas.streams import when_left
from llmapi.api.schemas.text import ResponseFormat
from llmapi.api.schemas.tools import ToolChoice, Tools, check_logprobs, check_tools
from llmapi.api.schemas.turns import CALL, Turns


class ChatRequest(TaskRequest):
    messages = Turns(required=True)
    tools = Tools()
    tool_choice = ToolChoice()
    parallel_tool_calls = flag("false: at most one tool call in an answer")
    response_format = part(ResponseFormat, "Ask for JSON; it is checked, and returned in `output.parsed`")
    logprobs = flag("Tell each token's log-probability, where the model can")
    top_logprobs = whole("How many likely alternatives to tell for each token", 0, 20)
    stream = flag("Send the answer as server-sent events: `chunk` …, then `done` or `error`")
    on_disconnect = when_left()

    @validates_schema(skip_on_field_errors=True)
    def _that_goes_together(self, data: dict[str, Any], **_: object) -> None:
        check_tools(data)
        check_logprobs(data)


class ChatMessage(Schema):
    role = choice("Always assistant", ("assistant",), required=True)
    content = fields.String(required=True, allow_none=True, metadata={"description": "null when tools are called"})
    tool_calls = fields.List(fields.Dict(metadata=CALL), required=True)


class ChatOutput(Schema):
    message = part(ChatMessage, "The next turn, ready to be sent back", required=True)
    finish_reason = choice("`length`: cut at max_tokens", ("stop", "length", "tool_calls", "other"), required=True)
    parsed = fields.Raw(required=True, allow_none=True, metadata={"description": "The JSON asked for"})
    logprobs = fields.List(fields.Dict(), metadata={"description": "token, logprob, bytes, top_logprobs; as asked for"})


class ChatAnswer(TaskAnswer):
    output = fields.Nested(ChatOutput, required=True, allow_none=True)
