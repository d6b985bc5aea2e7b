"""POST /v1/text/generate."""

from marshmallow import Schema, ValidationError, fields, validates_schema

from llmapi.api.schemas.common import TaskAnswer, TaskRequest
from llmapi.api.schemas.fields import choice, flag, many, part, string
from llmapi.api.schemas.streams import when_left


class Turn(Schema):
    role = choice("Who speaks", ("system", "user", "assistant"), required=True)
    content = string("What was said", 1, required=True)


class ResponseFormat(Schema):
    type = choice("Only json_schema", ("json_schema",), required=True)
    schema = fields.Dict(required=True, metadata={"description": "A JSON schema, draft 2020-12"})


class TextRequest(TaskRequest):
    prompt = string("What to write about", 1, example="Write one sentence about the sea.")
    messages = many(fields.Nested(Turn), "A conversation, instead of `prompt`", 1, 256)
    system = string("How to behave; left out: the task's setting", 0, 32_000)
    response_format = part(ResponseFormat, "Ask for JSON; it is checked, and returned in `output.parsed`")
    stream = flag("Send the answer as server-sent events: `chunk` …, then `done` or `error`")
    on_disconnect = when_left()

    @validates_schema
    def _one_question(self, data: dict[str, object], **_: object) -> None:
        if ("prompt" in data) == ("messages" in data):
            raise ValidationError("Send either `prompt` or `messages`.", "prompt")


class TextOutput(Schema):
    text = fields.String(required=True)
    finish_reason = choice("`length`: cut at max_tokens", ("stop", "length", "other"), required=True)
    parsed = fields.Raw(required=True, allow_none=True, metadata={"description": "The JSON asked for"})


class TextAnswer(TaskAnswer):
    output = fields.Nested(TextOutput, required=True, allow_none=True)
