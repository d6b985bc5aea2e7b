"""POST /v1/code/generate."""

from marshmallow import Schema, fields

from llmapi.api.schemas.common import TaskAnswer, TaskRequest
from llmapi.api.schemas.fields import choice, flag, part, string, whole
from llmapi.api.schemas.streams import when_left


class CodeRequest(TaskRequest):
    prompt = string("What the code should do", 1, required=True, example="A function that adds two numbers.")
    language = string("The language, by name or usual file ending", 1, 32, load_default="python", example="python")
    context = string("Code or notes the model should know", 0)
    tests = string("Tests the code should pass; they are shown to the model, not run", 0)
    verify = choice("`syntax`: parse the code before it is returned", ("none", "syntax"), load_default="syntax")
    max_repairs = whole(
        "How often a broken answer goes back to the model; a stream is never repaired", 0, 5, load_default=1
    )
    explain = flag("Ask for a short explanation beside the code", load_default=False)
    stream = flag("Send the code as server-sent events: `chunk` …, then `done` or `error`")
    on_disconnect = when_left()


class CodeError(Schema):
    line = fields.Integer(required=True, metadata={"description": "From 1"})
    column = fields.Integer(required=True, metadata={"description": "From 1"})
    message = fields.String(required=True)


class Verification(Schema):
    status = choice("`unchecked`: nobody looked", ("verified", "failed", "unchecked"), required=True)
    level = choice("How far the check went", ("none", "syntax"), required=True)
    errors = fields.List(fields.Nested(CodeError), required=True)
    repairs = fields.Integer(required=True, metadata={"description": "How often the model was asked to repair"})


class CodeOutput(Schema):
    code = fields.String(required=True)
    language = fields.String(required=True)
    explanation = fields.String(required=True, allow_none=True)
    verification = part(Verification, "How the code was checked", required=True)


class CodeAnswer(TaskAnswer):
    output = fields.Nested(CodeOutput, required=True, allow_none=True)
