"""GET /v1/models, /health and their like."""

from marshmallow import Schema, fields

from llmapi.api.schemas.common import Problem
from llmapi.api.schemas.openai_chat import OpenAIErrorPart


class Candidate(Schema):
    model = fields.String(required=True, metadata={"example": "gemini/gemini-flash-latest"})
    weight = fields.Float(required=True, metadata={"description": "Its share where the balance goes by weight"})


class Model(Schema):
    """OpenAI's four fields, and ours beside them."""

    id = fields.String(required=True, metadata={"example": "default"})
    object = fields.String(required=True, metadata={"description": "Always model"})
    created = fields.Integer(required=True, metadata={"description": "0: nobody told when it was made"})
    owned_by = fields.String(required=True, metadata={"description": "Its provider"})
    kind = fields.String(required=True, metadata={"description": "`alias` or `model`"})
    provider = fields.String(allow_none=True)
    abilities = fields.List(fields.String())
    context = fields.Integer(allow_none=True, metadata={"description": "Tokens it takes in; 0 when unknown"})
    description = fields.String()
    candidates = fields.List(fields.Nested(Candidate), metadata={"description": "Of an alias: who is asked"})
    available = fields.Boolean(metadata={"description": "Whether it can be asked here: its key is set"})
    health = fields.String(metadata={"description": "How its provider is: ok, degraded, down or unknown"})


class ModelList(Schema):
    object = fields.String(required=True, metadata={"description": "Always list"})
    data = fields.List(fields.Nested(Model), required=True)


class ModelProblem(Problem):
    """Our problem details and OpenAI's error in one."""

    error = fields.Nested(OpenAIErrorPart, required=True)


class Alive(Schema):
    status = fields.String(required=True, metadata={"example": "ok"})


class Health(Schema):
    status = fields.String(required=True, metadata={"description": "ok, degraded or down"})
    version = fields.String(required=True)
    uptime_s = fields.Float(required=True)
    dependencies = fields.Dict(
        keys=fields.String(), values=fields.Dict(), required=True, metadata={"description": "Each with its own status"}
    )
